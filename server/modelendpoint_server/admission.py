"""How many predictions run at once, and how many may wait for their turn."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from modelendpoint_server.errors import DeadlineExceeded, Overloaded

_A_MOMENT_SECONDS = 2.0


class Admission:
    """A number of places; whoever finds too many waiting already is turned away at once."""

    def __init__(self, *, places: int, most_waiting: int) -> None:
        self.places = places
        self.most_waiting = most_waiting
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(places):
            self._places.put(None)
        self._waiting = 0
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return self._waiting

    @property
    def running(self) -> int:
        """The number of requests that have a place."""
        return self.places - self._places.qsize()

    def enter(self, *, deadline: float) -> None:
        """Take a place, which ``leave`` gives back; raise ``Overloaded`` or, when it takes too long, ``DeadlineExceeded``.

        No context manager: that would cost more than all the rest here.
        """
        try:
            self._places.get_nowait()
        except queue.Empty:
            self._wait(deadline)

    def leave(self) -> None:
        """Give the place back."""
        self._places.put(None)

    def _wait(self, deadline: float) -> None:
        with self._lock:
            if self._waiting >= self.most_waiting:
                raise Overloaded(
                    f"{self._waiting} requests wait already. Try again later, or give the endpoint more replicas."
                )
            self._waiting += 1
        try:
            self._places.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty as error:
            raise DeadlineExceeded("The request got no turn in time. Give the endpoint more replicas.") from error
        finally:
            with self._lock:
                self._waiting -= 1


class MemoryBudget:
    """Bytes of request bodies that may be worked on at the same time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Hold room for a body; raise ``Overloaded`` when the others leave too little."""
        with self._lock:
            if self._taken and self._taken + size > self._most:
                raise Overloaded("The bodies of other requests take all the memory for such. Try again later.")
            self._taken += size
        try:
            yield
        finally:
            with self._lock:
                self._taken -= size


class LargeBodies:
    """Sees to it that bodies that come slowly never take the last of the threads that read requests."""

    def __init__(self, threads: int) -> None:
        self._places = threading.BoundedSemaphore(max(1, threads - 1))
        self._are_stuck = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold a place while a body is read; raise ``Overloaded`` when none gets free in a moment.

        Reading takes milliseconds unless clients are slow. Once a moment was not enough, nobody waits any more until one
        of the others has ended, so that the thread that is left serves small requests.
        """
        if not self._places.acquire(timeout=0 if self._are_stuck else _A_MOMENT_SECONDS):
            self._are_stuck = True
            raise Overloaded(
                "Too many large bodies come in slowly. Try again later, or send the rows in several requests."
            )
        try:
            yield
        finally:
            self._are_stuck = False
            self._places.release()
