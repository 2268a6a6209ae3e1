"""The cluster as a port: observe one endpoint, carry out a plan. Decides nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from modelendpoint_operator import names
from modelendpoint_operator.adapters.api_server import (
    BATCH_PREDICTIONS,
    CHILDREN,
    COMPANIONS,
    ENDPOINTS,
    ON_DEMAND,
    PODS,
    ApiServer,
    Object,
)
from modelendpoint_operator.adapters.checks import Address, CheckRunner
from modelendpoint_operator.adapters.doorbell import Doorbell
from modelendpoint_operator.adapters.envoy import RouterStatusReader
from modelendpoint_operator.adapters.notes import EventWriter, Regarding
from modelendpoint_operator.adapters.reduction import (
    is_monitor,
    is_ready,
    is_router,
    is_server,
    is_terminating,
    reduce_monitor,
    reduce_observation,
    serves,
    starts,
)
from modelendpoint_operator.adapters.reports import ReportReader
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.errors import ForeignObject
from modelendpoint_operator.observation import Check, Observation
from modelendpoint_operator.plan import Apply, Plan

Subject = TypeVar("Subject")
Result = TypeVar("Result")

_RESOURCES = {resource.kind: resource for resource in (*CHILDREN, *COMPANIONS, *ON_DEMAND)}


class Cluster(Protocol):
    """What the reconciler needs of the place where endpoints run."""

    def find(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read a ModelEndpoint; None when it is gone or going."""

    def observe(self, endpoint: ModelEndpoint, checks: Sequence[Check]) -> Observation:
        """Read everything about one endpoint, and measure what is due for its gates."""

    def apply(self, endpoint: ModelEndpoint, plan: Plan, *, now: datetime) -> None:
        """Carry out a plan, in its order."""


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Those who ask pods, and others, for what the API server does not know."""

    routers: RouterStatusReader
    reports: ReportReader
    checks: CheckRunner


class KubernetesCluster:
    """A Kubernetes cluster. Every pass reads afresh: nothing is decided by an old copy."""

    def __init__(
        self,
        api: ApiServer,
        *,
        probes: Probes,
        doorbell: Doorbell,
        pool: ThreadPoolExecutor,
        reporter: str,
    ) -> None:
        self._api = api
        self._routers = probes.routers
        self._reports = probes.reports
        self._checks = probes.checks
        self._doorbell = doorbell
        self._pool = pool
        self._events = EventWriter(api, reporter=reporter)

    def find(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read a ModelEndpoint; None when it is gone or going."""
        body = self._api.get(ENDPOINTS, namespace, name)
        if body is None or "deletionTimestamp" in body["metadata"]:
            self._doorbell.listen(namespace, name, ())
            return None
        return body

    def observe(self, endpoint: ModelEndpoint, checks: Sequence[Check]) -> Observation:
        """Read the endpoint's objects and pods, then ask routers, those servers that have something to tell, and checks."""
        labels = f"{names.LABEL_ENDPOINT}={endpoint.name}"
        namespace = endpoint.namespace
        *lists, pods = self._at_once(
            lambda resource: self._api.list(resource, namespace, labels=labels), (*CHILDREN, *COMPANIONS, PODS)
        )
        further = [resource for resource in ON_DEMAND if endpoint.may_have(resource.kind)]
        found = self._at_once(lambda resource: self._api.list_if_known(resource, namespace, labels=labels), further)
        lists += [bodies for bodies in found if bodies is not None]
        objects = [body for bodies in lists for body in bodies if _is_owned(body, endpoint)]
        own = [pod for pod in pods if _is_addressed(pod)]
        routers = [pod for pod in own if is_router(pod) and (serves(pod) or starts(pod))]
        telling = [pod for pod in own if is_server(pod) and _has_something_to_tell(pod, objects)]
        asked = routers if endpoint.is_asleep else []
        self._doorbell.listen(namespace, endpoint.name, [pod["status"]["podIP"] for pod in asked])
        stats = self._at_once(lambda pod: self._routers.read(pod["status"]["podIP"]), routers)
        reports = self._at_once(lambda pod: self._reports.read(pod["status"]["podIP"]), telling)
        monitors = [pod for pod in own if is_monitor(pod) and is_ready(pod) and not is_terminating(pod)]
        told = self._at_once(lambda pod: self._reports.read_document(pod["status"]["podIP"]), monitors)
        observation = reduce_observation(
            objects,
            pods,
            routers=dict(zip(map(_name, routers), stats, strict=True)),
            reports={name: report for name, report in zip(map(_name, telling), reports, strict=True) if report},
            measurements=self._checks.measure(endpoint, checks, pods=_addresses(own)),
            unknown_kinds=frozenset(
                resource.kind for resource, bodies in zip(further, found, strict=True) if bodies is None
            ),
        )
        return replace(observation, monitor=reduce_monitor(pods, dict(zip(map(_name, monitors), told, strict=True))))

    def apply(self, endpoint: ModelEndpoint, plan: Plan, *, now: datetime) -> None:
        """Carry out a plan, in its order: what comes first is needed by what comes later, and the status tells of all."""
        for write in plan.applies:
            self._write(write)
        for poke in plan.pokes:
            self._api.annotate(PODS, endpoint.namespace, poke.pod, {poke.annotation: poke.value})
        for gone in plan.deletes:
            self._api.delete(_RESOURCES[gone.ref.kind], endpoint.namespace, gone.ref.name, uid=gone.uid)
        regarding = Regarding(
            resource=ENDPOINTS,
            namespace=endpoint.namespace,
            name=endpoint.name,
            uid=endpoint.uid,
            version=endpoint.generation,
        )
        for note in plan.events:
            self._events.write(regarding, note, now=now)
        if plan.status is not None:
            self._api.apply(ENDPOINTS, _with_status(endpoint, plan), subresource="status")

    def _write(self, write: Apply) -> None:
        resource = _RESOURCES[write.manifest["kind"]]
        metadata = write.manifest["metadata"]
        if write.uid is None:
            # It was not seen among the endpoint's objects, so what is there now would be somebody else's.
            found = self._api.get(resource, metadata["namespace"], metadata["name"])
            if found is not None and not _has_owner(found, metadata["ownerReferences"][0]["uid"]):
                raise ForeignObject(f"{resource.kind} {metadata['name']}")
            if resource is BATCH_PREDICTIONS:
                # The operator has no right to change any: those that people write are of the same kind.
                self._api.create(resource, metadata["namespace"], write.manifest)
            else:
                self._api.apply(resource, write.manifest)
            return
        self._api.apply(resource, {**write.manifest, "metadata": {**metadata, "uid": write.uid}})

    def _at_once(self, read: Callable[[Subject], Result], subjects: Iterable[Subject]) -> list[Result]:
        return list(self._pool.map(read, subjects))


def _with_status(endpoint: ModelEndpoint, plan: Plan) -> Mapping[str, Any]:
    assert plan.status is not None
    status = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"namespace": endpoint.namespace, "name": endpoint.name, "uid": endpoint.uid},
        "status": _without_empty(status),
    }


def _without_empty(part: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out lists and maps that have nothing in them, as they would be if nobody had thought of them."""
    plain = {name: _without_empty(value) if isinstance(value, Mapping) else value for name, value in part.items()}
    return {name: value for name, value in plain.items() if value not in ([], {})}


def _is_owned(body: Object, endpoint: ModelEndpoint) -> bool:
    return _has_owner(body, endpoint.uid) and "deletionTimestamp" not in body["metadata"]


def _has_owner(body: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in body["metadata"].get("ownerReferences") or [])


def _addresses(pods: Iterable[Object]) -> dict[int, Address]:
    """Choose a ready pod of each revision, and say where its server listens."""
    ready = [pod for pod in pods if is_server(pod) and is_ready(pod) and not is_terminating(pod)]
    return {
        int(pod["metadata"]["labels"][names.LABEL_REVISION]): (str(pod["status"]["podIP"]), names.SERVER_PORT)
        for pod in ready
    }


def _is_addressed(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("podIP"))


def _has_something_to_tell(pod: Object, objects: list[Object]) -> bool:
    """Say whether a server's report is needed: it is not ready, or its revision's digest is not known yet."""
    if not is_ready(pod):
        return str(pod.get("status", {}).get("phase")) == "Running"
    number = int(pod["metadata"]["labels"][names.LABEL_REVISION])
    records = (body for body in objects if body["kind"] == "ControllerRevision" and body["revision"] == number)
    return not any(names.ANNOTATION_SHA256 in body["metadata"].get("annotations", {}) for body in records)


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])
