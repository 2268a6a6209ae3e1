"""Find the lines of a log that tell why a part failed. Pure but for reading the file."""

import re
from collections.abc import Iterable
from pathlib import Path

TELLING = re.compile(r"^[EF]\d{4} |\b(error|fatal|panic|failed|denied|cannot|unable|traceback)\b|Error:", re.IGNORECASE)
LINES = 8
WIDTH = 300


def telling_lines(log: Path) -> str:
    """Return the last lines that speak of trouble, or just the last ones."""
    return "\n".join(f"    {line}" for line in choose_lines(log.read_text(errors="replace").splitlines()))


def choose_lines(lines: Iterable[str]) -> list[str]:
    """Choose from all lines of a log."""
    lines = [line.rstrip()[:WIDTH] for line in lines if line.strip()]
    return [line for line in lines if TELLING.search(line)][-LINES:] or lines[-LINES:]
