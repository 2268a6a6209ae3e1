"""Where things are kept: one cache folder outside the checkout. Names and paths only."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LOCKS = REPOSITORY / "locks"
TOOLS = REPOSITORY / "hack" / "tools"
"""One Go module for each tool that is built; its ``go.mod`` and ``go.sum`` pin it."""


@dataclass(frozen=True)
class Cache:
    """The cache folder. Everything in it can be deleted when no cluster runs."""

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Cache":
        """Take ``MODELENDPOINT_CACHE``, or the user's cache folder."""
        home = Path(environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/root")) / ".cache")
        return cls(Path(environment.get("MODELENDPOINT_CACHE") or home / "modelendpoint").resolve())

    @property
    def bin(self) -> Path:
        """Built tools: ``<name>-<version>/<name>``, and a link ``<name>`` to the version in use."""
        return self.root / "bin"

    @property
    def images(self) -> Path:
        """Image archives, and buildah's storage."""
        return self.root / "images"

    @property
    def docker(self) -> Path:
        """The programs of a Docker that is not installed on this machine."""
        return self.root / "docker"

    @property
    def clusters(self) -> Path:
        """One folder for each cluster."""
        return self.root / "clusters"

    def cluster(self, name: str) -> "ClusterFolder":
        """Return the folder of one cluster."""
        return ClusterFolder(self.clusters / name)


@dataclass(frozen=True)
class ClusterFolder:
    """What is kept of one cluster."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held while the cluster is brought up or down; beside the folder, which goes away."""
        return self.root.with_name(f".{self.root.name}.lock")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in."""
        return self.root / "kubeconfig"

    @property
    def settings(self) -> Path:
        """What was chosen when the cluster was made (``NodeSettings``)."""
        return self.root / "node.json"

    @property
    def process(self) -> Path:
        """Which process is number 1 of the namespaces."""
        return self.root / "process.json"

    @property
    def docker_socket(self) -> Path:
        """Where the Docker of a kind cluster listens that has one of its own."""
        return self.root / "docker.sock"

    @property
    def parts(self) -> Path:
        """How every part is, written by process 1."""
        return self.log / "parts.json"

    @property
    def log(self) -> Path:
        """The log of every part; kept after the cluster is gone. Seen as ``/var/log`` in the node."""
        return self.root / "log"

    @property
    def var_lib(self) -> Path:
        """All that the node keeps on disk; seen as ``/var/lib`` in the node."""
        return self.root / "var-lib"
