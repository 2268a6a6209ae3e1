"""What is remembered of a rollout, and which revision it is about. Going on with it must not be here."""

from dataclasses import replace

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.status import Phase, RolloutStatus
from modelendpoint_operator.rollout.course import Course, Situation
from modelendpoint_operator.rollout.going_back import drop_candidate
from modelendpoint_operator.rollout.orders import still_given


def remember(situation: Situation) -> Course:
    """Read the status. A revision whose record and Deployment somebody deleted is gone, whatever the status says."""
    course, records = recall(situation.endpoint), situation.records
    known = replace(
        course,
        stable=course.stable if course.stable in records else None,
        candidate=course.candidate if course.candidate in records else None,
        rolled_back_to=course.rolled_back_to if course.rolled_back_to in records else None,
    )
    subject = known.stable if known.is_baking else known.candidate
    return known if subject is not None else replace(known, rollout=None)


def recall(endpoint: ModelEndpoint) -> Course:
    """Read what the status says."""
    status = endpoint.status
    return Course(
        stable=status.stable.revision if status.stable else None,
        candidate=status.candidate.revision if status.candidate else None,
        rollout=status.rollout,
        rolled_back_to=status.rolled_back_to,
        rejected=tuple(status.rejected),
        history=tuple(status.history),
        decisions=tuple(status.decisions),
        handled=still_given(endpoint.annotations, status.handled_annotations),
    )


def choose_candidate(course: Course, situation: Situation) -> Course:
    """Name the candidate: what the spec asks for, or the way back; none when that serves already or was rejected."""
    if not _is_way_back_open(course, situation):
        course = replace(course, rolled_back_to=None)
    target = situation.target if course.rolled_back_to is None else course.rolled_back_to
    if target == course.stable or course.is_rejected(target):
        return drop_candidate(course)
    if target == course.candidate and course.rollout is not None:
        return course
    rollout = RolloutStatus(phase=Phase.DEPLOYING, since=situation.now)
    message = f"Revision {target} ({situation.called(target)}) is being deployed"
    return replace(drop_candidate(course), candidate=target, rollout=rollout).with_note("RolloutStarted", message)


def _is_way_back_open(course: Course, situation: Situation) -> bool:
    """Say whether a revision of the history shall serve: the one in the spec, or the one that serves, was rejected.

    Also a new spec waits for it: what was found wanting must not serve for as long as a rollout takes.
    """
    if course.rolled_back_to is None or course.is_rejected(course.rolled_back_to):
        return False
    return course.is_rejected(situation.target) or course.is_rejected(course.stable)
