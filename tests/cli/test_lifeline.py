"""Processes that end with the one that has started them, however that ends."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from modelendpoint.lifeline import Lifeline
from support.routers import wait_until

_HOLD = "import sys, pathlib; from modelendpoint.lifeline import Lifeline; \
line = Lifeline(pathlib.Path(sys.argv[1])); print('there', flush=True); sys.stdin.read()"
"""A process that holds a lifeline until it is killed."""


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[psutil.Process]:
    """A process group of two, whose number is where a lifeline looks."""
    with subprocess.Popen(["/bin/sh", "-c", "sleep 600 & sleep 600"], start_new_session=True) as process:
        folder = tmp_path / "a pod"
        folder.mkdir()
        (folder / "pid").write_text(f"{process.pid}\n")
        found = psutil.Process(process.pid)
        wait_until(lambda: len(found.children()) == 2)
        members = [found, *found.children()]
        yield found
        for member in members:
            if member.is_running():
                member.kill()


def test_a_killed_process_takes_the_groups_along(sleeper: psutil.Process, tmp_path: Path) -> None:
    members = [sleeper, *sleeper.children()]
    command = [sys.executable, "-c", _HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, env={"PYTHONPATH": ":".join(sys.path)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "there\n"
        assert all(member.status() != psutil.STATUS_ZOMBIE for member in members)
        holder.kill()
    wait_until(lambda: all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in members))


def test_a_lifeline_that_is_closed_ends_nothing_and_is_gone(sleeper: psutil.Process, tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    line = Lifeline(tmp_path)
    (guard,) = set(psutil.Process().children()) - before
    line.close()
    assert not guard.is_running()
    assert all(member.status() != psutil.STATUS_ZOMBIE for member in (sleeper, *sleeper.children()))
