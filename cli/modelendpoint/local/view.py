"""The terminal view of a snapshot: revisions, their shares, verdicts, latency, the last Events. Pure: draws, reads nothing."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from modelendpoint.local.batch_view import draw_batches

BAR_WIDTH = 20
EVENTS_SHOWN = 6
DECISIONS_SHOWN = 3

_VERDICT_STYLES = {"Pass": "green", "Promoted": "green", "Fail": "red", "RolledBack": "red", "Aborted": "red"}


def draw(snapshot: Mapping[str, Any]) -> RenderableType:
    """Draw everything."""
    parts: list[RenderableType] = []
    for endpoint in snapshot["endpoints"]:
        parts += [_head(endpoint), Padding(_revisions(endpoint), (0, 0, 0, 2))]
        parts += [Padding(line, (0, 0, 0, 2)) for line in _verdicts(endpoint["object"])]
        parts.append(Text())
    parts += draw_batches(snapshot["batches"])
    events = snapshot["events"][-EVENTS_SHOWN:]
    parts += [
        _event(event, name_endpoint=len(snapshot["endpoints"]) + len(snapshot["batches"]) > 1) for event in events
    ]
    return Group(*parts)


def ready_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read the condition that tells the whole story; empty before the first pass."""
    conditions = body.get("status", {}).get("conditions") or []
    return next((told for told in conditions if told["type"] == "Ready"), {})


def _head(endpoint: Mapping[str, Any]) -> Text:
    body = endpoint["object"]
    ready = ready_of(body)
    conditions = body.get("status", {}).get("conditions") or []
    is_stalled = any(told["type"] == "Stalled" and told["status"] == "True" for told in conditions)
    style = "green" if ready.get("status") == "True" else "red" if is_stalled else "yellow"
    return Text.assemble(
        (body["metadata"]["name"], "bold"),
        "  ",
        endpoint["url"],
        "\n",
        (str(ready.get("reason", "Starting")), style),
        f": {_without_findings(body)}" if ready else "",
    )


def _findings(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rollout = body.get("status", {}).get("rollout") or {}
    return list(rollout.get("findings") or [])


def _without_findings(body: Mapping[str, Any]) -> str:
    """Leave out of the condition's message what the gates say: that has lines of its own."""
    message = str(ready_of(body)["message"])
    for finding in _findings(body):
        message = message.partition(f"; {finding['message']}")[0]
    return message


def _revisions(endpoint: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("", "REVISION", "MODEL", "SHARE", "PODS", "ANSWERS", "5XX", "P50", "P99"):
        table.add_column(heading, justify="right" if heading in ("ANSWERS", "5XX", "P50", "P99") else "left")
    status = endpoint["object"].get("status", {})
    for role in ("stable", "candidate"):
        revision = status.get(role)
        if revision:
            table.add_row(*_row(role, revision, endpoint))
    for variant in status.get("variants", []):
        if "revision" in variant:
            table.add_row(*_row(variant["name"], variant, endpoint))
    return table


def _row(role: str, revision: Mapping[str, Any], endpoint: Mapping[str, Any]) -> list[RenderableType]:
    number = revision["revision"]
    counted = endpoint["counters"].get(str(number), {})
    restarts = sum(pod["restarts"] for pod in endpoint["pods"] if pod["revision"] == number)
    pods = f"{revision.get('readyReplicas', 0)}/{revision.get('replicas', 0)}"
    return [
        role,
        str(number),
        revision.get("version") or str(revision.get("sha256") or "")[:12],
        _bar(revision.get("weight", 0), "cyan" if role == "candidate" else "green"),
        f"{pods}, {restarts} restarts" if restarts else pods,
        str(counted.get("answers", "")),
        str(counted.get("answers5xx", "")),
        _milliseconds(counted.get("p50Milliseconds")),
        _milliseconds(counted.get("p99Milliseconds")),
    ]


def _bar(percent: int, style: str) -> Text:
    filled = round(BAR_WIDTH * percent / 100)
    return Text.assemble(("█" * filled, style), ("░" * (BAR_WIDTH - filled), "dim"), f" {percent:>3} %")


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} ms"


def _verdicts(body: Mapping[str, Any]) -> Iterator[Text]:
    """Write what the gates say now, and what was decided before."""
    for finding in _findings(body):
        # The condition may know more, such as how long it will take.
        more = str(ready_of(body).get("message")).partition(f"; {finding['message']}")[2]
        yield _verdict("now", {**finding, "message": f"{finding['message']}{more}"})
    for decision in (body.get("status", {}).get("decisions") or [])[-DECISIONS_SHOWN:]:
        yield _verdict(_time(decision["time"]), decision)


def _verdict(when: str, told: Mapping[str, Any]) -> Text:
    style = _VERDICT_STYLES.get(told["verdict"], "yellow")
    return Text.assemble((f"{when:<8}  ", "dim"), (told["verdict"], style), f"  {told['message']}")


def _event(event: Mapping[str, Any], *, name_endpoint: bool) -> Text:
    style = "red" if event["type"] == "Warning" else "bold"
    name = f"{event['name']}  " if name_endpoint else ""
    return Text.assemble((f"{_time(event['time'])}  {name}", "dim"), (event["reason"], style), f"  {event['message']}")


def _time(text: str) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S")
