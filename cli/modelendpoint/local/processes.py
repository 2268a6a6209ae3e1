"""Processes that can be found again after a crash, and ended with all their children. What they run must not be here.

Each is a process group of its own: a key pressed in the terminal does not reach it, and no child outlives it. It writes
its number into a file before it becomes the program, so there is no moment in which it runs and nobody knows.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

PID_FILE = "pid"
START_TOLERANCE_SECONDS = 5.0
"""A process starts at most this long before it writes its file. One that got the same number later started after it."""

_RECORD_AND_BECOME = 'echo $$ > "$0" && exec "$@"'


class Process:
    """A running program, started by this process."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path, pid_file: Path
    ) -> None:
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _RECORD_AND_BECOME, str(pid_file), *command],
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._pid_file = pid_file

    @property
    def pid(self) -> int:
        """Number of the process, and of its group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Tell how it ended; None while it runs. Whatever of its group is left then is ended too."""
        code = self._process.poll()
        if code is not None:
            self._end_group()
        return code

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process, which sees to its children."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and its children at once."""
        self._end_group()
        self._process.wait()

    def _end_group(self) -> None:
        end_group(self.pid)
        self._pid_file.unlink(missing_ok=True)


def end_group(pid: int) -> None:
    """Kill a process group, if there is any of it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def end_left_over(pid_file: Path, *, patience_seconds: float = 5.0) -> bool:
    """End what an earlier run has started and left behind; tell whether there was anything.

    It is known by its number and the time of its start, never by its name: a process that only got the same number is
    left alone.
    """
    number = _read(pid_file)
    if number is None or number <= 1:
        return False
    group = _members(number, recorded=pid_file.stat().st_mtime)
    if not group:
        return False
    end_group(number)
    _wait(lambda: all(map(_has_ended, group)), seconds=patience_seconds)
    return True


def is_alive(pid: int, *, started: float) -> bool:
    """Tell whether a process runs that has this number and was started then."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return not _has_ended(process) and abs(process.create_time() - started) < START_TOLERANCE_SECONDS
    return False


def start_time(pid: int) -> float:
    """Tell when a process was started."""
    return float(psutil.Process(pid).create_time())


def wait_for_end(pid: int, *, started: float, seconds: float) -> bool:
    """Wait until a process that is not a child has ended; tell whether it has."""
    return _wait(lambda: not is_alive(pid, started=started), seconds=seconds)


def _wait(fact: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _has_ended(process: psutil.Process) -> bool:
    """Tell whether a process has ended, also where its parent has not taken notice of that."""
    with suppress(psutil.Error):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def _read(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text())
    except (OSError, ValueError):
        return None


def _members(leader: int, *, recorded: float) -> list[psutil.Process]:
    """Find the processes of a group whose leader wrote its number at that time.

    As long as a member lives, the kernel gives the leader's number to nobody else, be the leader dead or not.
    """
    if psutil.pid_exists(leader) and not _was_recorded(leader, recorded):
        return []
    return [process for process in psutil.process_iter() if _group_of(process) == leader]


def _was_recorded(pid: int, recorded: float) -> bool:
    with suppress(psutil.Error):
        age = recorded - psutil.Process(pid).create_time()
        return -1.0 < age < START_TOLERANCE_SECONDS
    return False


def _group_of(process: psutil.Process) -> int | None:
    with suppress(OSError):
        return os.getpgid(process.pid)
    return None
