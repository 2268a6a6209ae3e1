"""The rollout machine, drawn::

             spec asks for a revision that neither serves nor was rejected, or the way back leads to one
                                               │
                                               ▼
      pods lost ┌────────────────────────► Deploying ────────────────────── no step (left) ──────────┐
                │                              │ pods ready                                          │
                │                              ▼                                                     │
                ├───────────────────────── Shifting ◄─────────────────┐ next step                    │
                │                              │ routers took it up   │                              │
                │                              ▼                      │                              │
                ├── Holding (time, and gates that pass) / Paused (a person's promote)                │
                │                              │ after the last step                                 │
                │                              ▼                                                     │
                └───────────────────────── Promoting ◄───────────────────────────────────────────────┘
                                               │ all pods ready, routers give it everything
                                               ▼
                                    the candidate is stable ── bakeSeconds ──► Baking ──► done
                                                                                  │ a gate fails
                                                                                  ▼
                                                           Deploying, of the previous revision, without steps

In a step the gates are judged in every pass (``rollout/judging.py``), and also while the next weight is on its way. One
that fails gives all traffic back to stable, or pauses (``onFailure``). At any point abort, or a spec that asks for
another revision, gives all traffic back to stable. A step of weight 0 is a check before any traffic.

The machine only says who shall get how much; what must stay alive meanwhile follows from what the routers really do
(``planning/outline.py``). The candidate is chosen in ``rollout/choosing.py``, weights are computed in ``rollout/weights.py``,
people's orders obeyed in ``rollout/obeying.py``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from modelendpoint_operator.api.gates import InsufficientDataAction
from modelendpoint_operator.api.spec import OnFailure, Step
from modelendpoint_operator.api.status import FindingStatus, HistoryEntry, Phase, RolloutStatus
from modelendpoint_operator.observation import Leg
from modelendpoint_operator.rollout.choosing import choose_candidate, remember
from modelendpoint_operator.rollout.course import (
    Course,
    Situation,
    hold_left,
    is_known,
    present_step,
    previous_revision,
    remembered,
)
from modelendpoint_operator.rollout.going_back import (
    decided,
    return_to_previous,
    roll_back,
)
from modelendpoint_operator.rollout.judging import (
    begin_period,
    end_period,
    failure_of,
    judge,
    measured_step,
    overrule,
    undecided_of,
    with_verdict,
)
from modelendpoint_operator.rollout.obeying import (
    answer_abort,
    answer_pause,
    answer_promote,
    answer_promote_full,
    answer_resume,
    answer_retry,
    answer_rollback_to,
    held,
    order_of,
    wait_for_drift,
)
from modelendpoint_operator.rollout.orders import Verb, value_to_give
from modelendpoint_operator.rollout.steps import FULL
from modelendpoint_operator.rollout.weights import (
    candidate_replicas,
    carries,
    digest_is_known,
    has_less_than_its_step,
    is_lost,
    routable_pods,
    stable_is_there,
    wanted_legs,
)

_BEFORE_CHOOSING = (answer_retry, answer_rollback_to)
_AFTER_CHOOSING = (answer_abort, answer_promote_full, answer_promote, answer_pause, answer_resume)


def advance(situation: Situation) -> Course:
    """Go as far as what was seen permits. The same input gives the same course."""
    course = remember(situation)
    for answer in _BEFORE_CHOOSING:
        course = answer(course, situation)
    course = choose_candidate(course, situation)
    for answer in _AFTER_CHOOSING:
        course = answer(course, situation)
    return course if situation.suspended else _go_on(course, situation)


def _go_on(course: Course, situation: Situation) -> Course:
    """Take phase after phase until one has to wait."""
    while course.rollout is not None:
        further = _PHASES[course.rollout.phase](course, situation)
        if further == course:
            return course
        course = further
    return course


def _deploying(course: Course, situation: Situation) -> Course:
    assert course.rollout is not None
    ready = routable_pods(course, situation) >= candidate_replicas(course, situation)
    if not ready or not digest_is_known(course, situation) or course.rollout.held_by is not None:
        return course
    step = present_step(course, situation)
    if step is None:
        return _enter(_with_skipped(course, situation), Phase.PROMOTING, situation)
    there = step.weight == 0 or stable_is_there(course, situation)
    return _enter(_with_skipped(course, situation), Phase.SHIFTING, situation) if there else course


def _shifting(course: Course, situation: Situation) -> Course:
    assert course.rollout is not None
    if is_lost(course, situation):
        return _deploy_again(course, situation)
    course = judge(course, situation)
    finding, step = failure_of(course), present_step(course, situation)
    if finding is not None:
        return _fail(course, situation, finding)
    if step is None:
        return _enter(course, Phase.PROMOTING, situation)
    # Nothing has to be taken up for a weight of 0.
    if step.weight > 0 and not _is_live(course, situation, step.weight):
        return course
    course = begin_period(course, situation, weight=step.weight, compared_with=course.stable)
    assert course.rollout is not None
    message = f"Revision {course.candidate} gets {step.weight} % of the traffic"
    if course.rollout.held_by is not None:
        return remembered(course, phase=Phase.PAUSED, since=situation.now)
    if step.pause:
        return _pause(course, situation, message)
    # An order to pause must not be overtaken by a step that ends at once.
    return answer_pause(_enter(course, Phase.HOLDING, situation).with_note("WeightShifted", message), situation)


def _holding(course: Course, situation: Situation) -> Course:
    step = present_step(course, situation)
    if step is None or _must_leave(course, situation):
        return _leave(course, situation, step)
    course = judge(course, situation)
    finding = failure_of(course)
    if finding is not None:
        return _fail(course, situation, finding)
    if step.pause:
        return _pause(course, situation, f"Revision {course.candidate} keeps {step.weight} % of the traffic")
    waiting = wait_for_drift(course, situation)
    return _decide(course, situation, step) if waiting is course else waiting


def _paused(course: Course, situation: Situation) -> Course:
    assert course.rollout is not None
    step = present_step(course, situation)
    if step is None or _must_leave(course, situation):
        return _leave(course, situation, step)
    held_by, number = course.rollout.held_by, course.rollout.step + 1
    course = judge(course, situation)
    order = order_of(course, situation, Verb.PROMOTE)
    if order is not None:
        message = f"Revision {course.candidate} goes on from step {number}: a person decided"
        return _overruled(course.with_handled(order), situation).with_note("RolloutResumed", message)
    finding = failure_of(course)
    if finding is not None:
        return _fail(course, situation, finding)
    if held_by is None and not step.pause:
        return _enter(course, Phase.HOLDING, situation)
    return course


def _promoting(course: Course, situation: Situation) -> Course:
    if is_lost(course, situation):
        return _deploy_again(course, situation)
    course = judge(course, situation)
    finding = failure_of(course)
    if finding is not None:
        return _fail(course, situation, finding)
    return _promote(course, situation) if _is_live(course, situation, FULL) else course


def _baking(course: Course, situation: Situation) -> Course:
    rollout, spec = course.rollout, situation.endpoint.spec.rollout
    assert rollout is not None
    if rollout.held_by is not None:
        return course
    course = judge(course, situation)
    finding = failure_of(course)
    if finding is not None:
        if previous_revision(course, situation) is None or spec.on_failure is OnFailure.PAUSE:
            # Something that serves badly is better than nothing, and a person may want to look at it.
            return remembered(course, held_by=finding.gate, message=finding.message)
        return choose_candidate(return_to_previous(course, situation, finding), situation)
    if situation.now < rollout.since + timedelta(seconds=spec.bake_seconds):
        return course
    message = f"Revision {course.stable} stays: no gate failed after its promotion"
    return replace(course, rollout=None).with_note("BakeEnded", message)


_PHASES: Mapping[Phase, Callable[[Course, Situation], Course]] = {
    Phase.DEPLOYING: _deploying,
    Phase.SHIFTING: _shifting,
    Phase.HOLDING: _holding,
    Phase.PAUSED: _paused,
    Phase.PROMOTING: _promoting,
    Phase.BAKING: _baking,
}


def _decide(course: Course, situation: Situation, step: Step) -> Course:
    """Go on when the step's time is over and all gates pass; wait for those that can't tell, but not for ever."""
    assert course.rollout is not None
    patience = situation.endpoint.spec.rollout.gates.insufficient_data
    left, undecided = hold_left(course.rollout, step, now=situation.now), undecided_of(course)
    if left > timedelta(0):
        return course
    if not undecided:
        return _next_step(course, situation)
    # Without having passed before it has traffic, no candidate gets any.
    waits = step.weight == 0 and patience.action is InsufficientDataAction.CONTINUE
    if waits or left + timedelta(seconds=patience.after_seconds) > timedelta(0):
        order = order_of(course, situation, Verb.PROMOTE)
        return course if order is None else _overruled(course.with_handled(order), situation)
    for finding in undecided:
        course = with_verdict(course, situation, finding)
    if patience.action is InsufficientDataAction.CONTINUE:
        return _next_step(course, situation)
    if patience.action is InsufficientDataAction.ROLLBACK:
        return roll_back(course, situation, undecided[0])
    return _hold_for(course, situation, undecided[0])


def _fail(course: Course, situation: Situation, finding: FindingStatus) -> Course:
    assert course.rollout is not None
    if situation.endpoint.spec.rollout.on_failure is OnFailure.ROLLBACK:
        return roll_back(course, situation, finding)
    if course.rollout.held_by == finding.gate:
        return course
    # While the next weight is on its way it is taken back.
    step = measured_step(course.rollout)
    return _hold_for(remembered(course, step=step), situation, finding)


def _hold_for(course: Course, situation: Situation, finding: FindingStatus) -> Course:
    """Wait for a person because of a gate."""
    assert course.candidate is not None
    course = held(course, situation, by=finding.gate, message=finding.message)
    return decided(course, situation, revision=course.candidate or 0, verdict="Paused", message=finding.message)


def _pause(course: Course, situation: Situation, message: str) -> Course:
    assert course.rollout is not None and course.candidate is not None
    value = value_to_give(Verb.PROMOTE, course.candidate, step=course.rollout.step, handled=course.handled)
    advice = f"set {Verb.PROMOTE}={value} to go on, or {Verb.ABORT}={course.candidate} to go back"
    return _enter(course, Phase.PAUSED, situation).with_note("RolloutPaused", f"{message}; {advice}")


def _promote(course: Course, situation: Situation) -> Course:
    assert course.candidate is not None
    record, bakes = situation.records[course.candidate], _shall_bake(course, situation)
    entry = HistoryEntry(
        revision=record.number,
        version=record.template.model.version,
        sha256=record.sha256,
        promoted_at=situation.now,
    )
    earlier = tuple(past for past in course.history if past.revision != record.number)
    message = f"Revision {record.number} ({situation.called(record.number)}) serves"
    for verb in (Verb.PROMOTE, Verb.PAUSE):
        # One more promote than there were pauses was obeyed all the same; a pause came too late.
        order = order_of(course, situation, verb)
        course = course if order is None else course.with_handled(order)
    course = decided(course, situation, revision=record.number, verdict="Promoted", message=message)
    promoted = replace(course, stable=record.number, candidate=None, rollout=None, history=(entry, *earlier))
    promoted = promoted.with_note("Promoted", message)
    if not bakes:
        return promoted
    baking = replace(promoted, rollout=RolloutStatus(phase=Phase.BAKING, since=situation.now))
    return begin_period(baking, situation, weight=FULL, compared_with=course.stable)


def _shall_bake(course: Course, situation: Situation) -> bool:
    """Say whether a revision is watched after its promotion. One that served well before is what one goes back to."""
    rollout = situation.endpoint.spec.rollout
    gates = rollout.gates
    watched = gates.error_rate or gates.latency or gates.prometheus or gates.http
    return rollout.bake_seconds > 0 and bool(watched) and not course.is_going_back


def _must_leave(course: Course, situation: Situation) -> bool:
    return is_lost(course, situation) or has_less_than_its_step(course, situation)


def _leave(course: Course, situation: Situation, step: Step | None) -> Course:
    """Leave a step whose pods are gone, or that an edit of the spec took away or gave more weight."""
    if is_lost(course, situation):
        return _deploy_again(course, situation)
    if step is None:
        return _enter(end_period(course), Phase.PROMOTING, situation)
    return remembered(end_period(course), phase=Phase.SHIFTING, since=situation.now)


def _enter(course: Course, phase: Phase, situation: Situation) -> Course:
    return remembered(course, phase=phase, since=situation.now, held_by=None, message=None)


def _next_step(course: Course, situation: Situation) -> Course:
    """Go to the next step. What was measured still counts until the routers have taken up its weight."""
    assert course.rollout is not None
    return _enter(remembered(course, step=course.rollout.step + 1), Phase.SHIFTING, situation)


def _overruled(course: Course, situation: Situation) -> Course:
    """Go to the next step because a person wants it, whatever the gates found."""
    return end_period(_next_step(overrule(course), situation))


def _with_skipped(course: Course, situation: Situation) -> Course:
    """Tell of gates that are not asked of this candidate, when it leaves for its first step."""
    assert course.rollout is not None
    gates = situation.endpoint.spec.rollout.gates.replay
    if not gates or course.rollout.step > 0 or course.is_going_back or not is_known(course, situation):
        return course
    skipped = ", ".join(f"replay/{gate.name}" for gate in gates)
    why = (
        "nothing serves that it could be compared with" if course.stable is None else "it served before, or serves now"
    )
    return course.with_note("GateSkipped", f"Revision {course.candidate} goes on without {skipped}: {why}")


def _deploy_again(course: Course, situation: Situation) -> Course:
    """Begin with the pods. A pause lasts, so that nothing moves without the person who is waited for."""
    assert course.rollout is not None
    findings = course.rollout.findings if course.rollout.held_by is not None else []
    rest = "; the stable revision takes its traffic" if course.stable is not None else ""
    message = f"Revision {course.candidate} has no ready pod any more{rest}"
    again = remembered(end_period(course), phase=Phase.DEPLOYING, since=situation.now, findings=findings)
    return again.with_note("CandidateLost", message, warning=True)


def _is_live(course: Course, situation: Situation, weight: int) -> bool:
    """Say whether the candidate has its pods, and every router gives it the weight."""
    assert course.candidate is not None
    everything = (Leg(revision=course.candidate, weight=FULL),)
    wanted = everything if weight == FULL else wanted_legs(course, situation)
    return carries(course, situation, weight) and situation.seen.live_main_legs == wanted
