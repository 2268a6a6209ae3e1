"""Variants and shadows: which revision of each gets its requests, and which one follows.

An arm has no steps. The revision that the spec asks for starts beside the one that serves, and takes over all requests
of the arm as soon as all its pods are ready and every router sees them; one that does not get ready changes nothing. No
arm looks at another one, nor at a rollout of the main model. Moving that must not be here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from modelendpoint_operator.api.spec import Shadow, Variant
from modelendpoint_operator.api.status import ArmStatus
from modelendpoint_operator.observation import Leg
from modelendpoint_operator.plan import EventNote
from modelendpoint_operator.rollout.course import Situation


@dataclass(frozen=True, kw_only=True)
class ArmCourse:
    """Where one arm stands and goes; all of it but the notes is kept in the status."""

    arm: Variant | Shadow
    serving: int | None
    """The revision that gets its requests; None until one was ready."""
    target: int
    """The revision that the spec asks for."""
    answers: bool = False
    """Whether it has pods to answer its requests; where not, the main model does."""
    since: datetime | None = None
    """When that was asked for first; None when it serves."""
    notes: tuple[EventNote, ...] = ()
    """What happened in this pass."""

    @property
    def kind(self) -> str:
        """Say what it is."""
        return "Shadow" if self.is_shadow else "Variant"

    @property
    def is_shadow(self) -> bool:
        """Say whether it gets copies only."""
        return isinstance(self.arm, Shadow)

    @property
    def percent(self) -> int:
        """Percent of all requests that it shall get."""
        return self.arm.percent if isinstance(self.arm, Shadow) else self.arm.weight

    @property
    def called(self) -> str:
        """Name it as people do."""
        return f"{self.kind} {self.arm.name}"

    @property
    def is_moving(self) -> bool:
        """Say that another revision than the one that serves is asked for."""
        return self.serving != self.target

    @property
    def revisions(self) -> tuple[int, ...]:
        """Name the revisions that have pods, the one that serves first."""
        return tuple(dict.fromkeys(number for number in (self.serving, self.target) if number is not None))

    def with_note(self, reason: str, message: str) -> "ArmCourse":
        """Add something to tell people."""
        note = EventNote(reason=reason, message=f"{self.called}: {message}")
        return replace(self, notes=(*self.notes, note))


def advance_arms(situation: Situation, targets: Mapping[str, int]) -> tuple[ArmCourse, ...]:
    """Go as far with each arm as what was seen permits. ``targets`` are the revisions that the spec asks for."""
    memory = {known.name: known for known in situation.endpoint.status.arms}
    return tuple(
        _advance(arm, memory.get(arm.name, ArmStatus(name=arm.name)), situation, target=targets[arm.name])
        for arm in situation.endpoint.spec.arms
    )


def arm_legs(arms: Sequence[ArmCourse], situation: Situation) -> tuple[Leg, ...]:
    """Share the traffic. An arm without pods gets none of it: the main model answers in a variant's place."""
    if situation.suspended:
        return ()
    return tuple(
        Leg(revision=course.serving, weight=course.percent, arm=course.arm.name, copies=course.is_shadow)
        for course in arms
        if course.serving is not None and course.answers
    )


def arm_replicas(arms: Sequence[ArmCourse], situation: Situation) -> dict[int, int]:
    """Count the pods of each revision: of a new one at first one, so that all others can be told which bytes to load."""
    wanted = {}
    for course in arms:
        for number in course.revisions:
            is_known = number == course.serving or situation.records[number].sha256 is not None
            wanted[number] = 0 if situation.suspended else course.arm.replicas if is_known else 1
    return wanted


def notes_of_removed(situation: Situation) -> Iterator[EventNote]:
    """Tell of the arms that the spec does not have any more."""
    wanted = {arm.name for arm in situation.endpoint.spec.arms}
    status = situation.endpoint.status
    for kind, arms in (("Variant", status.variants), ("Shadow", status.shadows)):
        for known in arms:
            if known.name not in wanted:
                yield EventNote(reason=f"{kind}Removed", message=f"{kind} {known.name}: it is not asked for any more")


def _advance(arm: Variant | Shadow, memory: ArmStatus, situation: Situation, *, target: int) -> ArmCourse:
    known = situation.records.get(memory.revision or 0)
    serving = known.number if known and known.template.arm == arm.name else None
    course = ArmCourse(arm=arm, serving=serving, target=target)
    if course.is_moving:
        course = _move(course, memory, situation)
    return replace(course, answers=course.serving is not None and _can_answer(course.serving, situation))


def _move(course: ArmCourse, memory: ArmStatus, situation: Situation) -> ArmCourse:
    """Go on to the revision that is asked for, if all its pods are there."""
    target, called = course.target, situation.called(course.target)
    if memory.next_revision == target and memory.since is not None:
        course = replace(course, since=memory.since)
    else:
        note = f"revision {target} ({called}) is being deployed"
        course = replace(course, since=situation.now).with_note(f"{course.kind}Started", note)
    if not _is_complete(course, situation):
        return course
    note = f"revision {target} ({called}) gets {'copies of ' if course.is_shadow else ''}{course.percent} % of all requests"
    return replace(course, serving=target, since=None).with_note(f"{course.kind}Serves", note)


def _is_complete(course: ArmCourse, situation: Situation) -> bool:
    """Say whether all pods of the revision that is asked for are ready, and every router sees them."""
    is_known = situation.records[course.target].sha256 is not None
    return is_known and situation.seen.routable_pods(course.target) >= course.arm.replicas


def _can_answer(revision: int, situation: Situation) -> bool:
    """Say whether a revision has pods. One that has a share keeps it while a new router pod has not seen them yet."""
    seen = situation.seen
    return seen.ready_pods(revision) > 0 if seen.has_leg(revision) else seen.routable_pods(revision) > 0
