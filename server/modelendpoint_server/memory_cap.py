"""A cap on this process's memory below the container's limit, so that too much is an error and no kill."""

import logging
import resource
from pathlib import Path

_LOG = logging.getLogger(__name__)
_STATUS = Path("/proc/self/status")


def cap_memory(most: int) -> int | None:
    """Let the process hold at most so many bytes; return the cap on its data segment, ``None`` if it can't be set.

    What counts for the kernel's kill is resident memory; what can be capped is the data segment, which is larger: it
    also has stacks and heaps that were reserved and never touched. Resident memory can't grow by more than the segment
    does, so the cap is today's segment and whatever is left up to ``most``.
    """
    figures = _read()
    if figures is None:
        return None
    segment, resident = figures
    cap = segment + max(0, most - resident)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (cap, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    except (ValueError, OSError) as error:
        _LOG.warning("Could not cap the memory: %s", error)
        return None
    return cap


def _read() -> tuple[int, int] | None:
    try:
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        return _bytes(lines["VmData"]), _bytes(lines["VmRSS"])
    except (OSError, KeyError, ValueError):
        return None


def _bytes(text: str) -> int:
    return int(text.split()[0]) * 1024
