"""Asks the routers of endpoints that sleep whether a request waits. What is to be done then must not be here.

No watch tells of a request, and a whole pass every second for each endpoint that sleeps would keep the API server busy
with nothing. So only the routers are asked, for one number, and who works on the endpoint is called when it changes.
"""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

Subject = tuple[str, str]
"""Namespace and name of an endpoint."""

PERIOD_SECONDS = 1.0


class CountsKnocks(Protocol):
    """Asks a router how often requests asked for a pod."""

    def count_knocks(self, address: str) -> int | None:
        """Ask the router at an address; None when it does not answer."""


class Doorbell:
    """Rings for endpoints whose routers tell another number than before; once in any case, as some may have come before."""

    def __init__(self, routers: CountsKnocks, ring: Callable[[str, str], None], *, pool: ThreadPoolExecutor) -> None:
        self._routers = routers
        self._ring = ring
        self._pool = pool
        self._lock = threading.Lock()
        self._told: dict[Subject, dict[str, int | None]] = {}
        """What routers told last, by their addresses."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)

    def listen(self, namespace: str, name: str, addresses: Collection[str]) -> None:
        """Ask these routers of an endpoint from now on, and no others; without any, none."""
        with self._lock:
            before = self._told.pop((namespace, name), {})
            if addresses:
                self._told[namespace, name] = {address: before.get(address) for address in addresses}

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def stop(self) -> None:
        """End, after a look that is under way."""
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Ask all of them once."""
        with self._lock:
            asked = [(subject, address) for subject, addresses in self._told.items() for address in addresses]
        counts = self._pool.map(self._routers.count_knocks, [address for _, address in asked])
        for (subject, address), count in zip(asked, counts, strict=True):
            if count is not None and self._is_new(subject, address, count):
                self._ring(*subject)

    def _is_new(self, subject: Subject, address: str, count: int) -> bool:
        with self._lock:
            told = self._told.get(subject, {})
            if address not in told or told[address] == count:
                return False
            told[address] = count
            return True

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_SECONDS):
            self.look()
