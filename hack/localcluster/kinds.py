"""The kinds of cluster, and which one is meant."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from localcluster.commands import ClusterError, write_atomically
from localcluster.current_cluster import CurrentCluster
from localcluster.docker import Docker
from localcluster.folders import Cache
from localcluster.kind_cluster import KindCluster
from localcluster.node_cluster import NodeCluster

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
KINDS = ("node", "kind", "current")


class Cluster(Protocol):
    """What every kind can do."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in."""

    def up(self) -> None:
        """Start it, unless it is up."""

    def down(self) -> None:
        """Remove it."""

    def status(self) -> list[str]:
        """List what is wrong; nothing if all is well."""

    def load(self, archives: Sequence[Path]) -> None:
        """Have the images of these archives on the cluster's nodes."""

    def execute(self, command: Sequence[str]) -> int:
        """Run a command of this machine in the network of the cluster's node; return its code."""

    def stop_node(self, node: str) -> None:
        """End a node at once, as when it loses power."""

    def start_node(self, node: str) -> None:
        """Start a node that was stopped."""


def choose_kind(*, asked: str | None, recorded: str | None, has_docker_and_kind: bool) -> str:
    """Choose a kind: the one that the cluster has, the one asked for, or what is there."""
    if asked and asked not in KINDS:
        raise ClusterError(f"there is no kind of cluster `{asked}`; choose one of {', '.join(KINDS)}")
    if asked and recorded and asked != recorded:
        raise ClusterError(
            f"this cluster is of kind `{recorded}`, not `{asked}`; leave --kind and CLUSTER out to use it or to take it "
            "down, or choose another --name"
        )
    return recorded or asked or ("kind" if has_docker_and_kind else "node")


def open_cluster(cache: Cache, name: str, asked: str | None) -> Cluster:
    """Take the cluster of that name, there or not."""
    if not NAME.fullmatch(name):  # it names a folder, a host and a node
        raise ClusterError(f"`{name}` can't be a cluster's name; use up to 30 lower-case letters, digits and dashes")
    record = _record(cache, name)
    recorded = record.read_text() if record.exists() else None
    has_docker_and_kind = not (asked or recorded) and bool(shutil.which("kind")) and Docker.is_there()
    kind = choose_kind(asked=asked, recorded=recorded, has_docker_and_kind=has_docker_and_kind)
    if kind == "node":
        return NodeCluster(name, cache)
    return KindCluster(name, cache, os.environ) if kind == "kind" else CurrentCluster(name, cache)


def record_kind(cache: Cache, name: str, cluster: Cluster) -> bool:
    """Write down of which kind a cluster is; say whether that was not known yet."""
    is_new = not _record(cache, name).exists()
    kinds = {NodeCluster: "node", KindCluster: "kind", CurrentCluster: "current"}
    write_atomically(_record(cache, name), kinds[type(cluster)])
    return is_new


def forget_kind(cache: Cache, name: str) -> None:
    """Let the name be used for another kind."""
    _record(cache, name).unlink(missing_ok=True)


def _record(cache: Cache, name: str) -> Path:
    return cache.cluster(name).root / "kind"
