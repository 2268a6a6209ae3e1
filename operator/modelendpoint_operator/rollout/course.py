"""What the rollout machine looks at, and what it remembers. Moving must not be here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.spec import Step
from modelendpoint_operator.api.status import Decision, HistoryEntry, Phase, RejectedRevision, RolloutStatus
from modelendpoint_operator.observation import Observation, RevisionRecord
from modelendpoint_operator.plan import EventNote
from modelendpoint_operator.rollout.orders import Order
from modelendpoint_operator.rollout.steps import steps_of

DECISIONS_KEPT = 20

PERSON, DRIFT = "person", "drift"
"""``heldBy`` of a rollout that a person or drift paused; else it is the name of a gate."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that the machine may look at."""

    endpoint: ModelEndpoint
    seen: Observation
    records: Mapping[int, RevisionRecord]
    target: int
    """The revision that the spec asks for."""
    now: datetime
    scaled_to: int | None = None
    """Pods at full traffic by autoscaling; None without it."""
    asleep: bool = False
    """No pod is needed until a request comes. Not known before the rollout machine has moved: it keeps one awake."""

    @property
    def replicas(self) -> int:
        """Pods at full traffic, should it not sleep."""
        return self.endpoint.spec.replicas if self.scaled_to is None else self.scaled_to

    @property
    def least_replicas(self) -> int:
        """Pods without which the spec is not true. What autoscaling adds to them may be on its way."""
        wanted = self.endpoint.spec.autoscaling
        return self.replicas if wanted is None else min(max(wanted.min_replicas, 1), self.replicas)

    @property
    def suspended(self) -> bool:
        """Say that the author wants no pods at all."""
        return self.endpoint.spec.replicas == 0

    def called(self, revision: int) -> str:
        """Name a revision's model as people do."""
        model = self.records[revision].template.model
        return f"version {model.version}" if model.version else model.uri


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where the endpoint stands and goes: the machine's memory, all of which is kept in the status."""

    stable: int | None = None
    candidate: int | None = None
    rollout: RolloutStatus | None = None
    rolled_back_to: int | None = None
    """The revision that shall serve in place of the one in the spec, which was rejected."""
    rejected: tuple[RejectedRevision, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    decisions: tuple[Decision, ...] = ()
    handled: Mapping[str, str]
    notes: tuple[EventNote, ...] = ()
    """What happened in this pass; not memory."""

    @property
    def in_charge(self) -> int | None:
        """Name the revision that the rollout is about: the candidate, or while it bakes the new stable one."""
        return self.stable if self.candidate is None else self.candidate

    @property
    def is_baking(self) -> bool:
        """Say that the gates watch a revision that was promoted."""
        return self.rollout is not None and self.rollout.phase is Phase.BAKING

    @property
    def is_going_back(self) -> bool:
        """Say that the candidate is a revision that served well, and takes over from one that did not."""
        return self.candidate is not None and self.candidate == self.rolled_back_to

    def with_note(self, reason: str, message: str, *, warning: bool = False) -> "Course":
        """Add something to tell people."""
        return replace(self, notes=(*self.notes, EventNote(reason=reason, message=message, warning=warning)))

    def with_handled(self, order: Order) -> "Course":
        """Remember that an order was carried out."""
        return replace(self, handled={**self.handled, str(order.verb): order.value})

    def with_decision(self, decision: Decision) -> "Course":
        """Write down what was found out or decided."""
        return replace(self, decisions=(*self.decisions, decision)[-DECISIONS_KEPT:])

    def with_rejected(self, entry: RejectedRevision) -> "Course":
        """Remember a revision that is not to be tried again by itself. One that served counts no more as known."""
        others = tuple(past for past in self.rejected if past.revision != entry.revision)
        served = entry.revision == self.stable
        history = tuple(past for past in self.history if not served or past.revision != entry.revision)
        return replace(self, rejected=(*others, entry), history=history)

    def is_rejected(self, revision: int | None) -> bool:
        """Say whether a revision was rejected and not asked for again."""
        return any(entry.revision == revision for entry in self.rejected)


def remembered(course: Course, **changes: object) -> Course:
    """Change fields of the rollout."""
    assert course.rollout is not None
    return replace(course, rollout=course.rollout.model_copy(update=changes))


def is_known(course: Course, situation: Situation) -> bool:
    """Say whether nothing can be learned from traffic: nothing serves, it served before, or it is what serves."""
    if course.stable is None or course.candidate is None:
        return True
    if any(entry.revision == course.candidate for entry in course.history):
        return True
    serving, coming = situation.records.get(course.stable), situation.records[course.candidate]
    return serving is not None and serving.sha256 == coming.sha256 and coming.template.runs_alike(serving.template)


def steps_ahead(course: Course, situation: Situation) -> tuple[Step, ...]:
    """Name the candidate's steps. On the way back there is none: what serves now was found wanting."""
    if course.is_going_back:
        return ()
    return steps_of(situation.endpoint.spec, known=is_known(course, situation))


def present_step(course: Course, situation: Situation) -> Step | None:
    """Name the step that the rollout is in; None past the last one, where a shortened list of steps leads too."""
    if course.rollout is None or course.is_baking:
        return None
    steps = steps_ahead(course, situation)
    return steps[course.rollout.step] if course.rollout.step < len(steps) else None


def previous_revision(course: Course, situation: Situation) -> int | None:
    """Name the revision that served before the stable one, and that can serve again."""
    return next(
        (
            entry.revision
            for entry in course.history
            if entry.revision != course.stable
            and entry.revision in situation.records
            and not course.is_rejected(entry.revision)
        ),
        None,
    )


def hold_left(rollout: RolloutStatus, step: Step, *, now: datetime) -> timedelta:
    """Say how much of a step's time is left; below zero how long it has been over."""
    began = rollout.measured_since or rollout.since
    return began + timedelta(seconds=step.hold_seconds or 0) - now
