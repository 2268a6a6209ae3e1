"""What the operator answers in ``status``. ``status.rollout`` is the rollout machine's whole memory."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.spec import Sha256, Weight


class ConditionType(StrEnum):
    """Types of conditions; their meaning follows kstatus (docs/reference/conditions.md)."""

    READY = "Ready"
    AVAILABLE = "Available"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    EXPOSED = "Exposed"
    MONITORED = "Monitored"
    DRIFT_DETECTED = "DriftDetected"


class Condition(ApiModel):
    """One condition, as ``metav1.Condition``."""

    type: Annotated[str, Field(max_length=316)]
    """Ready: the spec is fully rolled out and serving. Available: requests are answered, by some revision.
    Reconciling: work is under way. Stalled: a person or a new spec is needed.
    Exposed, with routing.gateway or routing.ingress only: requests are led to the endpoint from outside the cluster.
    Monitored, with monitoring only: the monitor runs, and stores what it shall.
    DriftDetected, with monitoring.drift only: requests or predictions do not look like the reference any more."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$")]
    """True, False or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """The cause in one word, for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """The cause in a sentence, for people, with the next step where there is one."""
    last_transition_time: datetime
    """When the status last changed."""
    observed_generation: int
    """Generation of the spec that this condition is about."""


class RevisionStatus(ApiModel):
    """One revision that has pods."""

    revision: int
    """Number of the revision."""
    version: str | None = None
    """The model's version as its author called it."""
    sha256: Sha256 | None = None
    """Digest of the bytes that are loaded; absent until the first pod has reported it."""
    weight: Weight = 0
    """Percent of the traffic of the main model that the router gives it now; that is what the variants leave."""
    replicas: int = 0
    """Number of pods wanted."""
    ready_replicas: int = 0
    """Number of pods ready."""
    url: str | None = None
    """Where the candidate is reached past the router, from inside the cluster, to try it."""


Histogram = Annotated[str, Field(pattern=r"^([0-9]+-[0-9]+:[0-9]+( |$))*$", max_length=16384)]


class CountsStatus(ApiModel):
    """What was counted for one revision."""

    answers: int = 0
    """Requests that were answered."""
    client_errors: int = 0
    """Those of them with a status from 400 to 499."""
    server_errors: int = 0
    """Those of them with a status from 500."""
    latency: Histogram | None = None
    """How long they took: "0-1:25 2-3:4" are 25 answers below 1 ms, and 4 from 2 ms on and below 3 ms. Absent where
    nobody looks at it."""


class BaselineStatus(CountsStatus):
    """What a router pod had counted for a revision when the measured period began."""

    router: str
    """Name of the router pod."""
    revision: int
    """Number of the revision."""


class MeasuredStatus(CountsStatus):
    """How a revision did, by what was counted."""

    error_percent: float = 0
    """Percent of the requests that failed."""
    p50_milliseconds: float | None = None
    """Half of the answers took at most this long. Absent as long as there are none."""
    p95_milliseconds: float | None = None
    """95 percent of them did."""
    p99_milliseconds: float | None = None
    """99 percent of them did."""


class DifferenceStatus(ApiModel):
    """By how much a variant or shadow is above the stable revision. It is better where all of the interval is below 0, worse
    where all of it is above 0, and else nobody knows yet."""

    effect: float | None = None
    """The difference of what was measured."""
    lower: float | None = None
    """Lower end of the interval that holds the true difference with 95 percent confidence, however often one looks. Absent
    where it may be anything."""
    upper: float | None = None
    """Upper end of it."""


class ResultsStatus(ApiModel):
    """How a variant or shadow does, by what the routers count; and how the stable revision did with its own part of the
    requests in the same time."""

    summary: str
    """All that in one line."""
    since: datetime
    """When the counting began. It begins anew with another revision on either side, and with other shares."""
    resting: str | None = None
    """Why nothing is counted at present; what was counted before stays. Absent while requests are counted."""
    not_compared: str | None = None
    """Why there is no comparison with the stable revision; absent where there is one."""
    revision: int
    """Revision of the variant or shadow."""
    compared_with: int | None = None
    """Revision of the main model that it is compared with: the stable one."""
    percent: int | None = None
    """Percent of all requests that the variant or shadow gets."""
    compared_percent: int | None = None
    """Percent of all requests that the stable revision gets."""
    own: MeasuredStatus = MeasuredStatus()
    """What was counted for the variant or shadow. Copies that a shadow was too slow for are left out."""
    stable: MeasuredStatus | None = None
    """What was counted for the stable revision in the same time."""
    errors: DifferenceStatus | None = None
    """The shares of failed requests compared, in percentage points."""
    latency: DifferenceStatus | None = None
    """The response times compared, in milliseconds: the percentile of the endpoint's gate on latency, or the 95th."""


class CountingStatus(ApiModel):
    """What the results of variants and shadows remember of the routers' counters."""

    measured_at: datetime
    """When they were looked at."""
    routes: str | None = None
    """Version of the routes that every router has used since then; absent while others are on their way."""
    baseline: list[BaselineStatus] = []
    """The routers' counters at measuredAt; what they count is never reset."""


class ArmStatus(ApiModel):
    """What is true for a variant or a shadow."""

    name: str
    """Its name."""
    revision: int | None = None
    """Revision that gets its requests; absent until one was ready."""
    next_revision: int | None = None
    """Revision that the spec asks for, and that takes over as soon as all its pods are ready."""
    since: datetime | None = None
    """When nextRevision was asked for."""
    version: str | None = None
    """Version of the model of revision, or before there is one of nextRevision."""
    sha256: Sha256 | None = None
    """Digest of its bytes."""
    weight: Weight = 0
    """Percent of all requests that the routers give it now; a shadow gets copies of as many."""
    replicas: int = 0
    """Number of its pods wanted."""
    ready_replicas: int = 0
    """Number of its pods ready."""
    message: str | None = None
    """What it waits for, or what is wrong with it; absent while it is as the spec says."""
    results: ResultsStatus | None = None
    """How it does, compared with the stable revision; absent until requests are counted."""


class Phase(StrEnum):
    """Where a rollout is. Drawn in ``rollout/machine.py``."""

    DEPLOYING = "Deploying"
    SHIFTING = "Shifting"
    HOLDING = "Holding"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    BAKING = "Baking"


class Verdict(StrEnum):
    """What a gate knows about the candidate."""

    PASS = "Pass"  # noqa: S105
    FAIL = "Fail"
    INSUFFICIENT_DATA = "InsufficientData"


class ComparisonNumbers(ApiModel):
    """The numbers of a comparison; absent where nothing was compared."""

    effect: float | None = None
    """Candidate minus stable, in percentage points or milliseconds."""
    lower: float | None = None
    """Lower end of the interval that the effect is in."""
    upper: float | None = None
    """Upper end of it."""
    threshold: float | None = None
    """Largest effect that is allowed."""
    candidate_requests: int | None = None
    """Requests of the candidate that were counted."""
    stable_requests: int | None = None
    """Requests of the stable revision that were counted."""


class FindingStatus(ComparisonNumbers):
    """The latest answer of a gate in this step."""

    gate: str
    """errorRate, latency, prometheus/<name>, http/<name> or replay/<name>."""
    verdict: Verdict
    """Pass, Fail, or InsufficientData when it can't tell yet."""
    message: str
    """The numbers, in a sentence."""
    missing_requests: int | None = None
    """About how many more requests of the candidate are needed to tell."""


class CheckStatus(ApiModel):
    """What a Prometheus or HTTP gate remembers from one measurement to the next."""

    gate: str
    """prometheus/<name> or http/<name>."""
    measured_at: datetime
    """When it was measured last."""
    verdict: Verdict
    """What is known since then."""
    value: float | None = None
    """Result of the query, or status of the HTTP answer."""
    message: str = ""
    """The measurement, in a sentence."""
    failures: int = 0
    """Wrong results in a row."""


class ReplayStatus(ApiModel):
    """A run over recorded rows that a replay gate asked for."""

    gate: str
    """Name of the gate."""
    run: str
    """Name of its BatchPrediction."""
    since: datetime
    """When it was asked for."""
    overruled: bool = False
    """Whether a person went on although it failed."""


class RolloutStatus(ApiModel):
    """A rollout under way, or just over while bakeSeconds run."""

    phase: Phase
    """Deploying: the candidate's pods start. Shifting: a new weight is on its way to the router. Holding: the step's
    time runs. Paused: a person is needed. Promoting: the candidate takes over. Baking: it has taken over, and the gates
    go on watching."""
    step: int = 0
    """Index of the step, from 0. A check before any traffic is a step too."""
    since: datetime
    """When this phase began."""
    measured_since: datetime | None = None
    """When the routers had taken up the step's weight, or the revision was promoted: what is measured began then."""
    held_by: str | None = None
    """Who or what paused the rollout where the spec has no pause: person, or the name of a gate."""
    message: str | None = None
    """Why it is paused."""
    findings: list[FindingStatus] = []
    """The gates' latest answers in this step."""
    measured_at: datetime | None = None
    """When the findings were written."""
    checks: list[CheckStatus] = []
    """What Prometheus and HTTP gates measured last."""
    replays: list[ReplayStatus] = []
    """The runs of replay gates. Unlike the rest they are kept from one step to the next."""
    baseline: list[BaselineStatus] = []
    """The routers' counters at measuredSince; what they count is never reset."""
    reference: CountsStatus | None = None
    """What was known of the previous revision when the candidate took over; the gates compare with it."""


class Decision(ComparisonNumbers):
    """Something that was found out or decided about a revision, with the numbers."""

    time: datetime
    """When."""
    revision: int
    """Which revision it is about."""
    step: int | None = None
    """Index of the step; absent after the promotion."""
    gate: str | None = None
    """Gate that found it; absent for what was decided."""
    verdict: str
    """Pass, Fail, InsufficientData (at its deadline), Paused, Promoted, RolledBack or Aborted."""
    message: str
    """The cause, in a sentence."""


class CountedStatus(ApiModel):
    """What a router pod had counted for a revision of the main model."""

    router: str
    """Name of the router pod."""
    revision: int
    """Number of the revision."""
    answers: int
    """Requests that were answered since the router pod started."""


class ScaleStatus(ApiModel):
    """Where autoscaling stands."""

    replicas: int
    """Number of model server pods at full traffic. 0 while the endpoint sleeps."""
    since: datetime
    """When it was chosen."""
    waking_since: datetime | None = None
    """When a request ended its sleep; absent when pods answer again."""
    quiet_since: datetime | None = None
    """Since when no request has come, as far as that is known. Absent where minReplicas is not 0, and while no pod
    answers or a rollout is under way."""
    requests: dict[str, int] = {}
    """What each router pod had counted then; what they count is never reset."""
    message: str | None = None
    """What keeps autoscaling from working; absent while nothing does."""
    for_requests: int | None = None
    """Number of pods for the requests; absent without targetRequestsPerSecond."""
    requests_per_second: float | None = None
    """Requests per second of the main model, as measured last."""
    measured_at: datetime | None = None
    """When they were measured. Not renewed while there are none."""
    fewer_since: datetime | None = None
    """Since when fewer pods than forRequests have been enough."""
    fewer_needed: int | None = None
    """Most pods that were needed since then."""
    counted: Annotated[list[CountedStatus], Field(max_length=1000)] = []
    """The routers' counters at measuredAt; what they count is never reset."""


class DriftFindingStatus(ApiModel):
    """A column that has changed by more than matters and by more than chance."""

    column: str
    """Name of the column; one place of a longer row is name[place]."""
    role: str
    """Input or Output."""
    kind: str
    """Distribution, Missing, OutOfRange, UnseenCategories or Constant."""
    psi: float
    """Population stability index."""
    p_value: float
    """Probability that chance alone changes it so much."""
    missing_percent: float
    """Percent of the rows without a value."""
    outside_percent: float
    """Percent of the values out of the reference's range, or unseen there."""
    mean: float | None = None
    """Mean of the numbers."""
    reference_mean: float | None = None
    """Their mean in the reference."""


class DriftArmStatus(ApiModel):
    """The last window of a revision."""

    revision: int
    """Number of the revision."""
    variant: str | None = None
    """The variant or shadow that it belongs to."""
    window_ended_at: datetime
    """When the window was full."""
    rows: int
    """Rows in it."""
    columns: int
    """Columns that were compared."""
    finding_count: int = 0
    """Changes that were found."""
    findings: list[DriftFindingStatus] = []
    """The strongest of them, five at most."""
    unknown_columns: list[str] = []
    """Some columns of the requests that the reference does not have, or has with values of another kind."""
    windows: int = 0
    """Windows since the monitor started."""
    drifted_windows: int = 0
    """Those of them in which something was found."""


class DriftStatus(ApiModel):
    """What the last windows have shown."""

    reference_sha256: str | None = None
    """Digest of the reference's file."""
    arms: list[DriftArmStatus] = []
    """The revisions that serve, as far as a window of them was full."""
    message: str | None = None
    """What keeps the reference from being read; absent while nothing does."""


class MonitoringStatus(ApiModel):
    """What became of the sample since the monitor's pod started, as of a while ago."""

    sampled: int = 0
    """Requests that belong to the sample."""
    received: int = 0
    """Those of them that came to the monitor."""
    captured: int = 0
    """Those of them that are in the store."""
    dropped: int = 0
    """Those of them that never will be there: without room in a queue, lost with a connection, or not to be stored."""
    measured_at: datetime | None = None
    """When these numbers last changed; they are written every 30 seconds at most."""
    message: str | None = None
    """What keeps samples from being stored; absent while nothing does."""
    drift: DriftStatus | None = None
    """How far requests and predictions are from the reference."""


class RoutesStatus(ApiModel):
    """The routes that were written last."""

    version: str
    """Version of the routes, as the router reports it."""
    live_since: datetime | None = None
    """When every router pod had taken this version up; absent until then."""
    config: str | None = None
    """Version of all that the routers are configured with."""
    since: datetime | None = None
    """Since when that is what they shall use."""


class RejectedRevision(ApiModel):
    """A revision that is not tried again until it is asked for."""

    revision: int
    """Number of the revision."""
    reason: str
    """Why, in one word."""
    message: str
    """Why, in a sentence."""


class HistoryEntry(ApiModel):
    """A revision that took over all traffic."""

    revision: int
    """Number of the revision."""
    version: str | None = None
    """The model's version as its author called it."""
    sha256: Sha256 | None = None
    """Digest of its bytes."""
    promoted_at: datetime
    """When it took over."""


class ModelEndpointStatus(ApiModel):
    """What is true for the endpoint."""

    observed_generation: int = -1
    """Generation of the spec that this status is about; -1 until the operator has seen the object."""
    url: str | None = None
    """Where applications in the cluster reach the endpoint."""
    replicas: int = 0
    """Number of the main model's server pods, for the scale subresource."""
    selector: str | None = None
    """Label selector of the main model's server pods, for the scale subresource."""
    stable: RevisionStatus | None = None
    """The revision that serves."""
    candidate: RevisionStatus | None = None
    """The revision that is being rolled out."""
    variants: list[ArmStatus] = []
    """The variants, in the order of the spec."""
    shadows: list[ArmStatus] = []
    """The shadows, in the order of the spec."""
    results: str | None = None
    """How the variants and shadows do, in one line for kubectl get -o wide."""
    counting: CountingStatus | None = None
    """What their results remember of the routers' counters."""
    rollout: RolloutStatus | None = None
    """The rollout under way."""
    scale: ScaleStatus | None = None
    """Where autoscaling stands."""
    monitoring: MonitoringStatus | None = None
    """What becomes of the sample of the requests."""
    routes: RoutesStatus | None = None
    """The routes that were written last, and since when the router uses them."""
    handled_annotations: dict[str, str] = {}
    """Annotations such as modelendpoint.dev/promote that were acted on. Each acts once per value; to give the same
    order again, remove the annotation first, or add a suffix to its value: "2/again"."""
    decisions: Annotated[list[Decision], Field(max_length=20)] = []
    """What gates found and what was decided, the latest last."""
    rolled_back_to: int | None = None
    """Revision that serves instead of the one in the spec, which was rejected after its promotion."""
    rejected: list[RejectedRevision] = []
    """Revisions that were aborted or rejected; the annotation modelendpoint.dev/retry tries one again."""
    history: list[HistoryEntry] = []
    """Revisions that served, the latest first."""
    conditions: list[Condition] = []
    """Ready, Available, Reconciling, Stalled, Exposed, Monitored."""

    @property
    def arms(self) -> tuple[ArmStatus, ...]:
        """All variants and shadows."""
        return (*self.variants, *self.shadows)
