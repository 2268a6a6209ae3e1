"""The Events of an instance: what ``kubectl describe`` would show. Kept in a file, so that a crash loses none."""

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.plan import EventNote


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to an endpoint."""

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
        self._told: set[str] = set()
        lines = path.read_text().splitlines() if path.exists() else []
        self._events = [Event(**json.loads(line)) for line in lines if line.endswith("}")]

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call this with every new Event."""
        self._listeners.append(listener)

    def last(self, count: int) -> list[Event]:
        """Read the last Events."""
        with self._lock:
            return self._events[-count:]

    def tell(self, endpoint: ModelEndpoint, note: EventNote, *, now: datetime) -> None:
        """Add an Event. As on a cluster, the same note about the same generation is the same Event."""
        told = "/".join([endpoint.uid, str(endpoint.generation), note.reason, note.message])
        event = Event(
            time=now.isoformat(timespec="milliseconds"),
            namespace=endpoint.namespace,
            endpoint=endpoint.name,
            type="Warning" if note.warning else "Normal",
            reason=note.reason,
            message=note.message,
        )
        with self._lock:
            if told in self._told:
                return
            self._told.add(told)
            self._events.append(event)
            with self._path.open("a") as out:
                out.write(json.dumps(asdict(event)) + "\n")
        for listener in self._listeners:
            listener(event)
