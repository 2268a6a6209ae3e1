"""How the parts of a node are, as process 1 reports it in ``parts.json``. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

TOO_MANY_STARTS = 4
"""A part that has ended this often without being ready in between will not come up."""


@dataclass(frozen=True)
class PartReport:
    """How a part is."""

    phase: str
    """``waiting`` for others, ``starting``, ``ready``, or ``ended`` and soon started again."""
    starts: int
    """How often it was started since it was ready last."""
    after: float
    """When it came into this phase, in seconds after the node's start."""

    @property
    def is_ready(self) -> bool:
        """Say whether it does its work; a task, whether it has done it."""
        return self.phase == "ready"


def write_report(parts: Mapping[str, PartReport]) -> str:
    """Write the reports of all parts."""
    return json.dumps({name: asdict(part) for name, part in parts.items()})


def read_report(text: str) -> dict[str, PartReport]:
    """Read what ``write_report`` wrote."""
    return {name: PartReport(**part) for name, part in json.loads(text).items()}


def list_trouble(names: Iterable[str], reported: Mapping[str, PartReport]) -> list[str]:
    """Say of each part that should be ready and is not what it does instead."""
    return [
        f"{name} is {reported[name].phase}" if name in reported else f"{name} is not there"
        for name in names
        if name not in reported or not reported[name].is_ready
    ]


def is_hopeless(reported: Iterable[PartReport]) -> bool:
    """Say whether waiting makes no sense any more."""
    return any(not part.is_ready and part.starts >= TOO_MANY_STARTS for part in reported)
