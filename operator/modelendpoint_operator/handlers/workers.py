"""The threads that take keys from the queue, and the resync that puts every object in from time to time."""

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from modelendpoint_operator.batch.plan import BatchPlan
from modelendpoint_operator.errors import ClusterUnavailable, OperatorError
from modelendpoint_operator.handlers.keys import Key
from modelendpoint_operator.plan import Plan
from modelendpoint_operator.telemetry import Telemetry
from modelendpoint_operator.watchdog import Watchdog
from modelendpoint_operator.workqueue import WorkQueue

_log = structlog.get_logger()


class Reconciles(Protocol):
    """Takes passes at the objects of one kind."""

    def reconcile(self, namespace: str, name: str) -> Plan | BatchPlan | None:
        """Take one pass and return what it wrote; None when there is no such object."""


class Workers:
    """Work on the queue until it is closed; each kind has its reconciler."""

    def __init__(
        self, queue: WorkQueue[Key], reconcilers: Mapping[str, Reconciles], telemetry: Telemetry, *, count: int
    ) -> None:
        self._queue = queue
        self._reconcilers = reconcilers
        self._telemetry = telemetry
        self._threads = [threading.Thread(target=self._work, name=f"worker-{n}", daemon=True) for n in range(count)]

    def start(self) -> None:
        """Start working."""
        for thread in self._threads:
            thread.start()

    def join(self, *, timeout: float) -> None:
        """Wait for passes under way to end."""
        for thread in self._threads:
            thread.join(timeout)

    def _work(self) -> None:
        while (key := self._queue.take()) is not None:
            self._pass(key)

    def _pass(self, key: Key) -> None:
        try:
            with self._telemetry.duration.time():
                plan = self._reconcilers[key.kind].reconcile(key.namespace, key.name)
        except Exception as error:  # noqa: BLE001
            # A bug must not end the thread: it is counted, told with its traceback, and tried again later.
            self._telemetry.failed(error)
            _tell(error, key)
            self._queue.failed(key)
            return
        if plan is not None:
            self._telemetry.count(plan)
            for note in plan.events:
                _log.info(note.message, reason=note.reason, **_where(key))
        self._queue.done(key, again_after=plan.look_again_after if plan else None)


def _tell(error: Exception, key: Key) -> None:
    if isinstance(error, OperatorError):
        _log.warning("Could not reconcile", error=str(error), **_where(key))
    else:
        _log.error("Failed on a bug", exc_info=error, **_where(key))


def _where(key: Key) -> dict[str, str]:
    return {"kind": key.kind, "namespace": key.namespace, "name": key.name}


class Resync:
    """Every so often look at every object, whatever the watch told."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        watchdog: Watchdog[Key],
        *,
        list_versions: Callable[[], Mapping[Key, str]],
        seconds: float,
    ) -> None:
        self._queue = queue
        self._watchdog = watchdog
        self._list_versions = list_versions
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resync", daemon=True)

    def start(self) -> None:
        """Start, with a first pass after one period: the watch begins with everything that there is."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                versions = self._list_versions()
            except ClusterUnavailable as error:
                _log.warning("Could not list objects", error=str(error))
                continue
            self._watchdog.listed(versions)
            for key in versions:
                self._queue.add(key)
