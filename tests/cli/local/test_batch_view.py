"""Batch predictions in the terminal view."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group

from modelendpoint.local.batch_view import draw_batches
from modelendpoint.local.view import draw


def a_batch(name: str, reason: str, *, ready: bool = False, stalled: bool = False, **status: Any) -> dict[str, Any]:
    ready_one = {"type": "Ready", "status": str(ready), "reason": reason, "message": f"why it is {reason}"}
    stalled_one = [{"type": "Stalled", "status": "True", "reason": reason, "message": "the same"}] if stalled else []
    body = {"metadata": {"name": name}, "status": {"conditions": [ready_one, *stalled_one], **status}}
    return {"object": body, "pods": []}


def drawn(*batches: dict[str, Any], color: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=110, force_terminal=color, color_system="standard" if color else None)
    console.print(Group(*draw_batches(batches)))
    return [line.rstrip() for line in out.getvalue().splitlines()]


DOCS = Path(__file__).parents[3] / "docs" / "local.md"
WORKING = {"rows": 400, "rowsIn": 100, "rowsRejected": 3, "rowsPerSecond": 50, "eta": "6s", "shards": 4}


def test_each_has_a_line_that_tells_how_far_it_is() -> None:
    heading, line, *_ = drawn(a_batch("weekly", "Working", progress=WORKING))
    assert heading.split() == ["BATCH", "STATUS", "DONE", "ROWS", "REJECTED", "ROWS/S", "ETA"]
    assert line.split() == ["weekly", "Working", "█" * 5 + "░" * 15, "25", "%", "100/400", "3", "50", "6s"]


def test_the_picture_in_the_docs_is_what_is_drawn() -> None:
    progress = {"rows": 400, "rowsIn": 200, "rowsRejected": 3, "rowsPerSecond": 57, "eta": "3s", "shards": 4}
    picture = "\n".join(drawn(a_batch("scores", "Working", progress=progress))[:2])
    assert picture in DOCS.read_text(), picture


def test_where_rows_are_not_counted_before_shards_are() -> None:
    progress = {"rowsIn": 100, "rowsRejected": 0, "shards": 4, "shardsDone": 2}
    _, line, *_ = drawn(a_batch("weekly", "Working", progress=progress))
    assert line.split() == ["weekly", "Working", "█" * 10 + "░" * 10, "50", "%", "100", "0"]


def test_before_the_plan_and_without_a_status_there_is_nothing_to_count() -> None:
    body = {"object": {"metadata": {"name": "new"}}, "pods": []}
    _, first, second, *_ = drawn(body, a_batch("weekly", "Scheduled", ready=True))
    assert (first.split(), second.split()) == (["new", "Starting"], ["weekly", "Scheduled"])


def test_why_one_does_not_go_on_is_said_below() -> None:
    lines = drawn(a_batch("one", "Working"), a_batch("two", "MissingColumn", stalled=True))
    assert lines[3] == "  two: why it is MissingColumn"
    assert sum("why it is" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("batch", "style"),
    [
        (a_batch("a", "Working"), "33"),
        (a_batch("a", "Complete", ready=True), "32"),
        (a_batch("a", "OutputInUse", stalled=True), "31"),
    ],
)
def test_colours_tell_how_it_stands(batch: dict[str, Any], style: str) -> None:
    assert any(f"\x1b[{style}m" in line for line in drawn(batch, color=True))


def test_nothing_is_drawn_where_there_is_none_and_all_with_the_endpoints() -> None:
    assert drawn() == []
    out = io.StringIO()
    Console(file=out, width=110).print(draw({"endpoints": [], "batches": [a_batch("a", "Working")], "events": []}))
    assert out.getvalue().splitlines()[1].split() == ["a", "Working"]
