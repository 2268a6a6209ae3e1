"""The Events of an instance: what ``kubectl describe`` would show. Kept in a file, so that a crash loses none."""

import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from modelendpoint_operator.plan import EventNote

KEPT = 1000
"""Events that are kept in memory; the file has them all."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The object that an Event is about."""

    kind: str
    namespace: str
    name: str
    uid: str
    version: int
    """The same note about another version of it is another Event: of an endpoint its generation, of a run its attempt."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to an endpoint or to a batch prediction."""

    id: str
    """The same note about the same version has the same, as on a cluster."""
    time: str
    kind: str
    namespace: str
    name: str
    type: str
    """Normal or Warning."""
    reason: str
    message: str


class EventLog:
    """All Events, oldest first. Safe to use from all threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Event], None]] = []
        known = list(_read(path))
        self._events = deque(known, maxlen=KEPT)
        self._told = {event.id for event in known}

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call this with every new Event."""
        self._listeners.append(listener)

    def last(self, count: int) -> list[Event]:
        """Read the last Events."""
        with self._lock:
            return list(self._events)[-count:]

    def tell(self, subject: Subject, note: EventNote, *, now: datetime) -> None:
        """Add an Event, unless it was told before."""
        told = "/".join([subject.uid, str(subject.version), note.reason, note.message])
        event = Event(
            id=f"{subject.name}.{hashlib.sha256(told.encode()).hexdigest()[:16]}",
            time=now.isoformat(timespec="milliseconds"),
            kind=subject.kind,
            namespace=subject.namespace,
            name=subject.name,
            type="Warning" if note.warning else "Normal",
            reason=note.reason,
            message=note.message,
        )
        with self._lock:
            if event.id in self._told:
                return
            self._told.add(event.id)
            self._events.append(event)
            with self._path.open("a") as out:
                out.write(json.dumps(asdict(event)) + "\n")
        for listener in self._listeners:
            listener(event)


def _read(path: Path) -> Iterator[Event]:
    """Read what is kept, but for what a crash has left half written or an older version wrote in another way."""
    for line in path.read_text().splitlines() if path.exists() else []:
        with suppress(ValueError, TypeError):
            yield Event(**json.loads(line))
