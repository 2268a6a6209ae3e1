"""What the container may use: cores and bytes, as the kernel's control groups say. No policy here."""

import math
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def usable_cores(root: Path = ROOT) -> int:
    """Count the cores that this process may use: its CPU quota, rounded up, within the cores it may run on."""
    # macOS, where `mep` runs the server on a laptop, knows no such thing.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def memory_size(root: Path = ROOT) -> int:
    """Return the bytes that this process may use: the container's limit, or the machine's memory."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, _memory_limit(root) or machine)


def memory_in_use(root: Path = ROOT) -> int | None:
    """Return the container's bytes as the kubelet counts them, without cached files that can go; None outside one."""
    for usage, statistics, idle in (
        (root / "memory.current", root / "memory.stat", "inactive_file"),
        (root / "memory" / "memory.usage_in_bytes", root / "memory" / "memory.stat", "total_inactive_file"),
    ):
        used, told = _read(usage), _read(statistics)
        if used is not None and told is not None:
            lines = dict(line.split() for line in told.splitlines())
            return max(0, int(used) - int(lines.get(idle, 0)))
    return None


def _memory_limit(root: Path) -> int | None:
    text = _read(root / "memory.max") or _read(root / "memory" / "memory.limit_in_bytes")
    if text is None or not text.isdigit():
        return None
    # Version 1 writes "no limit" as the largest number of pages.
    return int(text) if int(text) < 2**60 else None


def _quota(root: Path) -> float | None:
    if text := _read(root / "cpu.max"):
        quota, period = text.split()
        return None if quota == "max" else int(quota) / int(period)
    quota_v1, period_v1 = _read(root / "cpu" / "cpu.cfs_quota_us"), _read(root / "cpu" / "cpu.cfs_period_us")
    if quota_v1 is None or period_v1 is None or int(quota_v1) <= 0:
        return None
    return int(quota_v1) / int(period_v1)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
