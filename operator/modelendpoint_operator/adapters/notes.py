"""Writes Events: what a person reads in ``kubectl describe``."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from modelendpoint_operator import names
from modelendpoint_operator.adapters.api_server import EVENTS, ApiServer, Resource
from modelendpoint_operator.plan import EventNote


@dataclass(frozen=True, kw_only=True)
class Regarding:
    """The object that an Event is about."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    version: int
    """The same note about another version of it is another Event: of an endpoint its generation, of a run its attempt."""


class EventWriter:
    """Writes Events in the name of one operator pod."""

    def __init__(self, api: ApiServer, *, reporter: str) -> None:
        self._api = api
        self._reporter = reporter

    def write(self, subject: Regarding, note: EventNote, *, now: datetime) -> None:
        """Write an Event. The same note again is the same Event: after a crash nothing is told twice."""
        told = "/".join([subject.uid, str(subject.version), note.reason, note.message])
        event = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "namespace": subject.namespace,
                "name": f"{subject.name}.{hashlib.sha256(told.encode()).hexdigest()[:16]}",
            },
            "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": names.GROUP,
            "reportingInstance": self._reporter,
            "action": "Reconcile",
            "reason": note.reason,
            "note": note.message[:1024],
            "type": "Warning" if note.warning else "Normal",
            "regarding": {
                "apiVersion": subject.resource.api_version,
                "kind": subject.resource.kind,
                "name": subject.name,
                "namespace": subject.namespace,
                "uid": subject.uid,
            },
        }
        self._api.create(EVENTS, subject.namespace, event)
