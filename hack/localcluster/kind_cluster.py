"""The ``kind`` kind: a cluster made by kind on Docker, with a kubeconfig of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster.archives import is_listed, read_image
from localcluster.commands import ClusterError, locked, run, run_long, say
from localcluster.folders import Cache, ClusterFolder


@dataclass(frozen=True)
class KindCluster:
    """A cluster of the ``kind`` kind, whether it is there or not."""

    name: str
    cache: Cache

    @property
    def folder(self) -> ClusterFolder:
        """Where everything of it is kept."""
        return self.cache.cluster(self.name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in."""
        return self.folder.kubeconfig

    @property
    def _kind_name(self) -> str:
        """The name that kind knows it by: no other cluster of the user has it."""
        return f"modelendpoint-{self.name}"

    @property
    def _options(self) -> list[str]:
        return [f"--name={self._kind_name}", f"--kubeconfig={self.kubeconfig}"]

    def up(self) -> None:
        """Make it, unless it is up; make it anew if it does not answer."""
        with locked(self.folder.lock):
            if self._is_there():
                run(["kind", "export", "kubeconfig", *self._options])
                if not self.status():
                    say(f"cluster {self.name} is up")
                    return
                say(f"cluster {self.name} does not answer; making it anew")
                run(["kind", "delete", "cluster", *self._options])
            self.folder.root.mkdir(parents=True, exist_ok=True)
            run_long(["kind", "create", "cluster", "--wait=120s", *self._options])
            say(f"cluster {self.name} is up; KUBECONFIG={self.kubeconfig}")

    def down(self) -> None:
        """Delete it, and keep the logs of its node."""
        with locked(self.folder.lock):
            if self._is_there():
                run(["kind", "export", "logs", f"--name={self._kind_name}", self.folder.log])
                run(["kind", "delete", "cluster", *self._options])
            self.kubeconfig.unlink(missing_ok=True)
        say(f"cluster {self.name} is down; its logs are in {self.folder.log}")

    def status(self) -> list[str]:
        """List what is wrong; nothing if all is well."""
        if not self._is_there():
            return ["there is no such cluster; start it with `hack/cluster up`"]
        kubectl = ["docker", "exec", self._node, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"]
        try:
            run([*kubectl, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=10s"])
        except ClusterError as error:
            return [f"its node is not ready: {error}"]
        return []

    def load(self, archives: Sequence[Path]) -> None:
        """Give image archives to the node; those that it has already are left out."""
        there = run(["docker", "exec", self._node, "ctr", "--namespace=k8s.io", "images", "list"])
        for archive in archives:
            image = read_image(archive)
            if not is_listed(image, there):
                run(["kind", "load", "image-archive", archive, f"--name={self._kind_name}"])
                say(f"loaded {image.reference if image else archive}")

    def execute(self, command: Sequence[str]) -> int:
        """Refuse: the node's network is Docker's."""
        raise ClusterError(f"only for clusters of kind `node`; use `docker exec {self._node} {' '.join(command)}`")

    @property
    def _node(self) -> str:
        return f"{self._kind_name}-control-plane"

    def _is_there(self) -> bool:
        return self._kind_name in run(["kind", "get", "clusters"]).split()
