"""Stops runs whose time is over."""

import threading
import time
import weakref

from modelendpoint_server.model import Cancel

_LOOK_EVERY_SECONDS = 0.05


class Watchdog:
    """Looks at all runs twenty times a second; to be watched costs a run one entry in a dict.

    Its thread ends once nobody holds the watchdog any more, so models that come and go leave no threads behind.
    """

    def __init__(self) -> None:
        self._runs: dict[Cancel, float] = {}
        let_go = threading.Event()
        weakref.finalize(self, let_go.set)
        # The thread gets what it looks at, not the watchdog: it would keep that alive for ever.
        threading.Thread(target=_look, args=(self._runs, let_go), name="watchdog", daemon=True).start()

    def watch(self, cancel: Cancel, deadline: float) -> None:
        """Stop the run at the deadline, a time of ``time.monotonic``."""
        self._runs[cancel] = deadline

    def forget(self, cancel: Cancel) -> None:
        """Let the run be; it has ended."""
        self._runs.pop(cancel, None)


def _look(runs: dict[Cancel, float], let_go: threading.Event) -> None:
    while not let_go.wait(_LOOK_EVERY_SECONDS):
        now = time.monotonic()
        # A copy: other threads add and remove runs meanwhile.
        for cancel, deadline in list(runs.items()):
            if now >= deadline:
                cancel.stop()
                runs.pop(cancel, None)
