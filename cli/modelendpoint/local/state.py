"""The state folder of an instance: where what is, who uses it, and how others find it. What is written must not be here."""

import fcntl
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from modelendpoint.errors import CliError
from modelendpoint.local.mounts import write_whole
from modelendpoint.local.processes import PID_FILE, end_left_over, is_alive, start_time

NAME = ".modelendpoint"


@dataclass(frozen=True, kw_only=True)
class Running:
    """Which process runs an instance, and where it listens for commands."""

    pid: int
    started: float
    socket: str


class StateFolder:
    """One state folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._lock: IO[str] | None = None

    @property
    def objects(self) -> Path:
        """The objects, one file each."""
        return self.root / "objects"

    @property
    def events(self) -> Path:
        """The Events, one line each."""
        return self.root / "events.jsonl"

    @property
    def pods(self) -> Path:
        """One folder for each pod."""
        return self.root / "pods"

    @property
    def hosts(self) -> Path:
        """Envoy's lists of hosts."""
        return self.root / "hosts"

    @property
    def copies(self) -> Path:
        """Copies of model files."""
        return self.root / "copies"

    @property
    def ports(self) -> Path:
        """Which endpoint has which port."""
        return self.root / "ports.json"

    def take(self) -> bool:
        """Make the folder this process's own, and end what a crash has left running; tell whether there was any.

        The lock ends with the process, however it ends.
        """
        self._create()
        lock = (self.root / "lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise CliError(
                f"Another `mep local up` already uses {self.root}. `mep local down` ends it; --state names another folder."
            ) from error
        self._lock = lock
        ended = [end_left_over(path) for path in self.pods.glob(f"*/{PID_FILE}")]
        self._remove_socket()
        for folder in (self.pods, self.hosts):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        return any(ended)

    def announce(self, socket: Path) -> None:
        """Say where this process listens for commands."""
        running = Running(pid=os.getpid(), started=start_time(os.getpid()), socket=str(socket))
        write_whole(self.root / "instance.json", json.dumps(asdict(running)).encode())

    def running(self) -> Running | None:
        """Find who runs the instance; None when nobody does."""
        told = self._announced()
        return told if told and is_alive(told.pid, started=told.started) else None

    def leave(self, *, keep: bool) -> None:
        """Give the folder back; unless it is to be kept there is none afterwards."""
        if keep:
            for folder in (self.pods, self.hosts):
                shutil.rmtree(folder, ignore_errors=True)
            (self.root / "instance.json").unlink(missing_ok=True)
        else:
            shutil.rmtree(self.root, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def _create(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.objects, self.copies, self.pods):
                folder.mkdir(exist_ok=True)
            # As other tools' caches do: nobody wants it in a repository.
            (self.root / ".gitignore").write_text("*\n")
        except OSError as error:
            raise CliError(
                f"{self.root} can't be written to: {error.strerror}. --state names another folder."
            ) from error

    def _announced(self) -> Running | None:
        try:
            return Running(**json.loads((self.root / "instance.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def _remove_socket(self) -> None:
        told = self._announced()
        if told is not None:
            remove_socket(Path(told.socket))
            (self.root / "instance.json").unlink(missing_ok=True)


def remove_socket(socket: Path) -> None:
    """Remove a socket and the folder that was made for it."""
    with suppress(OSError):
        socket.unlink(missing_ok=True)
        socket.parent.rmdir()


def find_state(start: Path, *, given: Path | None) -> StateFolder:
    """Find the state folder to talk about: the given one, or the nearest one above a folder."""
    if given is not None:
        return StateFolder(given)
    for folder in (start, *start.parents):
        if (folder / NAME).is_dir():
            return StateFolder(folder / NAME)
    return StateFolder(start / NAME)
