"""Run other programs, take locks, say what is going on."""

import contextlib
import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

PROGRESS_SECONDS = 10.0
SHORT = 110


class ClusterError(Exception):
    """Something that people must hear about; the message says what to do next."""


class Refused(ClusterError):
    """What was asked for can't be had here; nothing was begun."""


def say(text: str) -> None:
    """Tell people what is going on; on stderr, so that stdout holds answers only."""
    print(text, file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run a command and return what it printed; raise with all that it said if it fails."""
    done = subprocess.run(
        command, input=stdin, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"`{' '.join(map(str, command))}` failed ({done.returncode}):\n{done.stderr or done.stdout}")
    return done.stdout


def last_line(lines: Sequence[str]) -> str:
    """Describe a long command by the last thing that it said."""
    return lines[-1].strip()[:SHORT] if lines else "started"


def run_long(
    command: Sequence[str | Path],
    *,
    describe: Callable[[Sequence[str]], str] = last_line,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> None:
    """Run a command that takes its time, and say every ten seconds how far it is.

    What it prints is shown only if it fails.
    """
    lines: list[str] = []
    began = time.monotonic()
    with subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
        reader.start()
        while _is_running(process):
            say(f"  {time.monotonic() - began:4.0f} s: {describe(lines)}")
        reader.join()
    if process.returncode:
        last = "".join(lines[-30:])
        raise ClusterError(f"`{' '.join(map(str, command))}` failed ({process.returncode}):\n{last}")


def _is_running(process: subprocess.Popen[str]) -> bool:
    """Wait for the next moment to say something; say whether there is still something to wait for."""
    try:
        process.wait(PROGRESS_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; say so when another process holds it. The system frees it however we end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def wait_until(is_true: Callable[[], bool], *, seconds: float, failure: str) -> None:
    """Look every tenth of a second until it is true."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise ClusterError(f"{failure} (waited {seconds:.0f} s)")
        time.sleep(0.1)


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write beside and rename, so that nobody ever reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=mode)
    beside.chmod(mode)
    beside.write_text(text)
    beside.replace(path)
