"""The tools that are built from Go modules: which, how, and their cache by version.

Every tool has a module of its own in ``hack/tools``. Its ``go.mod`` says the version, its ``go.sum`` pins every byte.
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from localcluster.commands import ClusterError, Refused, locked, run_long, say
from localcluster.folders import TOOLS, Cache
from localcluster.golang import find_go

FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false")
OTHER_MINOR = "kubernetes-"
"""How the folders in ``hack/tools`` begin that have another minor of Kubernetes."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A Go module in ``hack/tools``, and the binaries that come from it."""

    name: str
    module: str
    """The module whose version is the binaries' version; empty for our own code, which has version 1."""
    packages: Mapping[str, str]
    """Binary → package."""
    version_variables: tuple[str, ...] = field(default=())
    """Variables that the linker sets to the version, without which the binary calls itself v0.0.0."""
    duration: str = "a minute or two"
    """How long the first build takes on 2 cores."""
    is_linked: bool = True
    """Whether ``bin/<name>`` leads to it: of several versions of a program, to one."""

    @property
    def folder(self) -> Path:
        """Where its ``go.mod`` is."""
        return TOOLS / self.name

    @property
    def version(self) -> str:
        """The version as ``go.mod`` has it, without the v."""
        return find_version((self.folder / "go.mod").read_text(), self.module) if self.module else "1"

    @property
    def linker_flags(self) -> str:
        """Leave debug tables out, and set the version."""
        return " ".join(["-s -w", *(f"-X {name}=v{self.version}" for name in self.version_variables)])


KUBERNETES = Source(
    name="kubernetes",
    module="k8s.io/kubernetes",
    packages={
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    },
    version_variables=("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
    duration="six to ten minutes",
)
KUBECTL = Source(
    name="kubernetes",
    module=KUBERNETES.module,
    packages={"kubectl": KUBERNETES.packages["kubectl"]},
    version_variables=KUBERNETES.version_variables,
)
ETCD = Source(name="etcd", module="go.etcd.io/etcd/server/v3", packages={"etcd": "go.etcd.io/etcd/server/v3"})
KUBEADM = Source(
    name="kubeadm",
    module="k8s.io/kubernetes",
    packages={"kubeadm": "k8s.io/kubernetes/cmd/kubeadm"},
    version_variables=KUBERNETES.version_variables,
)
COREDNS = Source(name="coredns", module="github.com/coredns/coredns", packages={"coredns": "."})
COREDNS_KUBEADM = Source(name="coredns-kubeadm", module="github.com/coredns/coredns", packages={"coredns-kubeadm": "."})
KIND = Source(name="kind", module="sigs.k8s.io/kind", packages={"kind": "sigs.k8s.io/kind"})
PAUSE = Source(name="pause", module="", packages={"pause": "."})
ACTIONLINT = Source(
    name="actionlint",
    module="github.com/rhysd/actionlint",
    packages={"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"},
)
HELM = Source(name="helm", module="helm.sh/helm/v3", packages={"helm": "helm.sh/helm/v3/cmd/helm"})
VERSITYGW = Source(
    name="versitygw",
    module="github.com/versity/versitygw",
    packages={"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
)
NODE = (KUBERNETES, ETCD, COREDNS, PAUSE)
"""What a node of our own runs."""
KIND_NODE = (ETCD, COREDNS_KUBEADM, PAUSE, KIND)
"""What a node image for kind is packed from, beside Kubernetes."""
PEOPLE = (KUBECTL, HELM)
"""What people and tests use on any cluster."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One Kubernetes: the modules that its programs are built from."""

    programs: Source = KUBERNETES
    kubeadm: Source = KUBEADM

    @property
    def version(self) -> str:
        """Its version, without the v."""
        return self.programs.version


def find_release(minor: str) -> Release:
    """Take the Kubernetes of a minor; the one that everything else uses if none is named."""
    usual = Release()
    usual_minor = usual.version.rpartition(".")[0]
    if minor in ("", usual_minor):
        return usual
    others = sorted(path.name.removeprefix(OTHER_MINOR) for path in TOOLS.glob(f"{OTHER_MINOR}*"))
    if minor not in others:
        raise Refused(
            f"there is no Kubernetes `{minor}` in hack/tools; there are {', '.join([*others, usual_minor])}. "
            "`hack/pin-kubernetes 1.x.y` adds one"
        )
    name = f"{OTHER_MINOR}{minor}"
    return Release(
        programs=replace(KUBERNETES, name=name, is_linked=False), kubeadm=replace(KUBEADM, name=name, is_linked=False)
    )


def find_version(go_mod: str, module: str) -> str:
    """Read a required version from the text of a ``go.mod``."""
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} v(\S+)", go_mod, re.MULTILINE)
    if not found:
        raise ClusterError(f"go.mod does not require {module}")
    return found[1]


def build_key(files: Mapping[str, bytes], linker_flags: str) -> str:
    """Derive what a build depends on beside the version: a change of it means building again."""
    digest = hashlib.sha256(" ".join([*FLAGS, linker_flags]).encode())
    for name in sorted(files):
        digest.update(f"\n{name} {hashlib.sha256(files[name]).hexdigest()}".encode())
    return digest.hexdigest()


def describe_progress(lines: Sequence[str]) -> str:
    """Say how far ``go build -v`` is: it names every module that it downloads and every package that it compiles."""
    downloaded = sum(line.startswith("go: downloading") for line in lines)
    if len(lines) > downloaded:
        return f"{len(lines) - downloaded} packages compiled"
    return f"{downloaded} modules downloaded" if downloaded else "started"


def ensure_binaries(cache: Cache, sources: Iterable[Source]) -> None:
    """Build what the cache does not have; if it has all, do not wait for somebody who builds something else."""
    sources = list(sources)
    if not any(_find_missing(cache, source) for source in sources):
        return
    with locked(cache.bin / ".lock"):
        for source in sources:
            if names := _find_missing(cache, source):
                _build(cache, source, names, _key(source))


def binary(cache: Cache, source: Source, name: str) -> Path:
    """Where a built binary is."""
    return cache.bin / f"{name}-{source.version}" / name


def _key(source: Source) -> str:
    files = {path.name: path.read_bytes() for path in source.folder.iterdir() if path.suffix in (".mod", ".sum", ".go")}
    return build_key(files, source.linker_flags)


def _find_missing(cache: Cache, source: Source) -> list[str]:
    key = _key(source)
    return [name for name in source.packages if not _is_cached(cache, source, name, key)]


def _is_cached(cache: Cache, source: Source, name: str, key: str) -> bool:
    path = binary(cache, source, name)
    stamp = path.with_name("build-key")
    is_built = path.exists() and stamp.exists() and stamp.read_text() == key
    return is_built and (not source.is_linked or (cache.bin / name).exists())


def _build(cache: Cache, source: Source, names: list[str], key: str) -> None:
    """Build into a folder beside, then move each binary to its place whole."""
    go = find_go(cache)
    beside = cache.bin / f".{source.name}.new"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    say(f"building {', '.join(names)} {source.version}: once, {source.duration} on 2 cores; kept in {cache.bin}")
    started = time.monotonic()
    packages = [source.packages[name] for name in names]
    target = str(beside / names[0]) if len(names) == 1 else f"{beside}/"
    command = [str(go), "build", "-v", *FLAGS, "-ldflags", source.linker_flags, "-o", target, *packages]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
    run_long(command, describe=describe_progress, environment=environment, folder=source.folder)
    for name in names:
        _keep(beside / name, binary(cache, source, name), key)
        if source.is_linked:
            _link(cache, binary(cache, source, name))
    shutil.rmtree(beside)
    say(f"  built in {time.monotonic() - started:.0f} s")


def _keep(built: Path, path: Path, key: str) -> None:
    path.parent.mkdir(exist_ok=True)
    built.replace(path)
    path.with_name("build-key").write_text(key)


def _link(cache: Cache, path: Path) -> None:
    link = cache.bin / f".{path.name}.link"
    link.unlink(missing_ok=True)
    link.symlink_to(path.relative_to(cache.bin))
    link.replace(cache.bin / path.name)
