"""The terminal view of batch predictions: one line each, and why one does not go on. Pure: draws, reads nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

BAR_WIDTH = 20
_NUMBERS = ("ROWS", "REJECTED", "ROWS/S", "ETA")


def draw_batches(batches: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Draw all batch predictions; nothing where there is none."""
    if not batches:
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("BATCH", "STATUS", "DONE", *_NUMBERS):
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left")
    for batch in batches:
        table.add_row(*_row(batch["object"]))
    yield table
    yield from (Padding(_why(batch["object"]), (0, 0, 0, 2)) for batch in batches if not _goes_on(batch["object"]))
    yield Text()


def _row(body: Mapping[str, Any]) -> list[RenderableType]:
    progress = body.get("status", {}).get("progress") or {}
    rows = progress.get("rows")
    done = f"{progress.get('rowsIn', 0)}/{rows}" if rows is not None else str(progress.get("rowsIn", ""))
    return [
        Text(body["metadata"]["name"], style="bold"),
        Text(_reason(body), style=_style(body)),
        _bar(progress),
        done,
        str(progress.get("rowsRejected", "")),
        str(progress.get("rowsPerSecond") or ""),
        str(progress.get("eta") or ""),
    ]


def _bar(progress: Mapping[str, Any]) -> Text:
    """Draw how much is done, of the rows where they were counted, else of the shards."""
    done, total = (
        (progress.get("rowsIn", 0), progress["rows"])
        if progress.get("rows") is not None
        else (progress.get("shardsDone", 0), progress.get("shards", 0))
    )
    if not progress or not total:
        return Text()
    filled = min(BAR_WIDTH, BAR_WIDTH * done // total)
    percent = f" {100 * done // total:>3} %"
    return Text.assemble(("█" * filled, "green"), ("░" * (BAR_WIDTH - filled), "dim"), percent)


def _why(body: Mapping[str, Any]) -> Text:
    return Text.assemble((f"{body['metadata']['name']}: ", "dim"), str(_condition(body, "Ready").get("message", "")))


def _reason(body: Mapping[str, Any]) -> str:
    return str(_condition(body, "Ready").get("reason", "Starting"))


def _goes_on(body: Mapping[str, Any]) -> bool:
    return not _condition(body, "Stalled")


def _style(body: Mapping[str, Any]) -> str:
    if not _goes_on(body):
        return "red"
    return "green" if _condition(body, "Ready").get("status") == "True" else "yellow"


def _condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = body.get("status", {}).get("conditions") or []
    return next((told for told in conditions if told["type"] == kind), {})
