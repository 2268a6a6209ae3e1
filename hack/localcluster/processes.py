"""A process that another process started: who it is, whether it still lives, its end."""

import contextlib
import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from localcluster.commands import wait_until


@dataclass(frozen=True)
class Process:
    """A process. Numbers are used again; number and time of start together are not."""

    pid: int
    started: int
    """In clock ticks since boot."""

    def is_alive(self) -> bool:
        """Say whether this very process still runs."""
        try:
            return observe_process(self.pid) == self
        except ProcessLookupError:
            return False

    def kill(self) -> None:
        """End it, and wait until it is gone."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.is_alive(), seconds=30, failure=f"process {self.pid} did not end")

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Process":
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(text))


def observe_process(pid: int) -> Process:
    """Look a running process up; raise ``ProcessLookupError`` if there is none, or only what is left of one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    state, *fields = text.rpartition(")")[2].split()  # the name before it may hold blanks
    if state == "Z":
        raise ProcessLookupError(pid)
    return Process(pid, int(fields[18]))
