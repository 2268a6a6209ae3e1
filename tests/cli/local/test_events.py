"""The Events of an instance."""

from datetime import UTC, datetime
from pathlib import Path

from modelendpoint.local.events import Event, EventLog, Subject
from modelendpoint_operator.plan import EventNote

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROMOTED = EventNote(reason="Promoted", message="Revision 2 serves")


def an_endpoint(version: int = 1) -> Subject:
    return Subject(kind="ModelEndpoint", namespace="default", name="churn", uid="u", version=version)


def test_the_same_note_is_told_once_for_each_version(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    heard: list[Event] = []
    log.listen(heard.append)
    for version in (1, 1, 2):
        log.tell(an_endpoint(version), PROMOTED, now=NOW)
    assert [event.reason for event in log.last(10)] == ["Promoted", "Promoted"]
    assert heard == log.last(10)
    assert len({event.id for event in heard}) == 2


def test_events_outlive_the_process_and_are_not_told_again(tmp_path: Path) -> None:
    EventLog(tmp_path / "events").tell(an_endpoint(), PROMOTED, now=NOW)
    log = EventLog(tmp_path / "events")
    log.tell(an_endpoint(), PROMOTED, now=NOW)
    log.tell(an_endpoint(), EventNote(reason="Aborted", message="by a person", warning=True), now=NOW)
    assert [(event.reason, event.type) for event in log.last(10)] == [("Promoted", "Normal"), ("Aborted", "Warning")]
    assert [event.reason for event in log.last(1)] == ["Aborted"]


def test_lines_that_can_not_be_read_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events"
    EventLog(path).tell(an_endpoint(), PROMOTED, now=NOW)
    path.write_text('{"time": "an older version"}\n' + path.read_text() + '{"half of')
    assert [event.reason for event in EventLog(path).last(10)] == ["Promoted"]
