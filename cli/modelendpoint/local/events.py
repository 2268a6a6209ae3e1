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

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.plan import EventNote

KEPT = 1000
"""Events that are kept in memory; the file has them all."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to an endpoint."""

    id: str
    """The same note about the same generation has the same, as on a cluster."""
    time: str
    namespace: str
    endpoint: str
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

    def tell(self, endpoint: ModelEndpoint, note: EventNote, *, now: datetime) -> None:
        """Add an Event, unless it was told before."""
        told = "/".join([endpoint.uid, str(endpoint.generation), note.reason, note.message])
        event = Event(
            id=f"{endpoint.name}.{hashlib.sha256(told.encode()).hexdigest()[:16]}",
            time=now.isoformat(timespec="milliseconds"),
            namespace=endpoint.namespace,
            endpoint=endpoint.name,
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
