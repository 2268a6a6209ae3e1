"""What becomes of the orders that people give: each is obeyed once, or answered with why it is not.

A promote waits for the pause that it is for, and a pause for the end of a move (``rollout/machine.py``).
"""

from dataclasses import replace

from modelendpoint_operator.api.status import Phase
from modelendpoint_operator.drift import reason_to_wait
from modelendpoint_operator.rollout.course import DRIFT, PERSON, Course, Situation, remembered, steps_ahead
from modelendpoint_operator.rollout.going_back import abort, return_to
from modelendpoint_operator.rollout.judging import end_period
from modelendpoint_operator.rollout.orders import Order, Verb, open_orders


def order_of(course: Course, situation: Situation, verb: Verb) -> Order | None:
    """Find an order that is still to be carried out."""
    return open_orders(situation.endpoint.annotations, course.handled).get(verb)


def answer_retry(course: Course, situation: Situation) -> Course:
    """Let a rejected revision be tried again."""
    order = order_of(course, situation, Verb.RETRY)
    if order is None:
        return course
    if order.revision is None or not course.is_rejected(order.revision):
        return _ignored(course, order, "it names no rejected revision")
    kept = tuple(entry for entry in course.rejected if entry.revision != order.revision)
    tried = replace(course.with_handled(order), rejected=kept)
    return tried.with_note("RetryAccepted", f"Revision {order.revision} may be tried again")


def answer_rollback_to(course: Course, situation: Situation) -> Course:
    """Let a revision of the history serve in place of the one in the spec."""
    order = order_of(course, situation, Verb.ROLLBACK_TO)
    if order is None:
        return course
    revision, served = order.revision, {entry.revision for entry in course.history}
    if revision is None or revision not in served or revision not in situation.records:
        return _ignored(course, order, "it names no revision of status.history")
    if revision == situation.target:
        return _ignored(course, order, "the spec asks for this revision; to try it again if it was rejected, set retry")
    if revision == course.rolled_back_to or (revision == course.stable and course.candidate is None):
        return _ignored(course, order, "this revision serves already, or is on its way")
    return return_to(course.with_handled(order), situation, revision)


def answer_abort(course: Course, situation: Situation) -> Course:
    """Give all traffic back to stable."""
    order = order_of(course, situation, Verb.ABORT)
    if order is None:
        return course
    if order.revision is None or order.revision != course.candidate:
        why = _not_the_candidate(course)
        if order.revision is not None and order.revision == course.stable:
            why += f"; to leave the revision that serves, set {Verb.ROLLBACK_TO} to one of status.history"
        return _ignored(course, order, why)
    if course.is_going_back:
        why = f"it takes over from a revision that was rejected; to keep that one, set {Verb.RETRY}={course.stable}"
        return _ignored(course, order, why)
    return abort(course.with_handled(order), situation, order.revision)


def answer_promote(course: Course, situation: Situation) -> Course:
    """Answer a promote that can't be meant; one for the candidate waits for the pause that it is for."""
    order = order_of(course, situation, Verb.PROMOTE)
    if order is None:
        return course
    if order.revision is None or order.revision != course.candidate or course.rollout is None:
        return _ignored(course, order, _not_the_candidate(course))
    if course.rollout.phase is Phase.DEPLOYING and course.rollout.held_by is not None:
        return _let_go(course.with_handled(order), situation)
    return course


def answer_promote_full(course: Course, situation: Situation) -> Course:
    """Skip the steps and gates that are left; where it bakes, the rest of that."""
    order = order_of(course, situation, Verb.PROMOTE_FULL)
    if order is None:
        return course
    rollout = course.rollout
    if rollout is None or order.revision is None or order.revision != course.in_charge:
        return _ignored(course, order, _not_the_candidate(course))
    course = course.with_handled(order)
    if course.is_baking:
        return replace(course, rollout=None).with_note(
            "BakeEnded", f"Revision {order.revision} stays: a person decided"
        )
    course = course.with_note("StepsSkipped", f"Revision {order.revision} takes over without the steps and gates left")
    if rollout.phase is Phase.PROMOTING:
        return end_period(course)
    phase = Phase.DEPLOYING if rollout.phase is Phase.DEPLOYING else Phase.PROMOTING
    past_the_last = len(steps_ahead(course, situation))
    course = end_period(course)
    return remembered(course, phase=phase, step=past_the_last, since=situation.now, held_by=None, message=None)


def answer_pause(course: Course, situation: Situation) -> Course:
    """Stay where the rollout is. While a weight moves, the order waits until it is there."""
    order = order_of(course, situation, Verb.PAUSE)
    if order is None:
        return course
    rollout = course.rollout
    if rollout is None or order.revision is None or order.revision != course.candidate:
        return _ignored(course, order, _not_the_candidate(course))
    if rollout.phase is Phase.PAUSED or rollout.held_by is not None:
        return _ignored(course, order, "it is paused already")
    if rollout.phase is Phase.PROMOTING:
        return _ignored(course, order, f"it is taking over; to go back, set {Verb.ABORT}={order.revision}")
    if rollout.phase is Phase.SHIFTING:
        return course
    return held(course.with_handled(order), situation, by=PERSON, message="a person paused it")


def answer_resume(course: Course, situation: Situation) -> Course:
    """Take a person's pause back."""
    order = order_of(course, situation, Verb.RESUME)
    if order is None:
        return course
    rollout = course.rollout
    if rollout is None or order.revision is None or order.revision != course.candidate:
        return _ignored(course, order, _not_the_candidate(course))
    if rollout.held_by != PERSON:
        return _ignored(course, order, f"no person paused it; to go on from a pause, set {Verb.PROMOTE}")
    return _let_go(course.with_handled(order), situation)


def wait_for_drift(course: Course, situation: Situation) -> Course:
    """Stay in a step while drift is found, where the author wants to be asked; a promote goes on to the next step."""
    rollout = course.rollout
    if rollout is None or rollout.phase is not Phase.HOLDING:
        return course
    judged = [revision for revision in (course.stable, course.candidate) if revision is not None]
    why = reason_to_wait(situation.endpoint, judged)
    return held(course, situation, by=DRIFT, message=why) if why else course


def held(course: Course, situation: Situation, *, by: str, message: str) -> Course:
    """Stay: in a step paused, and before the first one without traffic."""
    assert course.rollout is not None
    deploying = course.rollout.phase is Phase.DEPLOYING
    phase = Phase.DEPLOYING if deploying else Phase.PAUSED
    since = course.rollout.since if deploying else situation.now
    told = course.with_note("RolloutPaused", f"Revision {course.candidate} waits: {message}", warning=by != PERSON)
    return remembered(told, phase=phase, since=since, held_by=by, message=message)


def _let_go(course: Course, situation: Situation) -> Course:
    assert course.rollout is not None
    deploying = course.rollout.phase is Phase.DEPLOYING
    phase = Phase.DEPLOYING if deploying else Phase.HOLDING
    since = course.rollout.since if deploying else situation.now
    told = course.with_note("RolloutResumed", f"Revision {course.candidate} goes on")
    return remembered(end_period(told) if deploying else told, phase=phase, since=since, held_by=None, message=None)


def _ignored(course: Course, order: Order, why: str) -> Course:
    message = f"{order.verb}={order.value} was ignored: {why}"
    return course.with_handled(order).with_note("OrderIgnored", message, warning=True)


def _not_the_candidate(course: Course) -> str:
    return (
        "nothing is being rolled out" if course.candidate is None else f"the candidate is revision {course.candidate}"
    )
