"""The Events of a pass: what happened, and what got stuck."""

from modelendpoint_operator import autoscaling, drift, exposure, monitoring
from modelendpoint_operator.api.status import ModelEndpointStatus
from modelendpoint_operator.conditions import tell_arm
from modelendpoint_operator.plan import EventNote
from modelendpoint_operator.planning.outline import Outline
from modelendpoint_operator.rollout.arms import notes_of_removed


def make_events(outline: Outline, status: ModelEndpointStatus) -> tuple[EventNote, ...]:
    """Tell what happened, and what got stuck."""
    scaled = autoscaling.note_of_change(outline.endpoint.status.scale, outline.scale)
    happened = [
        *outline.course.notes,
        *([scaled] if scaled else []),
        *(note for arm in outline.arms for note in arm.notes),
        *notes_of_removed(outline.situation),
        *exposure.notes_of_exposure(outline.endpoint, outline.seen),
        *monitoring.notes_of_monitoring(outline.endpoint, outline.seen),
        *drift.notes_of_drift(outline.endpoint, status.monitoring.drift if status.monitoring else None),
    ]
    before = outline.endpoint.status
    known = {told.message for told in before.conditions if told.type == "Stalled"}
    known |= {arm.message for arm in before.arms if arm.message} | {note.message for note in happened}
    stories = (tell_arm(arm, outline.situation, deadline=outline.deadline) for arm in outline.arms)
    stuck = {story.message: story.reason for story in stories if story and story.stalled}
    stuck |= {told.message: told.reason for told in status.conditions if told.type == "Stalled"}
    new = [(message, reason) for message, reason in stuck.items() if message not in known]
    return (*happened, *(EventNote(reason=reason, message=message, warning=True) for message, reason in new))
