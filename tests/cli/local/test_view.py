"""The terminal view of what a real instance has shown (``cases/canary.json``), and the picture of it in the docs."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from modelendpoint.local.view import draw

DOCS = Path(__file__).parents[3] / "docs" / "local.md"
WIDTH = 110


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Show times as they are in the case."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def snapshot() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / "cases" / "canary.json").read_bytes())
    return found


def drawn(snapshot: dict[str, Any], *, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, force_terminal=color, color_system="standard" if color else None)
    console.print(draw(snapshot))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_the_picture_in_the_docs_is_what_is_drawn(snapshot: dict[str, Any]) -> None:
    assert drawn(snapshot) in DOCS.read_text(), drawn(snapshot)


def test_the_shares_are_drawn_as_bars(snapshot: dict[str, Any]) -> None:
    text = drawn(snapshot)
    assert f"{'█' * 18}{'░' * 2}  90 %" in text
    assert f"{'█' * 2}{'░' * 18}  10 %" in text


def test_what_the_gates_say_is_said_once(snapshot: dict[str, Any]) -> None:
    text = " ".join(drawn(snapshot).split())
    assert text.count("errorRate: candidate 0 % of 24 requests failed") == 1
    assert "InsufficientData errorRate: candidate 0 %" in text
    assert "which takes about 65 s at the present rate" in text


def test_an_endpoint_before_its_first_pass_is_starting(snapshot: dict[str, Any]) -> None:
    (endpoint,) = snapshot["endpoints"]
    endpoint["object"] = {"metadata": {"name": "wine"}}
    assert drawn({"endpoints": [endpoint], "batches": [], "events": []}).splitlines()[:2] == [
        "wine  http://127.0.0.1:8080",
        "Starting",
    ]


def test_what_is_stalled_is_red_and_what_is_ready_green(snapshot: dict[str, Any]) -> None:
    conditions = snapshot["endpoints"][0]["object"]["status"]["conditions"]
    ready = next(told for told in conditions if told["type"] == "Ready")
    assert "\x1b[33mRollingOut" in drawn(snapshot, color=True)
    conditions.append({**ready, "type": "Stalled", "status": "True"})
    assert "\x1b[31mRollingOut" in drawn(snapshot, color=True)
    ready["status"] = "True"
    assert "\x1b[32mRollingOut" in drawn(snapshot, color=True)


def test_no_color_is_heeded(snapshot: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in drawn(snapshot, color=True)


def test_events_of_several_endpoints_say_whose_they_are(snapshot: dict[str, Any]) -> None:
    assert "01:50:35  RolloutStarted" in drawn(snapshot)
    snapshot["endpoints"] *= 2
    assert "01:50:35  wine  RolloutStarted" in drawn(snapshot)


def test_restarts_are_counted(snapshot: dict[str, Any]) -> None:
    for pod in snapshot["endpoints"][0]["pods"]:
        pod["restarts"] = 2 if pod["revision"] == 1 else 0
    assert "1/1, 2 restarts" in drawn(snapshot)
    assert drawn(snapshot).count("restarts") == 1
