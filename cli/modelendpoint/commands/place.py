"""Options that say where the endpoints are: on this machine, or in a cluster."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from modelendpoint.commands.state import state_option
from modelendpoint.endpoints import Endpoints

KUBECTL = "kubectl mep"
"""What the command is called as kubectl's plugin."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the endpoints are."""

    state: Path | None
    namespace: str | None
    context: str | None
    kubeconfig: Path | None

    @property
    def is_cluster(self) -> bool:
        """Say whether a cluster is meant: kubectl's users mean one, and so does whoever names a part of it."""
        named = self.namespace or self.context or self.kubeconfig
        return bool(named) or click.get_current_context().find_root().info_name == KUBECTL

    def open(self) -> Endpoints:
        """Reach the endpoints; raise ``CliError`` when that can't be done."""
        if not self.is_cluster:
            # Named, not imported: who asks the one place need not wait for the other's libraries.
            local = pkgutil.resolve_name("modelendpoint.local.client:LocalEndpoints")
            found: Endpoints = local.find(Path.cwd(), given=self.state)
            return found
        if self.state is not None:
            raise click.UsageError("--state is a folder of this machine; leave it out for endpoints in a cluster.")
        cluster = pkgutil.resolve_name("modelendpoint.cluster:ClusterEndpoints")
        reached: Endpoints = cluster.connect(kubeconfig=self.kubeconfig, context=self.context, namespace=self.namespace)
        return reached


def place_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets them as ``place``."""

    @wraps(command)
    def with_place(
        *,
        state: Path | None,
        namespace: str | None,
        context: str | None,
        kubeconfig: Path | None,
        **others: Any,
    ) -> None:
        command(place=Place(state=state, namespace=namespace, context=context, kubeconfig=kubeconfig), **others)

    for option in (
        click.option("--kubeconfig", type=click.Path(path_type=Path, exists=True), help="Cluster: kubeconfig file."),
        click.option("--context", metavar="NAME", help="Cluster: context of the kubeconfig."),
        click.option("-n", "--namespace", metavar="NAME", help="Cluster: namespace of the endpoints."),
        state_option,
    ):
        with_place = option(with_place)
    return with_place
