"""A node image for kind, packed from packages: for machines where kind's own image can't be pulled.

Debian with systemd and containerd, the files that kind's Go module has for its image, and Kubernetes as this machine has
built it: kubelet, kubeadm and kubectl as programs, the rest as images that the node loads when it starts. The images bear
the names that kubeadm asks for, also where our build has another version (etcd, CoreDNS).
"""

import hashlib
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster import binaries, debian
from localcluster.archives import build_scratch_archive
from localcluster.binaries import Release, Source, binary
from localcluster.commands import locked, run, run_long, say
from localcluster.components import KERNEL_SETTINGS
from localcluster.folders import REPOSITORY, Cache
from localcluster.golang import find_go
from localcluster.image_inputs import hash_inputs, read_inputs

SUITE = "bookworm"
"""Its systemd is the last that starts on machines with cgroup v1."""
PACKAGES = (
    *("systemd", "containerd", "runc", "containernetworking-plugins", "iptables", "conntrack", "iproute2"),
    *("ethtool", "kmod", "jq", "procps", "ca-certificates"),
)
FILES = REPOSITORY / "hack" / "kind"
UNITS = ("kubelet", "containerd", "undo-mount-hacks", "load-images")
NOT_FOR_CONTAINERS = (
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
    *(f"{folder}/*" for folder in ("lib/systemd/system/multi-user.target.wants", "etc/systemd/system/*.wants")),
    *(f"lib/systemd/system/{name}" for name in ("local-fs.target.wants/*", "basic.target.wants/*")),
    *(f"lib/systemd/system/sockets.target.wants/*{name}*" for name in ("udev", "initctl")),
)
"""What kind's own image leaves out of systemd."""
WITHOUT_USE = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/cache/apt", "var/lib/apt")
QUICK = 1
"""How hard to compress: 400 MB once, and again in every node."""
NETWORK_IMAGE = "localhost/pod-network:1"
LOAD_IMAGES = """\
[Unit]
Description=Give the control plane's images to containerd
After=containerd.service
Requires=containerd.service
Before=kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -euc 'for archive in /kind/images/*.tar; do ctr --namespace=k8s.io images import $archive; done'

[Install]
WantedBy=multi-user.target
"""
KERNEL = """\
# No namespace has these kernel settings for itself: they are the machine's. So files with what kubelet wants to see are
# laid over them, and the machine's stay as they are.
[Unit]
Requires=load-images.service
After=load-images.service
[Service]
ExecStartPre=/bin/sh -euc 'cd /kind/kernel; for f in $(find . -type f); do \
mountpoint -q /proc/sys/$f || mount --bind $f /proc/sys/$f; done'
"""


@dataclass(frozen=True)
class NodeImage:
    """The image, as the archive of a root file system in the cache."""

    cache: Cache
    kubernetes: Release

    @property
    def reference(self) -> str:
        """The name that Docker knows it by."""
        return f"modelendpoint.local/kind-node:v{self.kubernetes.version}"

    @property
    def archive(self) -> Path:
        """Where the archive is, made or not."""
        return self.cache.images / f"kind-node-{self.kubernetes.version}.tar"

    def ensure(self) -> Path:
        """Make the archive, unless it is there as all that goes into it wants it."""
        debian.install(debian.missing({**debian.NODE, **debian.BASE}), reason="a node image for kind")
        binaries.ensure_binaries(self.cache, self._sources)
        with locked(self.cache.images / ".kind-node.lock"):
            stamp = self.archive.with_suffix(".inputs")
            wanted = self._inputs()
            if not (self.archive.exists() and stamp.exists() and stamp.read_text() == wanted):
                self._make()
                stamp.write_text(wanted)
        return self.archive

    @property
    def _sources(self) -> tuple[Source, ...]:
        return (self.kubernetes.programs, self.kubernetes.kubeadm, *binaries.KIND_NODE)

    def _inputs(self) -> str:
        keys = [(source, name) for source in self._sources for name in source.packages]
        built = {name: self._path(source, name).with_name("build-key").read_bytes() for source, name in keys}
        ours = ("hack/kind", "hack/localcluster/node_image.py", "hack/localcluster/components.py")
        return hash_inputs({**built, **read_inputs(REPOSITORY, ours)})

    def _make(self) -> None:
        began = time.monotonic()
        say(f"making a node image for kind with Kubernetes {self.kubernetes.version} (once; two minutes)")
        with tempfile.TemporaryDirectory(prefix="modelendpoint-node-") as folder:
            root = Path(folder) / "root"
            self._debootstrap(root)
            self._add_files_of_kind(root)
            self._add_programs(root)
            self._add_images(root)
            _enable_units(root)
            beside = self.archive.with_name(f".{self.archive.name}.new")
            run_long(["tar", "--create", "--numeric-owner", f"--file={beside}", f"--directory={root}", "."])
            beside.replace(self.archive)
        size = self.archive.stat().st_size / 1e6
        say(f"made {self.reference} in {time.monotonic() - began:.0f} s; the archive has {size:.0f} MB")

    def _debootstrap(self, root: Path) -> None:
        # In a mount namespace, so that nothing stays mounted however it ends.
        packages = f"--include={','.join(PACKAGES)}"
        mirror = debian.find_mirror()
        run_long(["unshare", "--mount", "debootstrap", "--variant=minbase", packages, SUITE, root, *mirror])
        for path in WITHOUT_USE:
            shutil.rmtree(root / path, ignore_errors=True)
        for pattern in NOT_FOR_CONTAINERS:
            for unit in root.glob(pattern):
                unit.unlink()
        shutil.rmtree(root / "usr/lib/sysctl.d")  # settings of the whole machine
        with (root / "etc/systemd/journald.conf").open("a") as file:
            file.write("ReadKMsg=no\n")

    def _add_files_of_kind(self, root: Path) -> None:
        """Copy what kind's own image has beside packages, and set containerd up for this machine."""
        go = str(find_go(self.cache))
        module = run([go, "list", "-m", "-f", "{{.Dir}}", binaries.KIND.module], folder=binaries.KIND.folder).strip()
        for folder in ("etc", "kind", "usr"):
            shutil.copytree(Path(module, "images/base/files", folder), root / folder, dirs_exist_ok=True)
        for path in (*(root / "usr/local/bin").iterdir(), *(root / "kind/bin").iterdir()):
            path.chmod(0o755)
        configuration = root / "etc/containerd/config.toml"
        pause = next(name for name in self._image_names() if _last_word(name) == "pause")
        configuration.chmod(0o644)
        configuration.write_text(set_containerd_up(configuration.read_text(), pause))
        for name in ("containerd", "ctr", "containerd-shim-runc-v2"):
            (root / "usr/local/bin" / name).symlink_to(f"/usr/bin/{name}")
        (root / "opt/cni").mkdir(parents=True)
        (root / "opt/cni/bin").symlink_to("/usr/lib/cni")

    def _add_programs(self, root: Path) -> None:
        for source, name in ((self.kubernetes.programs, "kubelet"), (self.kubernetes.programs, "kubectl")):
            shutil.copy2(self._path(source, name), root / "usr/bin" / name)
        shutil.copy2(self._path(self.kubernetes.kubeadm, "kubeadm"), root / "usr/bin/kubeadm")
        (root / "kind/version").write_text(f"v{self.kubernetes.version}")
        (root / "etc/kubernetes/manifests").mkdir(parents=True)
        for name, value in KERNEL_SETTINGS.items():
            (root / "kind/kernel" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "kind/kernel" / name).write_text(f"{value}\n")

    def _image_names(self) -> list[str]:
        kubeadm = self._path(self.kubernetes.kubeadm, "kubeadm")
        version = f"--kubernetes-version=v{self.kubernetes.version}"
        return run([kubeadm, "config", "images", "list", version]).split()

    def _add_images(self, root: Path) -> None:
        """Pack the programs that run as pods into images, under the names that kubeadm asks for."""
        folder = root / "kind/images"
        folder.mkdir()
        programs = self.kubernetes.programs
        own = {
            "kube-apiserver": (programs, "usr/local/bin/kube-apiserver"),
            "kube-controller-manager": (programs, "usr/local/bin/kube-controller-manager"),
            "kube-scheduler": (programs, "usr/local/bin/kube-scheduler"),
            "kube-proxy": (programs, "usr/local/bin/kube-proxy"),
            "coredns": (binaries.COREDNS_KUBEADM, "coredns"),
            "pause": (binaries.PAUSE, "pause"),
            "etcd": (binaries.ETCD, "usr/local/bin/etcd"),
        }
        for reference in self._image_names():
            source, path = own[_last_word(reference)]
            name = next(name for name in source.packages if name.startswith(_last_word(reference)))
            files = {path: self._path(source, name).read_bytes()}
            if name == "kube-proxy":
                files |= _read_iptables(root)
            _write_image(folder, reference, files, f"/{path}")
        files = _read_programs(root, ["bash", "cat", "grep", "ip", "mv", "sleep"])
        files["usr/bin/kubectl"] = self._path(programs, "kubectl").read_bytes()
        files["network.sh"] = (FILES / "network.sh").read_bytes()
        _write_image(folder, NETWORK_IMAGE, files, "/usr/bin/bash")
        (root / "kind/manifests").mkdir()
        shutil.copy(FILES / "default-cni.yaml", root / "kind/manifests/default-cni.yaml")

    def _path(self, source: Source, name: str) -> Path:
        return binary(self.cache, source, name)


def set_containerd_up(configuration: str, pause: str) -> str:
    """Change kind's configuration of containerd: our pause image, and only what root without all rights can do."""
    lines = [line for line in configuration.splitlines() if "base_runtime_spec" not in line]
    text = "\n".join(lines) + "\n"
    text = re.sub(r'sandbox_image = ".*"', f'sandbox_image = "{pause}"', text)
    return text.replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true")


def parse_libraries(listing: str) -> list[str]:
    """Read the paths of libraries from what ``ldd`` prints, the loader among them."""
    return sorted(set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", listing, re.MULTILINE)))


def _last_word(reference: str) -> str:
    """Take `coredns` of `…/coredns/coredns:v1`."""
    return reference.rpartition("/")[2].partition(":")[0]


def _write_image(folder: Path, reference: str, files: dict[str, bytes], entrypoint: str) -> None:
    data = build_scratch_archive(reference, files, [entrypoint], machine=platform.machine(), level=QUICK)
    name = hashlib.sha256(reference.encode()).hexdigest()[:8]
    (folder / f"{_last_word(reference)}-{name}.tar").write_bytes(data)


def _read_programs(root: Path, names: list[str], modules: Sequence[Path] = ()) -> dict[str, bytes]:
    """Read programs of the root file system, and modules that they load, with all libraries that these need."""
    paths = [run(["chroot", root, "sh", "-c", f"readlink -f $(command -v {name})"]).strip() for name in names]
    inside = {f"usr/bin/{name}": path for name, path in zip(names, paths, strict=True)}
    inside |= {str(module): f"/{module}" for module in modules}
    libraries = parse_libraries(run(["chroot", root, "ldd", *inside.values()]))
    inside |= {path.lstrip("/"): run(["chroot", root, "readlink", "-f", path]).strip() for path in libraries}
    return {name: Path(f"{root}{path}").read_bytes() for name, path in inside.items()}


def _read_iptables(root: Path) -> dict[str, bytes]:
    """Read what kube-proxy calls, and the modules of iptables."""
    names = [f"{family}{verb}" for family in ("iptables", "ip6tables") for verb in ("", "-save", "-restore")]
    modules = [path.relative_to(root) for path in (root / "usr/lib").glob("*/xtables/*.so") if not path.is_symlink()]
    links = [path for path in (root / "usr/lib").glob("*/xtables/*.so") if path.is_symlink()]
    found = _read_programs(root, names, modules)
    return found | {str(path.relative_to(root)): path.read_bytes() for path in links}


def _enable_units(root: Path) -> None:
    folder = root / "etc/systemd/system"
    (folder / "load-images.service").write_text(LOAD_IMAGES)
    (folder / "kubelet.service.d/20-modelendpoint.conf").write_text(KERNEL)
    wants = folder / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    for name in UNITS:
        (wants / f"{name}.service").symlink_to(f"/etc/systemd/system/{name}.service")
    (folder / "systemd-binfmt.service").symlink_to("/dev/null")
    init = root / "sbin/init"
    if not init.is_symlink():
        init.symlink_to("/usr/lib/systemd/systemd")
