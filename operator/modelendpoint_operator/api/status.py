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


class Condition(ApiModel):
    """One condition, as ``metav1.Condition``."""

    type: Annotated[str, Field(max_length=316)]
    """Ready: the spec is fully rolled out and serving. Available: requests are answered, by some revision.
    Reconciling: work is under way. Stalled: a person or a new spec is needed."""
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
    """Percent of the traffic that the router gives it now."""
    replicas: int = 0
    """Number of pods wanted."""
    ready_replicas: int = 0
    """Number of pods ready."""


class Phase(StrEnum):
    """Where a rollout is. Drawn in ``rollout/machine.py``."""

    DEPLOYING = "Deploying"
    SHIFTING = "Shifting"
    HOLDING = "Holding"
    PAUSED = "Paused"
    PROMOTING = "Promoting"


class RolloutStatus(ApiModel):
    """A rollout under way."""

    phase: Phase
    """Deploying: the candidate's pods start. Shifting: a new weight is on its way to the router. Holding: the step's
    time runs. Paused: a person is needed. Promoting: the candidate takes over."""
    step: int = 0
    """Index of the step in spec.rollout.steps, from 0."""
    since: datetime
    """When this phase began."""


class RoutesStatus(ApiModel):
    """The routes that were written last."""

    version: str
    """Version of the routes, as the router reports it."""
    live_since: datetime | None = None
    """When every router pod had taken this version up; absent until then."""


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
    """Number of model server pods, for the scale subresource."""
    selector: str | None = None
    """Label selector of the model server pods, for the scale subresource."""
    stable: RevisionStatus | None = None
    """The revision that serves."""
    candidate: RevisionStatus | None = None
    """The revision that is being rolled out."""
    rollout: RolloutStatus | None = None
    """The rollout under way."""
    routes: RoutesStatus | None = None
    """The routes that were written last, and since when the router uses them."""
    handled_annotations: dict[str, str] = {}
    """Annotations such as modelendpoint.dev/promote that were acted on. Each acts once per value; to give the same
    order again, remove the annotation first, or add a suffix to its value: "2/again"."""
    rejected: list[RejectedRevision] = []
    """Revisions that were aborted or rejected; the annotation modelendpoint.dev/retry tries one again."""
    history: list[HistoryEntry] = []
    """Revisions that served, the latest first."""
    conditions: list[Condition] = []
    """Ready, Available, Reconciling, Stalled."""
