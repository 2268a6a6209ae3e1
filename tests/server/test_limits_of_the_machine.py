"""Cores and memory as the control groups say, and the places and bodies that follow from them."""

import os
import threading
import time
from pathlib import Path

import pytest

from modelendpoint_server.admission import Admission, MemoryBudget
from modelendpoint_server.cgroup import memory_in_use, memory_size, usable_cores
from modelendpoint_server.errors import DeadlineExceeded, Overloaded
from modelendpoint_server.saturation import memory_used


def group(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return folder


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu__cpu.cfs_quota_us": "20000", "cpu__cpu.cfs_period_us": "100000"}, 1),
    ],
)
def test_cores_are_the_quota_rounded_up(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert usable_cores(group(tmp_path, **files)) == min(cores, usable_cores(tmp_path / "none"))


@pytest.mark.parametrize("files", [{}, {"cpu.max": "max 100000"}, {"cpu__cpu.cfs_quota_us": "-1"}])
def test_without_a_quota_all_cores_count(tmp_path: Path, files: dict[str, str]) -> None:
    assert usable_cores(group(tmp_path, **files)) >= 1


def test_where_the_system_tells_no_cores_of_a_process_those_of_the_machine_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores(tmp_path / "none") == 6


def test_memory_is_the_limit_or_the_machines(tmp_path: Path) -> None:
    assert memory_size(group(tmp_path, **{"memory.max": str(2**28)})) == 2**28
    machine = memory_size(group(tmp_path, **{"memory.max": "max"}))
    assert machine > 2**28
    unlimited = group(tmp_path / "v1", **{"memory__memory.limit_in_bytes": str(2**63 - 4096)})
    assert memory_size(unlimited) == machine


def soon() -> float:
    return time.monotonic() + 5


def test_who_finds_too_many_waiting_is_turned_away_at_once() -> None:
    admission = Admission(places=1, most_waiting=1)
    admission.enter(deadline=soon())
    waiting = threading.Thread(target=lambda: [admission.enter(deadline=soon()), admission.leave()])
    waiting.start()
    deadline = soon()
    while admission.waiting == 0 and time.monotonic() < deadline:
        pass
    with pytest.raises(Overloaded, match="1 requests wait already"):
        admission.enter(deadline=soon())
    admission.leave()
    waiting.join()
    admission.enter(deadline=soon())


def test_who_waits_too_long_is_told_so() -> None:
    admission = Admission(places=1, most_waiting=1)
    admission.enter(deadline=soon())
    with pytest.raises(DeadlineExceeded):
        admission.enter(deadline=time.monotonic() + 0.01)
    assert admission.waiting == 0


def test_bodies_together_keep_to_their_budget_and_one_alone_always_fits() -> None:
    budget = MemoryBudget(100)
    with budget.hold(500):
        pass
    with budget.hold(60):
        with budget.hold(40):
            pass
        with pytest.raises(Overloaded), budget.hold(41):
            pass
    with budget.hold(100):
        pass


def test_memory_in_use_leaves_out_cached_files_that_can_go(tmp_path: Path) -> None:
    files = {"memory.current": "1000", "memory.stat": "anon 700\ninactive_file 250\nactive_file 50"}
    assert memory_in_use(group(tmp_path / "v2", **files)) == 750
    old = {"memory__memory.usage_in_bytes": "900", "memory__memory.stat": "cache 1\ntotal_inactive_file 100"}
    assert memory_in_use(group(tmp_path / "v1", **old)) == 800


def test_outside_a_container_the_memory_in_use_is_the_process_own(tmp_path: Path) -> None:
    statm = tmp_path / "statm"
    statm.write_text("900 200 30 1 0 100 0\n")
    assert memory_in_use(tmp_path / "none") is None
    assert memory_used(tmp_path / "none", statm) == 200 * os.sysconf("SC_PAGE_SIZE")
    assert memory_used(tmp_path / "none", tmp_path / "nowhere") is None


def test_places_that_are_taken_are_counted() -> None:
    admission = Admission(places=3, most_waiting=1)
    for running in (1, 2):
        admission.enter(deadline=soon())
        assert admission.running == running
    admission.leave()
    assert (admission.running, admission.places) == (1, 3)
