"""The rollout machine, drawn::

                     spec asks for a revision that neither serves nor was rejected
                                           │
                                           ▼
      pods lost ┌────────────────────► Deploying ── first deployment, Replace, served before ──┐
                │                          │ pods ready                                        │
                │                          ▼                                                   │
                ├───────────────────── Shifting ◄───────────────┐ next step                    │
                │                          │ router took it up  │                              │
                │                          ▼                    │                              │
                ├──────────────── Holding (time) / Paused (a person's promote)                 │
                │                          │ after the last step                               │
                │                          ▼                                                   │
                └───────────────────── Promoting ◄─────────────────────────────────────────────┘
                                           │ all pods ready, router gives it everything
                                           ▼
                                  the candidate is stable

At any point abort, or a spec that asks for another revision, gives all traffic back to stable. The machine only says
who shall get how much; what must stay alive meanwhile follows from what the routers really do (``planner.py``).
A candidate gets a weight only if enough of its pods are ready and every router sees them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.status import HistoryEntry, Phase, RejectedRevision, RolloutStatus
from modelendpoint_operator.observation import Leg, Observation, RevisionRecord
from modelendpoint_operator.plan import EventNote
from modelendpoint_operator.rollout.orders import Order, Verb, open_orders, still_given, value_to_give
from modelendpoint_operator.rollout.steps import FULL, replicas_for, step_at, weight_before


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that the machine may look at."""

    endpoint: ModelEndpoint
    seen: Observation
    records: Mapping[int, RevisionRecord]
    target: int
    """The revision that the spec asks for."""
    now: datetime

    @property
    def replicas(self) -> int:
        """Pods at full traffic."""
        return self.endpoint.spec.replicas

    @property
    def suspended(self) -> bool:
        """Say that the author wants no pods at all."""
        return self.replicas == 0


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where the endpoint stands and goes: the machine's memory, all of which is kept in the status."""

    stable: int | None = None
    candidate: int | None = None
    rollout: RolloutStatus | None = None
    rejected: tuple[RejectedRevision, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    handled: Mapping[str, str]
    notes: tuple[EventNote, ...] = ()
    """What happened in this pass; not memory."""

    def with_note(self, reason: str, message: str, *, warning: bool = False) -> "Course":
        """Add something to tell people."""
        return replace(self, notes=(*self.notes, EventNote(reason=reason, message=message, warning=warning)))

    def with_handled(self, order: Order) -> "Course":
        """Remember that an order was carried out."""
        return replace(self, handled={**self.handled, str(order.verb): order.value})

    def is_rejected(self, revision: int) -> bool:
        """Say whether a revision was rejected and not asked for again."""
        return any(entry.revision == revision for entry in self.rejected)


def advance(situation: Situation) -> Course:
    """Go as far as what was seen permits. The same input gives the same course."""
    course = _remember(situation)
    course = _answer_retry(course, situation)
    course = _choose_candidate(course, situation)
    course = _answer_abort(course, situation)
    course = _refuse_promote(course, situation)
    return course if situation.suspended else _go_on(course, situation)


def wanted_legs(course: Course, situation: Situation) -> tuple[Leg, ...]:
    """Share the traffic. The candidate stands first, so that with stickiness a growing weight only adds keys to it."""
    if situation.suspended:
        return ()
    weight = _candidate_weight(course, situation)
    if weight < FULL and not _stable_is_there(course, situation):
        return ()
    legs = []
    if course.candidate is not None and weight > 0:
        legs.append(Leg(revision=course.candidate, weight=weight))
    if course.stable is not None and weight < FULL:
        legs.append(Leg(revision=course.stable, weight=FULL - weight))
    return tuple(legs)


def wanted_replicas(course: Course, situation: Situation) -> dict[int, int]:
    """Count the pods that stable and candidate need for where they are and for what comes next."""
    wanted = {}
    if course.stable is not None:
        wanted[course.stable] = situation.replicas
    if course.candidate is not None:
        wanted[course.candidate] = _candidate_replicas(course, situation)
    return wanted


def time_to_wake(course: Course, situation: Situation) -> timedelta | None:
    """Say when time alone will change something."""
    if course.rollout is None or course.rollout.phase is not Phase.HOLDING:
        return None
    step = step_at(situation.endpoint.spec, course.rollout.step)
    hold = timedelta(seconds=(step.hold_seconds or 0) if step else 0)
    return max(timedelta(0), course.rollout.since + hold - situation.now)


def _remember(situation: Situation) -> Course:
    """Read the status. A revision whose record and Deployment somebody deleted is gone, whatever the status says."""
    status = situation.endpoint.status
    stable, candidate = (
        part.revision if part and part.revision in situation.records else None
        for part in (status.stable, status.candidate)
    )
    return Course(
        stable=stable,
        candidate=candidate,
        rollout=status.rollout if candidate is not None else None,
        rejected=tuple(status.rejected),
        history=tuple(status.history),
        handled=still_given(situation.endpoint.annotations, status.handled_annotations),
    )


def _choose_candidate(course: Course, situation: Situation) -> Course:
    target = situation.target
    if target == course.stable or course.is_rejected(target):
        return _drop_candidate(course)
    if target == course.candidate and course.rollout is not None:
        return course
    rollout = RolloutStatus(phase=Phase.DEPLOYING, since=situation.now)
    message = f"Revision {target} ({_called(target, situation)}) is being deployed"
    return replace(_drop_candidate(course), candidate=target, rollout=rollout).with_note("RolloutStarted", message)


def _drop_candidate(course: Course) -> Course:
    if course.candidate is None:
        return course
    dropped = replace(course, candidate=None, rollout=None)
    if course.is_rejected(course.candidate):
        return dropped
    return dropped.with_note("RolloutSuperseded", f"Revision {course.candidate} is not asked for any more")


def _answer_retry(course: Course, situation: Situation) -> Course:
    order = _orders(course, situation).get(Verb.RETRY)
    if order is None:
        return course
    course = course.with_handled(order)
    if order.revision is None or not course.is_rejected(order.revision):
        return _ignored(course, order, "it names no rejected revision")
    kept = tuple(entry for entry in course.rejected if entry.revision != order.revision)
    return replace(course, rejected=kept).with_note("RetryAccepted", f"Revision {order.revision} may be tried again")


def _answer_abort(course: Course, situation: Situation) -> Course:
    order = _orders(course, situation).get(Verb.ABORT)
    if order is None:
        return course
    course = course.with_handled(order)
    if order.revision is None or order.revision != course.candidate:
        return _ignored(course, order, _no_candidate_of_that_number(course))
    message = (
        f"Revision {order.revision} was aborted by a person; "
        f"set {Verb.RETRY}={order.revision} to try it again, or apply another model"
    )
    entry = RejectedRevision(revision=order.revision, reason="Aborted", message=message)
    course = replace(course, rejected=(*course.rejected, entry)).with_note("Aborted", message, warning=True)
    return _drop_candidate(course)


def _refuse_promote(course: Course, situation: Situation) -> Course:
    """Answer a promote that can't be meant; one for the candidate waits for the pause that it is for."""
    order = _orders(course, situation).get(Verb.PROMOTE)
    if order is None or (order.revision is not None and order.revision == course.candidate):
        return course
    return _ignored(course.with_handled(order), order, _no_candidate_of_that_number(course))


def _ignored(course: Course, order: Order, why: str) -> Course:
    message = f"{order.verb}={order.value} was ignored: {why}"
    return course.with_note("OrderIgnored", message, warning=True)


def _no_candidate_of_that_number(course: Course) -> str:
    return (
        "nothing is being rolled out" if course.candidate is None else f"the candidate is revision {course.candidate}"
    )


def _orders(course: Course, situation: Situation) -> dict[Verb, Order]:
    return open_orders(situation.endpoint.annotations, course.handled)


def _go_on(course: Course, situation: Situation) -> Course:
    """Take phase after phase until one has to wait."""
    if course.rollout is not None and course.stable is None and course.rollout.phase in _SHARING:
        # Somebody deleted the stable revision: there is nothing left to share with, or to go back to.
        course = _enter(course, Phase.PROMOTING, situation)
    while course.rollout is not None:
        further = _PHASES[course.rollout.phase](course, situation)
        if further is course:
            return course
        course = further
    return course


def _deploying(course: Course, situation: Situation) -> Course:
    assert course.rollout is not None
    if _routable(course, situation) < _candidate_replicas(course, situation) or not _digest_is_known(course, situation):
        return course
    if _needs_no_steps(course, situation) or step_at(situation.endpoint.spec, course.rollout.step) is None:
        return _enter(course, Phase.PROMOTING, situation)
    return _enter(course, Phase.SHIFTING, situation) if _stable_is_there(course, situation) else course


def _shifting(course: Course, situation: Situation) -> Course:
    assert course.rollout is not None and course.candidate is not None
    if _lost(course, situation):
        return _deploy_again(course, situation)
    step = step_at(situation.endpoint.spec, course.rollout.step)
    if step is None:
        return _enter(course, Phase.PROMOTING, situation)
    if not _carries(course, situation, step.weight) or situation.seen.live_legs != wanted_legs(course, situation):
        return course
    message = f"Revision {course.candidate} gets {step.weight} % of the traffic"
    if not step.pause:
        return _enter(course, Phase.HOLDING, situation).with_note("WeightShifted", message)
    value = value_to_give(Verb.PROMOTE, course.candidate, step=course.rollout.step, handled=course.handled)
    advice = f"set {Verb.PROMOTE}={value} to go on, or {Verb.ABORT}={course.candidate} to go back"
    return _enter(course, Phase.PAUSED, situation).with_note("RolloutPaused", f"{message}; {advice}")


def _holding(course: Course, situation: Situation) -> Course:
    if _lost(course, situation):
        return _deploy_again(course, situation)
    if _has_less_than_its_step(course, situation):
        return _enter(course, Phase.SHIFTING, situation)
    waited = time_to_wake(course, situation) == timedelta(0)
    return _next_step(course, situation) if waited else course


def _paused(course: Course, situation: Situation) -> Course:
    assert course.rollout is not None
    if _lost(course, situation):
        return _deploy_again(course, situation)
    step = step_at(situation.endpoint.spec, course.rollout.step)
    if step is None or not step.pause:
        return _enter(course, Phase.HOLDING, situation)
    if _has_less_than_its_step(course, situation):
        return _enter(course, Phase.SHIFTING, situation)
    order = _orders(course, situation).get(Verb.PROMOTE)
    return course if order is None else _next_step(course.with_handled(order), situation)


def _promoting(course: Course, situation: Situation) -> Course:
    assert course.candidate is not None
    if _lost(course, situation):
        return _deploy_again(course, situation)
    everything = (Leg(revision=course.candidate, weight=FULL),)
    if not _carries(course, situation, FULL) or situation.seen.live_legs != everything:
        return course
    record = situation.records[course.candidate]
    entry = HistoryEntry(
        revision=record.number,
        version=record.template.model.version,
        sha256=record.sha256,
        promoted_at=situation.now,
    )
    earlier = tuple(past for past in course.history if past.revision != record.number)
    order = _orders(course, situation).get(Verb.PROMOTE)
    if order is not None:
        # One more promote than there were pauses was obeyed all the same.
        course = course.with_handled(order)
    promoted = replace(course, stable=record.number, candidate=None, rollout=None, history=(entry, *earlier))
    return promoted.with_note("Promoted", f"Revision {record.number} ({_called(record.number, situation)}) serves")


_PHASES: Mapping[Phase, Callable[[Course, Situation], Course]] = {
    Phase.DEPLOYING: _deploying,
    Phase.SHIFTING: _shifting,
    Phase.HOLDING: _holding,
    Phase.PAUSED: _paused,
    Phase.PROMOTING: _promoting,
}

_SHARING = (Phase.SHIFTING, Phase.HOLDING, Phase.PAUSED)
"""Phases in which candidate and stable share the traffic."""


def _enter(course: Course, phase: Phase, situation: Situation, *, step: int | None = None) -> Course:
    assert course.rollout is not None
    at = course.rollout.step if step is None else step
    return replace(course, rollout=RolloutStatus(phase=phase, step=at, since=situation.now))


def _next_step(course: Course, situation: Situation) -> Course:
    assert course.rollout is not None
    return _enter(course, Phase.SHIFTING, situation, step=course.rollout.step + 1)


def _deploy_again(course: Course, situation: Situation) -> Course:
    message = f"Revision {course.candidate} has no ready pod any more; the stable revision takes its traffic"
    return _enter(course, Phase.DEPLOYING, situation).with_note("CandidateLost", message, warning=True)


def _lost(course: Course, situation: Situation) -> bool:
    return course.candidate is not None and situation.seen.ready_pods(course.candidate) == 0


def _routable(course: Course, situation: Situation) -> int:
    return 0 if course.candidate is None else situation.seen.routable_pods(course.candidate)


def _carries(course: Course, situation: Situation, weight: int) -> bool:
    """Say whether the candidate's pods, as the routers see them, are enough for a weight."""
    return weight == 0 or _routable(course, situation) >= replicas_for(weight, replicas=situation.replicas)


def _stable_is_there(course: Course, situation: Situation) -> bool:
    """Say whether stable has a ready pod, or has traffic already: to take that away would help nobody.

    After a suspension it has neither at first. A name without addresses would be remembered by the cluster's DNS.
    """
    written = situation.seen.routes.legs if situation.seen.routes else ()
    has_traffic = any(leg.revision == course.stable for leg in written)
    return course.stable is not None and (has_traffic or situation.seen.ready_pods(course.stable) > 0)


def _digest_is_known(course: Course, situation: Situation) -> bool:
    return course.candidate is not None and situation.records[course.candidate].sha256 is not None


def _needs_no_steps(course: Course, situation: Situation) -> bool:
    """Say whether there is nothing to find out: nothing serves, it served before, or it is what serves already."""
    if course.stable is None or course.candidate is None:
        return True
    if any(entry.revision == course.candidate for entry in course.history):
        return True
    serving, coming = situation.records.get(course.stable), situation.records[course.candidate]
    return serving is not None and serving.sha256 == coming.sha256 and coming.template.runs_alike(serving.template)


def _candidate_weight(course: Course, situation: Situation) -> int:
    """Name the weight of the phase; while the pods for it are not there, the one before it or the one it has."""
    if course.rollout is None or course.rollout.phase is Phase.DEPLOYING:
        return 0
    spec, index = situation.endpoint.spec, course.rollout.step
    step = step_at(spec, index)
    if course.rollout.phase in (Phase.HOLDING, Phase.PAUSED) and step is not None:
        return step.weight
    weight = step.weight if course.rollout.phase is Phase.SHIFTING and step is not None else FULL
    before = 0 if course.stable is None or _needs_no_steps(course, situation) else weight_before(spec, index)
    possible = [weight, *(lower for lower in (before, _written_weight(course, situation)) if lower < weight)]
    return max((share for share in possible if _carries(course, situation, share)), default=0)


def _has_less_than_its_step(course: Course, situation: Situation) -> bool:
    """Say whether an edit of the spec raised the weight of the step: that takes pods first, as any other rise."""
    assert course.rollout is not None
    step = step_at(situation.endpoint.spec, course.rollout.step)
    known = situation.seen.routes is not None
    return known and step is not None and _written_weight(course, situation) < step.weight


def _written_weight(course: Course, situation: Situation) -> int:
    written = situation.seen.routes.legs if situation.seen.routes else ()
    return next((leg.weight for leg in written if leg.revision == course.candidate), 0)


def _candidate_replicas(course: Course, situation: Situation) -> int:
    """Count the candidate's pods: one until its digest is known, so that all others can be told which bytes to load."""
    if situation.suspended or course.rollout is None:
        return 0
    if not _digest_is_known(course, situation):
        return 1
    step = step_at(situation.endpoint.spec, course.rollout.step)
    everything = course.rollout.phase is Phase.PROMOTING or step is None or _needs_no_steps(course, situation)
    return situation.replicas if step is None or everything else replicas_for(step.weight, replicas=situation.replicas)


def _called(revision: int, situation: Situation) -> str:
    model = situation.records[revision].template.model
    return f"version {model.version}" if model.version else model.uri
