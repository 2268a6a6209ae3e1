"""A queue of keys: each waits until it is due, stands in the queue once, and is worked on by one worker at a time.

Modelled on client-go's rate limiting work queue. What the key stands for must not be here.
"""

import heapq
import threading
import time
from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_DELAY = timedelta(milliseconds=200)
LAST_DELAY = timedelta(seconds=15)
"""Longest back-off: after an outage of the API server, work goes on within this time."""


class WorkQueue(Generic[Key]):
    """Keys that are due now or later. Safe to use from all threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = 0
        self._in_work: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._closed = False

    def __len__(self) -> int:
        """Count the keys that wait."""
        with self._changed:
            return len(self._due)

    def backlog(self) -> tuple[int, float]:
        """Tell how many keys are due and nobody works on them, and for how many seconds the first of them has been."""
        with self._changed:
            now = self._clock()
            late = [now - due for key, due in self._due.items() if due <= now and key not in self._in_work]
        return len(late), max(late, default=0.0)

    def add(self, key: Key, *, after: timedelta = timedelta(0)) -> None:
        """Put a key in; of two times the earlier one counts."""
        with self._changed:
            self._put(key, self._clock() + after.total_seconds())

    def take(self, *, timeout: float | None = None) -> Key | None:
        """Wait for a key that is due and hand it out; ``done`` or ``failed`` gives it back.

        None when the queue was closed, or nothing was due within ``timeout`` seconds.
        """
        deadline = None if timeout is None else self._clock() + timeout
        with self._changed:
            while not self._closed:
                now = self._clock()
                wait = self._next_due() - now
                if wait <= 0:
                    return self._hand_out()
                if deadline is not None:
                    if now >= deadline:
                        return None
                    wait = min(wait, deadline - now)
                self._changed.wait(None if wait == float("inf") else wait)
            return None

    def done(self, key: Key, *, again_after: timedelta | None = None) -> None:
        """Give a key back after good work, and say when to look again."""
        with self._changed:
            self._failures.pop(key, None)
            self._give_back(key, None if again_after is None else again_after.total_seconds())

    def failed(self, key: Key) -> None:
        """Give a key back after bad work; it comes again, later after each failure."""
        with self._changed:
            count = self._failures.get(key, 0)
            self._failures[key] = count + 1
            delay = min(FIRST_DELAY.total_seconds() * 2 ** min(count, 10), LAST_DELAY.total_seconds())
            self._give_back(key, delay)

    def close(self) -> None:
        """Let everybody who waits go home."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _put(self, key: Key, due: float) -> None:
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, key))
        self._changed.notify()

    def _next_due(self) -> float:
        """Say when the next key that nobody works on is due; drop entries that an earlier time has replaced."""
        waiting = []
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)
            elif key in self._in_work:
                waiting.append(heapq.heappop(self._heap))
            else:
                break
        found = self._heap[0][0] if self._heap else float("inf")
        for entry in waiting:
            heapq.heappush(self._heap, entry)
        return found

    def _hand_out(self) -> Key:
        aside = []
        while self._heap[0][2] in self._in_work:
            aside.append(heapq.heappop(self._heap))
        _, _, key = heapq.heappop(self._heap)
        for entry in aside:
            heapq.heappush(self._heap, entry)
        del self._due[key]
        self._in_work.add(key)
        return key

    def _give_back(self, key: Key, delay: float | None) -> None:
        self._in_work.discard(key)
        if delay is not None:
            self._put(key, self._clock() + delay)
        self._changed.notify()
