"""Giving up on a revision: before its promotion all traffic stays with stable, after it the previous one takes over.

Either way it is remembered as rejected, so that the next sync of a GitOps tool does not try it again.
"""

from dataclasses import replace

from modelendpoint_operator.api.status import Decision, FindingStatus, RejectedRevision, Verdict
from modelendpoint_operator.rollout.course import Course, Situation, previous_revision
from modelendpoint_operator.rollout.judging import measured_step
from modelendpoint_operator.rollout.orders import Verb

GATE_FAILED = "GateFailed"
INSUFFICIENT_DATA = "InsufficientData"
ROLLED_BACK = "RolledBack"
ABORTED = "Aborted"


def drop_candidate(course: Course) -> Course:
    """Let go of the candidate. What bakes is none."""
    if course.candidate is None:
        return course
    dropped = replace(course, candidate=None, rollout=None)
    if course.is_rejected(course.candidate):
        return dropped
    return dropped.with_note("RolloutSuperseded", f"Revision {course.candidate} is not asked for any more")


def abort(course: Course, situation: Situation, revision: int) -> Course:
    """Reject the candidate because a person wants it."""
    message = f"Revision {revision} was aborted by a person; {_how_to_go_on(revision)}"
    course = _reject(course, situation, revision=revision, reason=ABORTED, message=message)
    return drop_candidate(decided(course, situation, revision=revision, verdict=ABORTED, message=message))


def roll_back(course: Course, situation: Situation, finding: FindingStatus) -> Course:
    """Reject the candidate because of what a gate found, or because it found nothing in time."""
    assert course.candidate is not None and course.rollout is not None
    failed = finding.verdict is Verdict.FAIL
    what = "failed in" if failed else "could not be judged in"
    message = (
        f"Revision {course.candidate} {what} step {(measured_step(course.rollout) or 0) + 1}: {finding.message}; "
        f"{_how_to_go_on(course.candidate)}"
    )
    revision, reason = course.candidate, GATE_FAILED if failed else INSUFFICIENT_DATA
    course = _reject(course, situation, revision=revision, reason=reason, message=message)
    return drop_candidate(decided(course, situation, revision=revision, verdict=ROLLED_BACK, message=message))


def return_to_previous(course: Course, situation: Situation, finding: FindingStatus) -> Course:
    """Give everything back to the revision before a promoted one that failed."""
    previous = previous_revision(course, situation)
    assert course.stable is not None and previous is not None
    message = (
        f"Revision {course.stable} failed after its promotion: {finding.message}; "
        f"revision {previous} ({situation.called(previous)}) serves in its place; {_how_to_go_on(course.stable)}"
    )
    course = _reject(course, situation, revision=course.stable, reason=GATE_FAILED, message=message)
    course = decided(course, situation, revision=course.stable or 0, verdict=ROLLED_BACK, message=message)
    return replace(course, rollout=None, rolled_back_to=previous)


def return_to(course: Course, situation: Situation, revision: int) -> Course:
    """Let a revision of the history serve in place of the one in the spec, because a person wants it."""
    message = (
        f"Revision {situation.target} was taken back by a person; "
        f"revision {revision} ({situation.called(revision)}) serves in its place; {_how_to_go_on(situation.target)}"
    )
    course = replace(course, rejected=tuple(entry for entry in course.rejected if entry.revision != revision))
    course = _reject(course, situation, revision=situation.target, reason=ROLLED_BACK, message=message)
    course = decided(course, situation, revision=situation.target, verdict=ROLLED_BACK, message=message)
    return replace(course, rolled_back_to=revision, rollout=None if course.is_baking else course.rollout)


def decided(course: Course, situation: Situation, *, revision: int, verdict: str, message: str) -> Course:
    """Write down a decision."""
    measured = course.rollout is not None and course.rollout.measured_since is not None
    step = measured_step(course.rollout) if measured and course.rollout is not None else None
    decision = Decision(time=situation.now, revision=revision, step=step, verdict=verdict, message=message)
    return course.with_decision(decision)


def _reject(course: Course, situation: Situation, *, revision: int, reason: str, message: str) -> Course:
    entry = RejectedRevision(revision=revision, reason=reason, message=message)
    told = ABORTED if reason == ABORTED else ROLLED_BACK
    return course.with_rejected(entry).with_note(told, message, warning=True)


def _how_to_go_on(revision: int) -> str:
    return f"set {Verb.RETRY}={revision} to try it again, or apply another model"
