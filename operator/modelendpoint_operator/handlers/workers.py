"""The threads that take keys from the queue, and the resync that puts every endpoint in from time to time."""

import threading
from collections.abc import Callable, Mapping

import structlog

from modelendpoint_operator.errors import ClusterUnavailable, OperatorError
from modelendpoint_operator.handlers.events import Key
from modelendpoint_operator.reconciler import Reconciler
from modelendpoint_operator.telemetry import Telemetry
from modelendpoint_operator.watchdog import Watchdog
from modelendpoint_operator.workqueue import WorkQueue

_log = structlog.get_logger()


class Workers:
    """Work on the queue until it is closed."""

    def __init__(self, queue: WorkQueue[Key], reconciler: Reconciler, telemetry: Telemetry, *, count: int) -> None:
        self._queue = queue
        self._reconciler = reconciler
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
            self._telemetry.queue.set(len(self._queue))
            self._pass(key)

    def _pass(self, key: Key) -> None:
        namespace, name = key
        try:
            with self._telemetry.duration.time():
                plan = self._reconciler.reconcile(namespace, name)
        except Exception as error:  # noqa: BLE001
            # A bug must not end the thread: it is counted, told with its traceback, and tried again later.
            self._telemetry.failed(error)
            _tell(error, namespace=namespace, name=name)
            self._queue.failed(key)
            return
        if plan is not None:
            self._telemetry.count(plan)
            for note in plan.events:
                _log.info(note.message, reason=note.reason, namespace=namespace, endpoint=name)
        self._queue.done(key, again_after=plan.look_again_after if plan else None)


def _tell(error: Exception, *, namespace: str, name: str) -> None:
    if isinstance(error, OperatorError):
        _log.warning("Could not reconcile", error=str(error), namespace=namespace, endpoint=name)
    else:
        _log.error("Failed on a bug", exc_info=error, namespace=namespace, endpoint=name)


class Resync:
    """Every so often look at every endpoint, whatever the watch told."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        watchdog: Watchdog,
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
                _log.warning("Could not list endpoints", error=str(error))
                continue
            self._watchdog.listed(versions)
            for key in versions:
                self._queue.add(key)
