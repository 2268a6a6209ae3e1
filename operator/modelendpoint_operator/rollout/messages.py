"""What is told of a rollout, in sentences that name the next step. Conditions and their reasons must not be here."""

from collections.abc import Sequence
from datetime import timedelta

from modelendpoint_operator.api.status import FindingStatus, Verdict
from modelendpoint_operator.rollout.course import (
    PERSON,
    Course,
    Situation,
    hold_left,
    present_step,
    previous_revision,
    steps_ahead,
)
from modelendpoint_operator.rollout.judging import failure_of, undecided_of
from modelendpoint_operator.rollout.orders import Verb, value_to_give


def holding_message(course: Course, situation: Situation) -> str:
    """Say which step it is, what is known in it, and how to go on without what is not."""
    assert course.rollout is not None and course.candidate is not None
    rollout, found, step = course.rollout, _found(course), present_step(course, situation)
    message = f"Revision {course.candidate} is in step {_step(course, situation)}" + (f"; {found}" if found else "")
    if step is None or not undecided_of(course) or hold_left(rollout, step, now=situation.now) > timedelta(0):
        return message
    value = value_to_give(Verb.PROMOTE, course.candidate, step=rollout.step, handled=course.handled)
    return f"{message}; to go on without: {_command(situation, f'{Verb.PROMOTE}={value}')}"


def paused_message(course: Course, situation: Situation) -> str:
    """Say why a rollout waits, and the command that goes on."""
    assert course.rollout is not None and course.candidate is not None
    rollout, found = course.rollout, _found(course)
    person = rollout.held_by == PERSON
    verb = Verb.RESUME if person else Verb.PROMOTE
    value = value_to_give(verb, course.candidate, step=rollout.step, handled=course.handled)
    why = (
        f" because {rollout.message}" if person else f": {rollout.message or found}" if rollout.message or found else ""
    )
    command = _command(situation, f"{verb}={value} (or {Verb.ABORT}={course.candidate} to go back)")
    return f"Revision {course.candidate} waits in step {_step(course, situation)}{why}; to go on: {command}"


def baking_message(course: Course, situation: Situation) -> str:
    """Say until when a promoted revision is watched."""
    assert course.rollout is not None
    seconds = situation.endpoint.spec.rollout.bake_seconds
    return (
        f"Revision {course.stable} serves all traffic; "
        f"gates watch it for {seconds} s from {course.rollout.since:%H:%M:%S} UTC on"
    )


def failing_message(course: Course, situation: Situation) -> str:
    """Say what a person can do about a promoted revision that failed and still serves."""
    assert course.rollout is not None and course.stable is not None
    previous = previous_revision(course, situation)
    value = value_to_give(Verb.PROMOTE_FULL, course.stable, step=course.rollout.step, handled=course.handled)
    keep = _command(situation, f"{Verb.PROMOTE_FULL}={value}")
    back = "there is no revision to go back to, so it serves on"
    if previous is not None:
        back = f"to go back: {_command(situation, f'{Verb.ROLLBACK_TO}={previous}')}"
    return (
        f"Revision {course.stable} failed after its promotion: {course.rollout.message}; {back}; "
        f"apply another model, or to keep it: {keep}"
    )


def waiting_message(finding: FindingStatus, course: Course) -> str:
    """Say what a gate can't tell yet, and about how long the rest takes at the present rate."""
    rollout, missing, counted = course.rollout, finding.missing_requests, finding.candidate_requests
    if rollout is None or not missing or not counted or not rollout.measured_at or not rollout.measured_since:
        return finding.message
    seconds = (rollout.measured_at - rollout.measured_since).total_seconds() * missing / counted
    return (
        f"{finding.message}, which takes about {_duration(seconds)} at the present rate" if seconds else finding.message
    )


def _found(course: Course) -> str:
    """Sum up the findings: the failures, or else what is not known yet, or that all is well."""
    findings: Sequence[FindingStatus] = course.rollout.findings if course.rollout else ()
    failed, undecided = failure_of(course), undecided_of(course)
    if failed is not None:
        return failed.message
    if undecided:
        return "; ".join(waiting_message(finding, course) for finding in undecided)
    return "; ".join(finding.message for finding in findings if finding.verdict is Verdict.PASS)


def _step(course: Course, situation: Situation) -> str:
    assert course.rollout is not None
    step = present_step(course, situation)
    weight = f" with {step.weight} % of the traffic" if step else ""
    return f"{course.rollout.step + 1} of {len(steps_ahead(course, situation))}{weight}"


def _command(situation: Situation, order: str) -> str:
    endpoint = situation.endpoint
    return f"kubectl annotate mep {endpoint.name} -n {endpoint.namespace} --overwrite {order}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"
