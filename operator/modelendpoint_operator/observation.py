"""What was seen of one endpoint in one pass, reduced to our own types. Nothing here knows how it was read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.batch_status import BatchPredictionStatus
from modelendpoint_operator.api.gates import HttpGate, PrometheusGate
from modelendpoint_operator.api.revision import RevisionTemplate


@dataclass(frozen=True, kw_only=True, order=True)
class ObjectRef:
    """Kind and name of an object in the endpoint's namespace."""

    api_version: str
    kind: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "ObjectRef":
        """Name the object that a manifest describes."""
        return cls(api_version=manifest["apiVersion"], kind=manifest["kind"], name=manifest["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One share of the traffic."""

    revision: int
    weight: int
    """Percent of all requests for a variant or shadow; the others are percent of what the variants leave, and 100
    together."""
    arm: str | None = None
    """The variant or shadow that it belongs to; None for the main model."""
    copies: bool = False
    """Whether it is a shadow, which gets copies of requests only."""
    held: bool = False
    """Whether the routers hold its requests until it has a pod. Such a leg is the only one."""


@dataclass(frozen=True, kw_only=True)
class RevisionRecord:
    """A revision that is kept in the cluster."""

    number: int
    template: RevisionTemplate
    sha256: str | None
    """Digest of the bytes: pinned by the author, or told by the revision's first pod."""


@dataclass(frozen=True, kw_only=True)
class PodReport:
    """What a model server tells about itself on its management port."""

    state: str
    sha256: str | None = None
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class PodSeen:
    """One pod of a revision."""

    name: str
    revision: int
    ready: bool
    terminating: bool
    arm: str | None = None
    """The variant or shadow that it belongs to; None for the main model."""
    poked: str | None = None
    """The value by which its kubelet was last told to refresh its mounted files."""
    monitoring: str | None = None
    """The value by which it was last told to refresh what it knows of monitoring."""
    trouble: str | None = None
    """Why its container does not run, in the kubelet's words."""
    report: PodReport | None = None


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What one router pod counted for one revision since the pod started. They only grow until it restarts."""

    answers: int = 0
    """Requests that were answered, by the model server or by the router in its place."""
    client_errors: int = 0
    """Those of them with a status from 400 to 499."""
    server_errors: int = 0
    """Those of them with a status from 500."""
    dropped: int = 0
    """Those of these that the router did not even send, because too many were under way. Copies for a shadow, mostly."""
    latency: Mapping[tuple[float, float], int] = field(default_factory=dict)
    """How many took how long: from a number of milliseconds on, below another one."""


@dataclass(frozen=True, kw_only=True)
class RouterSeen:
    """One router pod that is ready, or that still serves while it ends."""

    name: str
    terminating: bool
    config: str | None
    """The configuration version that the pod was last poked for."""
    route_version: str | None
    """Version of the routes that Envoy uses; None when it did not answer."""
    cluster_version: str | None = None
    listener_version: str | None = None
    bootstrap: str | None = None
    """Version of what it was started with; None when it does not say."""
    troubles: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with the files that it has of users' objects, by the name of the mount."""
    healthy: Mapping[int, int] = field(default_factory=dict)
    """Pods that Envoy sends requests to, by revision."""
    counted: Mapping[int, Counters] = field(default_factory=dict)
    """What Envoy counted, by revision."""
    knocks: int | None = None
    """Times that a request which waits for a pod asked for one. None for a router that can't hold any."""


@dataclass(frozen=True, kw_only=True)
class DriftFinding:
    """A column that has changed, as the monitor tells it."""

    kind: str
    column: str
    role: str
    p_value: float
    psi: float
    missing_percent: float
    outside_percent: float
    mean: float | None = None
    reference_mean: float | None = None


@dataclass(frozen=True, kw_only=True)
class DriftWindow:
    """A full window."""

    ended_at: datetime
    rows: int
    columns: int
    finding_count: int
    findings: tuple[DriftFinding, ...]
    """The strongest first, and not all of many."""


@dataclass(frozen=True, kw_only=True)
class DriftArm:
    """The windows of a revision."""

    revision: int
    variant: str | None
    windows: int
    drifted: int
    unknown_columns: tuple[str, ...] = ()
    last: DriftWindow | None = None


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """What a monitor tells of drift."""

    reference_sha256: str | None
    """None as long as there is no reference."""
    reason: str | None = None
    message: str | None = None
    arms: tuple[DriftArm, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MonitorReport:
    """What a monitor tells: numbers of samples since its pod started, and what keeps it from storing them."""

    sampled: int
    """Requests that belong to the sample, as the servers told it."""
    received: int
    """Those of them that came to it."""
    captured: int
    """Those of them that are in the store."""
    dropped: int
    """Those that never will be: dropped by the servers, or by it."""
    reason: str | None = None
    message: str | None = None
    drift: DriftReport | None = None


@dataclass(frozen=True, kw_only=True)
class MonitorSeen:
    """The monitor's pod."""

    name: str
    ready: bool
    trouble: str | None = None
    """Why its container does not run, in the kubelet's words."""
    report: MonitorReport | None = None


@dataclass(frozen=True, kw_only=True)
class RoutesSeen:
    """The routes that are written in the router's ConfigMap."""

    version: str
    legs: tuple[Leg, ...]
    clusters: frozenset[int]
    """Revisions that the router knows, all but the sleeping ones with their pods."""
    cluster_version: str = ""
    """Version of what the router knows of them."""
    holding: frozenset[int] = frozenset()
    """Those of them whose requests it can hold."""
    sleeping: frozenset[int] = frozenset()
    """Those of them that it takes for having no pods."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A question of a Prometheus or HTTP gate that is due."""

    name: str
    """``prometheus/<name>`` or ``http/<name>``."""
    gate: PrometheusGate | HttpGate
    candidate: int
    stable: int | None
    period: datetime
    """When the measured period began: the answer to a question from an earlier one says nothing about this one."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The answer to a check, as it came; nothing is judged yet."""

    value: float | None = None
    """Result of the query, or status of the HTTP answer; None when there was none."""
    message: str = ""
    """What else was answered, or why there was no answer."""


@dataclass(frozen=True, kw_only=True)
class ReplaySeen:
    """A BatchPrediction that a replay gate asked for."""

    gate: str
    """Name of the gate."""
    status: BatchPredictionStatus

    @property
    def ended(self) -> bool:
        """Say whether nothing will change any more by itself."""
        return self.status.completion_time is not None


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Everything read in one pass."""

    objects: Mapping[ObjectRef, Mapping[str, Any]] = field(default_factory=dict)
    """Our objects, as the API server gave them."""
    revisions: Mapping[int, RevisionRecord] = field(default_factory=dict)
    pods: tuple[PodSeen, ...] = ()
    routers: tuple[RouterSeen, ...] = ()
    starting_routers: tuple[RouterSeen, ...] = ()
    """Router pods that run and are not ready; they may say what they lack."""
    monitor: MonitorSeen | None = None
    routes: RoutesSeen | None = None
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    """Answers to the checks that were due, by the name of their gate."""
    replays: Mapping[str, ReplaySeen] = field(default_factory=dict)
    """Runs of replay gates, by name."""
    unknown_kinds: frozenset[str] = frozenset()
    """Kinds of objects that the endpoint may have, and that this cluster knows nothing of."""

    @property
    def live_legs(self) -> tuple[Leg, ...] | None:
        """The shares by which traffic really flows; None while it is not certain.

        It is certain when every router pod that serves, the ending ones included, uses the routes that are written.
        """
        if self.routes is None or not self.routers:
            return None
        if any(router.route_version != self.routes.version for router in self.routers):
            return None
        return self.routes.legs

    @property
    def live_main_legs(self) -> tuple[Leg, ...] | None:
        """Those of them that are the main model's."""
        return None if self.live_legs is None else tuple(leg for leg in self.live_legs if leg.arm is None)

    def has_leg(self, revision: int) -> bool:
        """Say whether a revision has a share in the routes that are written."""
        return self.routes is not None and any(leg.revision == revision for leg in self.routes.legs)

    def is_cut_off(self, revision: int) -> bool:
        """Say whether every router that serves takes a revision for having no pods, so that no request can reach one."""
        if self.routes is None or revision not in self.routes.sleeping:
            return False
        return all(router.cluster_version == self.routes.cluster_version for router in self.routers)

    def ready_pods(self, revision: int) -> int:
        """Count a revision's ready pods."""
        return sum(pod.ready and not pod.terminating for pod in self.pods if pod.revision == revision)

    def routable_pods(self, revision: int) -> int:
        """Count the pods of a revision that are ready and that every serving router would send requests to.

        Those that were told to end, and still say they are ready, get requests too, but will not for long.
        """
        ending = sum(pod.ready and pod.terminating for pod in self.pods if pod.revision == revision)
        serving = [router.healthy.get(revision, 0) - ending for router in self.routers if not router.terminating]
        return max(0, min([self.ready_pods(revision), *serving])) if serving else 0

    def reports(self, revision: int) -> Iterable[PodReport]:
        """Yield what the revision's pods report, those that end left out."""
        return (pod.report for pod in self.pods if pod.revision == revision and pod.report and not pod.terminating)

    def workloads(self) -> dict[int, int]:
        """Name the revisions that have a Deployment, and how many pods it wants."""
        deployments = (body for ref, body in self.objects.items() if ref.kind == "Deployment")
        numbered = ((_revision_of(body), body) for body in deployments)
        return {number: body["spec"].get("replicas", 1) for number, body in numbered if number is not None}

    def populated(self) -> frozenset[int]:
        """Name the revisions that have any object besides their record."""
        others = (body for ref, body in self.objects.items() if ref.kind != "ControllerRevision")
        return frozenset(number for number in map(_revision_of, others) if number is not None)


def _revision_of(body: Mapping[str, Any]) -> int | None:
    number = str(body["metadata"].get("labels", {}).get(names.LABEL_REVISION, ""))
    return int(number) if number.isdecimal() else None
