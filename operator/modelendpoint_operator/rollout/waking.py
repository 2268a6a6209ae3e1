"""What the next pass needs before it begins: when it has to be, and what has to be asked. Deciding must not be here."""

from datetime import datetime, timedelta

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.status import Phase
from modelendpoint_operator.observation import Check, Observation
from modelendpoint_operator.rollout.choosing import recall
from modelendpoint_operator.rollout.course import Course, Situation, hold_left, present_step
from modelendpoint_operator.rollout.judging import checks_due, time_to_look
from modelendpoint_operator.rollout.weights import kept_revisions, time_to_keep


def due_checks(endpoint: ModelEndpoint, *, now: datetime) -> tuple[Check, ...]:
    """List the questions of gates whose answers the next pass needs."""
    if endpoint.spec.replicas == 0:
        return ()
    nothing_seen = Situation(endpoint=endpoint, seen=Observation(), records={}, target=0, now=now)
    return checks_due(recall(endpoint), nothing_seen)


def time_to_wake(course: Course, situation: Situation) -> timedelta | None:
    """Say when time alone will change something."""
    if situation.suspended:
        return None
    kept = time_to_keep(course, situation) if kept_revisions(course, situation) else None
    waits = [time_to_look(course, situation), kept, *_deadlines(course, situation)]
    future = [wait for wait in waits if wait is not None and wait > timedelta(0)]
    return min(future, default=None)


def _deadlines(course: Course, situation: Situation) -> list[timedelta]:
    rollout, spec = course.rollout, situation.endpoint.spec.rollout
    if rollout is None or rollout.held_by is not None:
        return []
    if rollout.phase is Phase.BAKING:
        return [rollout.since + timedelta(seconds=spec.bake_seconds) - situation.now]
    step = present_step(course, situation)
    if rollout.phase is not Phase.HOLDING or step is None:
        return []
    patience = timedelta(seconds=spec.gates.insufficient_data.after_seconds)
    left = hold_left(rollout, step, now=situation.now)
    return [left, left + patience]
