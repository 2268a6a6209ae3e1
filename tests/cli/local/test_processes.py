"""Processes that are found again after a crash, and only those."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelendpoint.local.processes import Process, end_left_over, is_alive, start_time
from support.laptop import living
from support.routers import wait_until

PARENT = """
import os, time
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(60)
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[tuple[Process, int]]:
    """A process with a child, and the child's number."""
    process = Process(
        [sys.executable, "-c", PARENT],
        environment=dict(os.environ),
        folder=tmp_path,
        log=tmp_path / "log",
        pid_file=tmp_path / "pid",
    )
    wait_until(lambda: (tmp_path / "log").read_text().endswith("\n"))
    yield process, int((tmp_path / "log").read_text())
    process.kill()


def test_a_process_writes_its_number_before_it_is_anything(family: tuple[Process, int], tmp_path: Path) -> None:
    process, _ = family
    assert int((tmp_path / "pid").read_text()) == process.pid
    assert os.getpgid(process.pid) == process.pid


def test_what_is_left_over_is_ended_with_its_children(family: tuple[Process, int], tmp_path: Path) -> None:
    process, child = family
    assert end_left_over(tmp_path / "pid") is True
    assert process.exit_code() == -9
    wait_until(lambda: not living([child]))


def test_a_child_whose_parent_was_killed_is_found(family: tuple[Process, int], tmp_path: Path) -> None:
    process, child = family
    os.kill(process.pid, 9)
    wait_until(lambda: not living([process.pid]))
    assert living([child]) == [child]
    assert end_left_over(tmp_path / "pid") is True
    wait_until(lambda: not living([child]))


def test_the_end_of_a_process_takes_its_children_along(family: tuple[Process, int]) -> None:
    process, child = family
    os.kill(process.pid, 9)
    wait_until(lambda: process.exit_code() is not None)
    wait_until(lambda: not living([child]))


@pytest.mark.parametrize("shift", [-3600, 3600], ids=["started after the file", "started long before the file"])
def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path, shift: int) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as other:
        pid_file = tmp_path / "pid"
        pid_file.write_text(f"{other.pid}\n")
        written = start_time(other.pid) + shift
        os.utime(pid_file, (written, written))
        assert end_left_over(pid_file) is False
        assert other.poll() is None
        other.communicate(b"\n")
        assert other.returncode == 0


@pytest.mark.parametrize("text", ["", "no number", "0", "1", "-1", "999999999"])
def test_a_file_that_names_no_process_of_ours_ends_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert end_left_over(tmp_path / "pid") is False


def test_a_process_is_known_by_number_and_time() -> None:
    own = os.getpid()
    assert is_alive(own, started=start_time(own))
    assert not is_alive(own, started=start_time(own) - 60)
    assert not is_alive(999_999_999, started=0)
