"""The operator's port ``Cluster`` on this machine: reads objects, pods, routers and reports; writes plans. Decides nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from modelendpoint.local.events import EventLog, Subject
from modelendpoint.local.node import Node
from modelendpoint.local.objects import Key, Object, ObjectStore
from modelendpoint.local.pods import Pod
from modelendpoint.local.relocation import LOOPBACK
from modelendpoint_operator import names
from modelendpoint_operator.adapters.checks import Address, CheckRunner
from modelendpoint_operator.adapters.envoy import RouterStats, RouterStatusReader
from modelendpoint_operator.adapters.reduction import is_router, is_server, is_terminating, reduce_observation, serves
from modelendpoint_operator.adapters.reports import ReportReader
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.errors import ForeignObject
from modelendpoint_operator.observation import Check, Observation, PodReport
from modelendpoint_operator.plan import Plan

Result = TypeVar("Result")


UNKNOWN_KINDS = frozenset({"HTTPRoute", "Ingress", "HorizontalPodAutoscaler"})
"""What would have no meaning here."""


class LocalCluster:
    """The cluster of one instance. Every pass reads afresh, as on a real one."""

    def __init__(
        self,
        store: ObjectStore,
        node: Node,
        events: EventLog,
        *,
        checks: CheckRunner,
        pool: ThreadPoolExecutor,
        as_written: Callable[[str], str],
    ) -> None:
        self._store = store
        self._node = node
        self._events = events
        self._checks = checks
        self._pool = pool
        self._as_written = as_written

    def find(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read a ModelEndpoint; None when it is gone."""
        return self._store.get(names.KIND, namespace, name)

    def observe(self, endpoint: ModelEndpoint, checks: Sequence[Check]) -> Observation:
        """Read the endpoint's objects and pods, then ask routers, servers and checks."""
        pods = self._node.pods(namespace=endpoint.namespace, endpoint=endpoint.name)
        routers = [pod for pod in pods if is_router(pod.body) and serves(pod.body)]
        servers = [pod for pod in pods if is_server(pod.body) and pod.body["status"]["phase"] == "Running"]
        stats = self._at_once(self._read_router, routers)
        reports = self._at_once(self._read_report, servers)
        return reduce_observation(
            self._store.owned(endpoint.uid),
            [pod.body for pod in pods],
            routers=stats,
            reports={name: report for name, report in reports.items() if report},
            measurements=self._checks.measure(endpoint, checks, pods=_addresses(servers)),
            unknown_kinds=UNKNOWN_KINDS,
        )

    def apply(self, endpoint: ModelEndpoint, plan: Plan, *, now: datetime) -> None:
        """Carry out a plan, in its order."""
        for write in plan.applies:
            self._write(write.manifest, uid=write.uid, now=now)
        for poke in plan.pokes:
            self._node.annotate(poke.pod, {poke.annotation: poke.value})
        for gone in plan.deletes:
            self._store.delete(Key(gone.ref.kind, endpoint.namespace, gone.ref.name), uid=gone.uid)
        subject = Subject(
            kind=names.KIND,
            namespace=endpoint.namespace,
            name=endpoint.name,
            uid=endpoint.uid,
            version=endpoint.generation,
        )
        for note in plan.events:
            self._events.tell(subject, replace(note, message=self._as_written(note.message)), now=now)
        if plan.status is not None:
            status = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
            self._store.set_status(Key(names.KIND, endpoint.namespace, endpoint.name), uid=endpoint.uid, status=status)

    def _write(self, manifest: Object, *, uid: str | None, now: datetime) -> None:
        metadata = manifest["metadata"]
        if uid is None and self._store.get(manifest["kind"], metadata["namespace"], metadata["name"]) is not None:
            raise ForeignObject(f"{manifest['kind']} {metadata['name']}")
        self._store.apply(manifest, now=now)

    def _read_router(self, pod: Pod) -> RouterStats | None:
        assert pod.launch is not None
        return RouterStatusReader(port=pod.launch.ports[names.ROUTER_STATUS_PORT]).read(LOOPBACK)

    def _read_report(self, pod: Pod) -> PodReport | None:
        assert pod.launch is not None
        report = ReportReader(port=pod.launch.ports[names.MANAGEMENT_PORT]).read(LOOPBACK)
        if report is None or report.message is None:
            return report
        return replace(report, message=self._as_written(report.message))

    def _at_once(self, read: Callable[[Pod], Result], pods: Iterable[Pod]) -> dict[str, Result]:
        found = list(pods)
        return dict(zip((pod.name for pod in found), self._pool.map(read, found), strict=True))


def _addresses(servers: Iterable[Pod]) -> dict[int, Address]:
    """Choose a ready pod of each revision, and say where its server listens."""
    return {
        int(pod.body["metadata"]["labels"][names.LABEL_REVISION]): (LOOPBACK, pod.launch.ports[names.SERVER_PORT])
        for pod in servers
        if pod.launch and pod.is_ready and not is_terminating(pod.body)
    }
