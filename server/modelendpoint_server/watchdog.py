"""Stops runs whose time is over."""

import threading
import time

from modelendpoint_server.model import Cancel

_LOOK_EVERY_SECONDS = 0.05


class Watchdog:
    """Looks at all runs twenty times a second; to be watched costs a run one entry in a dict."""

    def __init__(self) -> None:
        self._runs: dict[Cancel, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join()

    def watch(self, cancel: Cancel, deadline: float) -> None:
        """Stop the run at the deadline, a time of ``time.monotonic``."""
        self._runs[cancel] = deadline

    def forget(self, cancel: Cancel) -> None:
        """Let the run be; it has ended."""
        self._runs.pop(cancel, None)

    def _look(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY_SECONDS):
            now = time.monotonic()
            # A copy: other threads add and remove runs meanwhile.
            for cancel, deadline in list(self._runs.items()):
                if now >= deadline:
                    cancel.stop()
                    self.forget(cancel)
