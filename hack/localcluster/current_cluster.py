"""The ``current`` kind: the cluster that the user's own kubeconfig points to. It is never made, changed or deleted."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster import binaries
from localcluster.commands import ClusterError, run, say, write_atomically
from localcluster.folders import Cache


@dataclass(frozen=True)
class CurrentCluster:
    """The cluster of the user's current context, as it was at ``up``."""

    name: str
    cache: Cache

    @property
    def kubeconfig(self) -> Path:
        """A copy of the current context alone: a later `kubectl config use-context` does not change what we talk to."""
        return self.cache.cluster(self.name).kubeconfig

    def up(self) -> None:
        """Copy the current context, and see that the cluster answers."""
        text = run([self._kubectl(), "config", "view", "--raw", "--flatten", "--minify"])
        write_atomically(self.kubeconfig, text, mode=0o600)
        if trouble := self.status():
            raise ClusterError("; ".join(trouble))
        say(f"using the cluster of your current context; KUBECONFIG={self.kubeconfig}")

    def down(self) -> None:
        """Forget the copy."""
        self.kubeconfig.unlink(missing_ok=True)
        say("the cluster of your current context is left as it is; remove what was installed with helm and kubectl")

    def status(self) -> list[str]:
        """List what is wrong; nothing if all is well."""
        if not self.kubeconfig.exists():
            return ["not in use; start with `hack/cluster up --kind current`"]
        try:
            run(
                [self._kubectl(), f"--kubeconfig={self.kubeconfig}", "get", "--raw", "/readyz", "--request-timeout=10s"]
            )
        except ClusterError as error:
            return [f"the cluster does not answer: {error}"]
        return []

    def load(self, archives: Sequence[Path]) -> None:
        """Say what is needed: how images come to this cluster's nodes only its owner knows."""
        names = " ".join(archive.stem for archive in archives)
        say(f"the nodes of your cluster must be able to pull or have these images: {names} (in {self.cache.images})")

    def execute(self, command: Sequence[str]) -> int:
        """Refuse: its nodes are not ours."""
        raise ClusterError(f"only for clusters of kind `node`; could not run {' '.join(command)}")

    def stop_node(self, node: str) -> None:
        """Refuse."""
        raise ClusterError(f"can't stop `{node}`: only for clusters of kind `kind`; its nodes are not ours")

    def start_node(self, node: str) -> None:
        """Refuse."""
        raise ClusterError(f"can't start `{node}`: only for clusters of kind `kind`")

    def _kubectl(self) -> str:
        """Take the user's kubectl if there is one: his kubeconfig may need what only it finds."""
        if found := shutil.which("kubectl"):
            return found
        binaries.ensure_binaries(self.cache, [binaries.KUBECTL])
        return str(binaries.binary(self.cache, binaries.KUBECTL, "kubectl"))
