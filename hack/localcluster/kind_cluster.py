"""The ``kind`` kind: a cluster of two nodes, made by kind on Docker, with a kubeconfig of its own.

On the user's Docker with the node image of kind's release; or on a Docker of its own, where no image can be pulled, with
one that is packed from packages (``localcluster.node_image``).
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from localcluster import binaries
from localcluster.archives import is_listed, read_image
from localcluster.binaries import find_release
from localcluster.commands import ClusterError, Refused, locked, run, run_long, say, write_atomically
from localcluster.docker import Docker
from localcluster.folders import Cache, ClusterFolder
from localcluster.node_image import NodeImage
from localcluster.own_docker import OwnDocker

NO_DOCKER = """\
kind needs Docker: {trouble}
Install or start it, or have one of these:
  KIND_DOCKER=own   a Docker for this cluster alone, with a node image packed from packages (Debian, root)
  CLUSTER=node      a cluster without Docker (Linux, root)"""
NOT_BOTH = (
    "KIND_IMAGE is for your own Docker, which pulls it; with KIND_DOCKER=own choose a minor by KIND_KUBERNETES=1.x"
)
ONLY_OWN = "KIND_KUBERNETES needs KIND_DOCKER=own; on your own Docker choose by KIND_IMAGE=kindest/node:v1.x.y"


@dataclass(frozen=True)
class KindCluster:
    """A cluster of the ``kind`` kind, whether it is there or not."""

    name: str
    cache: Cache
    environment: Mapping[str, str]
    """``KIND_DOCKER=own``: on a Docker of its own. ``KIND_IMAGE``: another node image than that of kind's release.
    ``KIND_KUBERNETES``: the minor that a node image is packed with, on a Docker of its own."""

    @property
    def folder(self) -> ClusterFolder:
        """Where everything of it is kept."""
        return self.cache.cluster(self.name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in."""
        return self.folder.kubeconfig

    @cached_property
    def own_docker(self) -> OwnDocker | None:
        """The Docker that is the cluster's own, if it has one or is to have one."""
        own = OwnDocker(self.name, self.cache)
        return own if own.is_there or self.environment.get("KIND_DOCKER") == "own" else None

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
            self._check_settings()
            if self._is_there():
                self._check_image()
                self._kind("export", "kubeconfig", *self._options)
                if not self.status():
                    say(f"cluster {self.name} is up")
                    return
                say(f"cluster {self.name} does not answer; making it anew")
                self._kind("delete", "cluster", *self._options)
            self.folder.root.mkdir(parents=True, exist_ok=True)
            image = self._have_image()
            port = self.own_docker.port if self.own_docker else 0
            write_atomically(self._configuration, json.dumps(build_configuration(port=port, image=image)))
            create = ["create", "cluster", f"--config={self._configuration}", "--wait=180s", *self._options]
            run_long([self._program, *create], environment=self._variables)
            if trouble := self.status():
                raise ClusterError(f"cluster {self.name} did not come up: {'; '.join(trouble)}")
            say(f"cluster {self.name} is up; KUBECONFIG={self.kubeconfig}")

    def down(self) -> None:
        """Delete it, and keep the logs of its nodes; end its Docker, if it has one of its own."""
        with locked(self.folder.lock):
            if self._is_there():
                # Ends with an error if one log of many can't be had; those that can are written all the same.
                with contextlib.suppress(ClusterError):
                    self._kind("export", "logs", f"--name={self._kind_name}", str(self.folder.log))
                self._kind("delete", "cluster", *self._options)
            if self.own_docker:
                self.own_docker.stop()
            self.kubeconfig.unlink(missing_ok=True)
            self._configuration.unlink(missing_ok=True)
        say(f"cluster {self.name} is down; its logs are in {self.folder.log}")

    def status(self) -> list[str]:
        """List what is wrong; nothing if all is well."""
        if not self._is_there():
            return ["there is no such cluster; start it with `hack/cluster up`"]
        try:
            self._docker(
                *("exec", f"{self._kind_name}-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"),
                *("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s"),
            )
        except ClusterError as error:
            return [f"a node is not ready: {error}"]
        return []

    def load(self, archives: Sequence[Path]) -> None:
        """Give image archives to the nodes; those that all have already are left out."""
        there = [self._docker("exec", node, "ctr", "--namespace=k8s.io", "images", "list") for node in self.nodes()]
        for archive in archives:
            image = read_image(archive)
            if not all(is_listed(image, listing) for listing in there):
                self._kind("load", "image-archive", str(archive), f"--name={self._kind_name}")
                say(f"loaded {image.reference if image else archive}")

    def execute(self, command: Sequence[str]) -> int:
        """Refuse: the node's network is Docker's."""
        node = f"{self._kind_name}-control-plane"
        raise ClusterError(f"only for clusters of kind `node`; use `docker exec {node} {' '.join(command)}`")

    def nodes(self) -> list[str]:
        """Name its nodes, also those that are stopped."""
        return sorted(self._kind("get", "nodes", f"--name={self._kind_name}").split())

    def stop_node(self, node: str) -> None:
        """End a node at once, as when it loses power."""
        self._docker("kill", self._checked(node))

    def start_node(self, node: str) -> None:
        """Start a node that was stopped."""
        self._docker("start", self._checked(node))

    def _checked(self, node: str) -> str:
        """Let nobody stop a container that is not a node of this cluster."""
        if node not in (nodes := self.nodes()):
            raise ClusterError(f"cluster {self.name} has no node `{node}`; it has {', '.join(nodes)}")
        return node

    def _check_settings(self) -> None:
        """Refuse what would be ignored, and to go on without Docker."""
        if self.own_docker and self.environment.get("KIND_IMAGE"):
            raise Refused(NOT_BOTH)
        if not self.own_docker and self.environment.get("KIND_KUBERNETES"):
            raise Refused(ONLY_OWN)
        if not self.own_docker and (trouble := Docker.find_trouble()):
            raise Refused(NO_DOCKER.format(trouble=trouble))
        if minor := self.environment.get("KIND_KUBERNETES"):
            find_release(minor)

    def _check_image(self) -> None:
        """Refuse to take a cluster of one Kubernetes for one of another that was asked for."""
        if not (asked := self._asked_image) or not self._configuration.exists():
            return
        made = json.loads(self._configuration.read_text())["nodes"][0].get("image", "that kind takes by itself")
        if made != asked:
            raise ClusterError(f"cluster {self.name} has the node image {made}, not {asked}; take it down first")

    @property
    def _asked_image(self) -> str:
        """Name the image that the environment asks for, if it does."""
        minor = self.environment.get("KIND_KUBERNETES", "")
        return NodeImage(self.cache, find_release(minor)).reference if minor else self.environment.get("KIND_IMAGE", "")

    @property
    def _configuration(self) -> Path:
        return self.folder.root / "kind.json"

    def _have_image(self) -> str:
        """Have a node image, and a Docker that has it; return its name, or nothing for that of kind's release."""
        if not self.own_docker:
            return self._asked_image
        image = NodeImage(self.cache, find_release(self.environment.get("KIND_KUBERNETES", "")))
        archive = image.ensure()
        self.own_docker.start()
        if not self.own_docker.has_image(image.reference):
            self.own_docker.import_image(archive, image.reference)
        return image.reference

    @cached_property
    def _program(self) -> str:
        """Take the kind on PATH, unless it is older than the pinned one: node images are for a kind and newer ones."""
        needed = parse_version(f"v{binaries.KIND.version}")
        if (found := shutil.which("kind")) and parse_version(run([found, "version"])) >= needed:
            return found
        binaries.ensure_binaries(self.cache, [binaries.KIND])
        return str(binaries.binary(self.cache, binaries.KIND, "kind"))

    @property
    def _variables(self) -> Mapping[str, str]:
        return self.own_docker.environment if self.own_docker else os.environ

    def _kind(self, *arguments: str) -> str:
        return run([self._program, *arguments], environment=self._variables)

    def _docker(self, *arguments: str) -> str:
        return run(["docker", *arguments], environment=self._variables)

    def _is_there(self) -> bool:
        has_docker = self.own_docker.is_running if self.own_docker else Docker.is_there()
        return has_docker and self._kind_name in self._kind("get", "clusters").split()


def parse_version(text: str) -> tuple[int, int]:
    """Read ``kind v0.33.0 go1.26.8 linux/amd64``; (0, 0) if it is something else."""
    found = re.search(r"\bv(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def build_configuration(*, port: int, image: str) -> dict[str, Any]:
    """Describe two nodes that both take pods; port 0 is any that is free."""
    patch = {"kind": "InitConfiguration", "nodeRegistration": {"taints": []}}
    with_image = {"image": image} if image else {}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"apiServerAddress": "127.0.0.1", "apiServerPort": port},
        "nodes": [
            {"role": "control-plane", "kubeadmConfigPatches": [json.dumps(patch)], **with_image},
            {"role": "worker", **with_image},
        ],
    }
