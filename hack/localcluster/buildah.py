"""Build images without Docker and without a registry: buildah, on a Debian base that debootstrap makes.

The base is committed under the name that Docker Hub gives it, so the Dockerfile is the same as with Docker. Everything
is kept in the cache folder; the storage of other people's buildah or podman is not touched.
"""

import os
import resource
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from localcluster import debian
from localcluster.commands import run, run_long, say, write_atomically
from localcluster.folders import REPOSITORY, Cache

SUITE = "trixie"
BASE = "docker.io/library/debian:trixie-slim"
PATHS_WITHOUT_USE = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt",
)
ENOUGH = 32768
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SLIM = "".join(f"path-exclude /usr/share/{name}/*\n" for name in ("doc", "man", "info", "locale", "lintian"))


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, cache: Cache) -> None:
        self._folder = cache.images / "buildah"
        self._command = ["buildah", "--root", str(self._folder / "storage"), "--runroot", str(self._folder / "run")]
        self._environment = {**os.environ, "CONTAINERS_CONF": str(self._folder / "containers.conf")}

    def prepare(self) -> None:
        """Make the base image, unless it is there."""
        debian.install(debian.missing(debian.BUILD), reason="building images without Docker")
        network = f'[network]\nnetwork_config_dir = "{self._folder}/network"\n'  # else it makes /etc/cni/net.d
        write_atomically(self._folder / "containers.conf", network)
        if self.has(BASE):
            return
        say(f"making {BASE} with debootstrap (once; a minute)")
        with tempfile.TemporaryDirectory(prefix="modelendpoint-base-") as folder:
            root = Path(folder) / "root"
            _debootstrap(root)
            container = self._run("from", "scratch").strip()
            self._run("add", container, str(root), "/")
            self._run("config", "--cmd=bash", f"--env=PATH={PATH}", container)
            self._run("commit", "--rm", container, BASE)

    def has(self, reference: str) -> bool:
        """Say whether there is an image of that name."""
        return reference in self._run("images", "--format={{.Name}}:{{.Tag}}").split()

    def build(self, target: str, reference: str, options: Sequence[str]) -> None:
        """Build one target of the Dockerfile."""
        command = [*self._command, "build", "--isolation=chroot", "--pull-never", "--layers", "--format=oci"]
        for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
            command.append(f"--ulimit={name}={_limit(kind)}:{_limit(kind)}")
        options = [f"--target={target}", f"--tag={reference}", *options, str(REPOSITORY)]
        run_long([*command, *options], environment=self._environment)

    def save(self, reference: str, archive: Path) -> None:
        """Write the image to an archive in the OCI layout."""
        beside = archive.with_name(f".{archive.name}.new")
        beside.unlink(missing_ok=True)
        self._run("push", reference, f"oci-archive:{beside}:{reference}")
        beside.replace(archive)

    def _run(self, *arguments: str) -> str:
        return run([*self._command, *arguments], environment=self._environment)


def _limit(kind: int) -> int:
    """Choose a limit that needs no right to raise one: newer versions of buildah try to, and root may lack it."""
    allowed = resource.getrlimit(kind)[1]
    return ENOUGH if allowed == resource.RLIM_INFINITY else min(allowed, ENOUGH)


def _debootstrap(root: Path) -> None:
    # In a mount namespace, so that nothing stays mounted however it ends.
    mirror = debian.find_mirror()
    run_long(["unshare", "--mount", "debootstrap", "--variant=minbase", SUITE, root, *mirror])
    for path in PATHS_WITHOUT_USE:
        shutil.rmtree(root / path, ignore_errors=True)
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(SLIM)
    (root / "etc/apt/apt.conf.d/slim").write_text('Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n')
