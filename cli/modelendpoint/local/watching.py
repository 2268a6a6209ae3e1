"""Files that are looked at again and again: whatever changes one of them, on every system. Applying must not be here."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

LOOK_SECONDS = 0.2

Signature = tuple[object, ...]


class FileWatcher:
    """Calls back when a file has changed, and not while somebody still writes to it."""

    def __init__(self, files: Callable[[], Sequence[Path]], changed: Callable[[], None]) -> None:
        self._files = files
        self._changed = changed
        # Nothing yet, so that what has changed since the files were read for the first time is not missed.
        self._applied: Signature = ()
        self._before: Signature = ()

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Look once; a change counts when it is the same at two looks."""
        now = signature(self._files())
        if now == self._before and now != self._applied:
            # Before the call: what changes during it is another change.
            self._applied = now
            self._changed()
        self._before = now


def signature(files: Sequence[Path]) -> Signature:
    """Say what would be another if a file had changed."""
    return tuple((entry, *_stamp(entry)) for path in files for entry in _entries(path))


def _entries(path: Path) -> list[Path]:
    return [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)
