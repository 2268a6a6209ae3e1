"""The control-group folder that a cluster's pods live in: make it before, remove it after. Version 1, 2 and both."""

import time
from collections.abc import Iterable
from pathlib import Path

from localcluster.commands import ClusterError

MOUNTS = Path("/proc/self/mounts")


def find_hierarchies(mounts: str) -> list[Path]:
    """List the mounted hierarchies from the text of ``/proc/self/mounts``."""
    lines = (line.split(" ") for line in mounts.splitlines())
    return [Path(target) for _, target, kind, *_ in lines if kind in ("cgroup", "cgroup2")]


def make(root: str, hierarchies: Iterable[Path]) -> None:
    """Make the folder in every hierarchy, with what kubelet expects in it."""
    for hierarchy in hierarchies:
        folder = hierarchy / root
        if (hierarchy / "cgroup.subtree_control").exists():
            available = (hierarchy / "cgroup.controllers").read_text().split()
            (hierarchy / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in available))
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # version 1 starts a folder empty, and nothing may run in it then
            if (hierarchy / name).exists():
                (folder / name).write_text((hierarchy / name).read_text())


def remove(root: str, hierarchies: Iterable[Path], *, seconds: float = 10) -> None:
    """Remove the folder and all below it. The kernel takes a moment after the last process has ended."""
    deadline = time.monotonic() + seconds
    for hierarchy in hierarchies:
        while (hierarchy / root).exists() and not _remove_folders(hierarchy / root):
            if time.monotonic() > deadline:
                raise ClusterError(f"could not remove {hierarchy / root}: processes are left in it")
            time.sleep(0.1)


def _remove_folders(top: Path) -> bool:
    """Remove from the bottom up; say whether all went."""
    try:
        for child in top.iterdir():
            if child.is_dir():
                _remove_folders(child)
        top.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
