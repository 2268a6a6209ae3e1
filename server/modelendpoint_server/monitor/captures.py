"""Samples to files in the object store: gathered, written to disk, uploaded; each step bounded, all that is lost counted.

::

    sample ─► batch of its hour and revision ─► file on the pod's disk ─► <uri>/date=2026-11-30/hour=06/r7-….parquet
              until maxSeconds, or large         until the store has it

Two threads: whoever adds samples also writes the files; one of its own uploads them, and waits for a store that is away.
"""

import dataclasses
import datetime
import logging
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelendpoint_server.batch.errors import InvalidBatch, OutputForbidden, StorageFull
from modelendpoint_server.batch.places import Target
from modelendpoint_server.batch.writing import open_writer
from modelendpoint_server.errors import ServerError
from modelendpoint_server.monitor.decoding import known_names
from modelendpoint_server.monitor.sample import Sample
from modelendpoint_server.monitor.specification import CaptureWanted
from modelendpoint_server.monitor.tables import FACTS, Privacy, build_table
from modelendpoint_server.signature import Signature

_LOG = logging.getLogger(__name__)
_MOST_ROWS = 100_000
_MOST_BATCH_BYTES = 32 * 2**20
_MOST_WAITING_BYTES = 256 * 2**20
"""Bytes of files that wait for a store that is away."""
_LEAST_KEY_BYTES = 16
_LONGEST_PAUSE_SECONDS = 15.0
_FIRST_PAUSE_SECONDS = 0.5


@dataclasses.dataclass
class _Batch:
    signature: Signature
    began: float
    samples: list[Sample] = dataclasses.field(default_factory=list)
    rows: int = 0
    bytes: int = 0


@dataclasses.dataclass(frozen=True)
class _File:
    local: Path
    path: str
    samples: int
    rows: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What keeps captures from being stored."""

    reason: str
    message: str


@dataclasses.dataclass(kw_only=True)
class Figures:
    """What became of the samples."""

    samples: int = 0
    rows: int = 0
    files: int = 0
    bytes: int = 0
    waiting: int = 0
    """Samples that are on their way to the store."""
    dropped: Counter[str] = dataclasses.field(default_factory=Counter)
    last_write: float | None = None
    trouble: Trouble | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the operator reads it."""
        return {
            "captured": self.samples,
            "rows": self.rows,
            "files": self.files,
            "bytes": self.bytes,
            "waiting": self.waiting,
            "dropped": sum(self.dropped.values()),
            "lastWrite": self.last_write,
            "reason": self.trouble.reason if self.trouble else None,
            "message": self.trouble.message if self.trouble else None,
        }


class Captures:
    """Gathers samples, and stores them."""

    def __init__(
        self,
        wanted: CaptureWanted,
        *,
        open_target: Callable[[], Target],
        read_key: Callable[[], bytes],
        folder: Path,
        most_waiting_bytes: int = _MOST_WAITING_BYTES,
    ) -> None:
        self._wanted = wanted
        self._open_target = open_target
        self._read_key = read_key
        self._folder = folder
        self._most_waiting = most_waiting_bytes
        self._batches: dict[tuple[str, str, str, str], _Batch] = {}
        self._known: set[str] = set(FACTS)
        self._name = secrets.token_hex(4)
        """Part of the names of all files, so that two monitors never write the same."""
        self._number = 0
        self._files: deque[_File] = deque()
        self._changed = threading.Condition()
        self._is_ending = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._upload, name="captures", daemon=True)
        self.figures = Figures()

    def start(self) -> None:
        """Begin to upload."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def add(self, sample: Sample, signature: Signature, *, size: int, now: float) -> None:
        """Add a sample; ``size`` is about its bytes. Without every column that is to be hidden known, nothing is kept."""
        self._known |= known_names(signature)
        if unknown := sorted({*self._wanted.redact, *self._wanted.hash} - self._known):
            self._drop(
                1,
                "UnknownColumn",
                f"monitoring.capture names the column {unknown[0]!r}, which no model of the endpoint has. Nothing is"
                f" stored until it is corrected; columns are {', '.join(sorted(self._known)[:40])}.",
            )
            return
        hour = datetime.datetime.fromtimestamp(sample.time, datetime.UTC).strftime("date=%Y-%m-%d/hour=%H")
        key = (hour, sample.variant, sample.revision, sample.sha256)
        batch = self._batches.setdefault(key, _Batch(signature, now))
        batch.samples.append(sample)
        batch.rows += sample.rows
        batch.bytes += size
        with self._changed:
            self.figures.waiting += 1
        if batch.rows >= _MOST_ROWS or sum(batch.bytes for batch in self._batches.values()) >= _MOST_BATCH_BYTES:
            self._write(key)

    def write_due(self, now: float) -> None:
        """Write what has been gathered for long enough."""
        for key, batch in list(self._batches.items()):
            if now - batch.began >= self._wanted.max_seconds:
                self._write(key)

    def finish(self, *, seconds: float) -> None:
        """Write and upload all that is there, within the time; what is left is counted as dropped."""
        for key in list(self._batches):
            self._write(key)
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        self._thread.join(seconds)
        self._stop.set()
        with self._changed:
            left = sum(file.samples for file in self._files)
            if left:
                _LOG.error("Samples were not stored before the end", extra={"samples": left})
                self.figures.dropped["Ended"] += left

    def _write(self, key: tuple[str, str, str, str]) -> None:
        batch = self._batches.pop(key)
        hour, variant, revision, _ = key
        self._number += 1
        kind = self._wanted.format
        name = f"{variant + '-' if variant else ''}r{revision}-{self._name}-{self._number:06d}.{kind.extension}"
        local = self._folder / f"{self._number:06d}.{kind.extension}"
        try:
            table = build_table(batch.samples, batch.signature, self._privacy())
            writer = open_writer(kind, local)
            try:
                writer.write(table)
                written = writer.finish()
            except BaseException:
                writer.abandon()
                raise
        except ServerError as error:
            self._gone(len(batch.samples), _reason_of(error), str(error), local)
            return
        except Exception as error:  # noqa: BLE001  other samples are none the worse for it
            _LOG.exception("Samples can't be written")
            self._gone(
                len(batch.samples), "InternalError", f"Samples can't be written ({type(error).__name__}).", local
            )
            return
        self._enqueue(_File(local, f"{hour}/{name}", len(batch.samples), written.rows, written.bytes))

    def _privacy(self) -> Privacy:
        if not self._wanted.hash:
            return Privacy(redact=self._wanted.redact)
        key = self._read_key()
        if len(key) < _LEAST_KEY_BYTES:
            raise HashKeyMissing(
                f"The Secret of monitoring.capture.hashKeySecretRef must have at least {_LEAST_KEY_BYTES} bytes under"
                " the key 'key'. Nothing is stored without it; create it."
            )
        return Privacy(redact=self._wanted.redact, hash=self._wanted.hash, key=key)

    def _enqueue(self, file: _File) -> None:
        with self._changed:
            has_room = sum(waiting.bytes for waiting in self._files) + file.bytes <= self._most_waiting
            if has_room:
                self._files.append(file)
                self._changed.notify()
        if not has_room:
            trouble = self.figures.trouble
            self._gone(
                file.samples, "StoreBehind", trouble.message if trouble else "The store is too slow.", file.local
            )

    def _gone(self, samples: int, reason: str, message: str, local: Path) -> None:
        local.unlink(missing_ok=True)
        with self._changed:
            self.figures.waiting -= samples
        self._drop(samples, reason, message)

    def _drop(self, samples: int, reason: str, message: str) -> None:
        with self._changed:
            self.figures.dropped[reason] += samples
            if reason != "StoreBehind":
                self._complain(Trouble(reason, message))

    def _complain(self, trouble: Trouble) -> None:
        if self.figures.trouble != trouble:
            _LOG.error("Samples are not stored: %s", trouble.message, extra={"reason": trouble.reason})
        self.figures.trouble = trouble

    def _upload(self) -> None:
        target: Target | None = None
        pause = _FIRST_PAUSE_SECONDS
        while (file := self._next()) is not None:
            try:
                target = target or self._open_target()
                target.put(file.path, file.local)
            except Exception as error:  # noqa: BLE001  also a thread that meets a bug must go on
                # Opened anew, it has the credentials that are there then.
                target = None
                trouble = Trouble(_reason_of(error), str(error))
                if not isinstance(error, ServerError):
                    _LOG.exception("Unexpected error")
                    trouble = Trouble("InternalError", f"Files can't be stored ({type(error).__name__}).")
                with self._changed:
                    self._complain(trouble)
                if self._stop.wait(pause):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            pause = _FIRST_PAUSE_SECONDS
            self._stored(file)

    def _next(self) -> _File | None:
        """Wait for a file; ``None`` when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._files or self._is_ending)
            return self._files[0] if self._files else None

    def _stored(self, file: _File) -> None:
        file.local.unlink(missing_ok=True)
        with self._changed:
            self._files.popleft()
            figures = self.figures
            figures.samples += file.samples
            figures.rows += file.rows
            figures.files += 1
            figures.bytes += file.bytes
            figures.waiting -= file.samples
            figures.last_write = time.time()  # noqa: TID251  only told, nothing is decided by it
            figures.trouble = None


class HashKeyMissing(ServerError):
    """There is no key for the columns that are to be hashed."""


def _reason_of(error: Exception) -> str:
    """Name what went wrong, in words that fit a store that only gets something."""
    words: Mapping[type[Exception], str] = {
        OutputForbidden: "StoreForbidden",
        InvalidBatch: "StoreNotFound",
        StorageFull: "StoreFull",
    }
    return words.get(type(error), type(error).__name__)
