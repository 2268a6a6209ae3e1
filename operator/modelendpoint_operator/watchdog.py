"""Notices a watch that went silent: an object of ours was changed, and nobody told us for too long."""

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

PATIENCE_SECONDS = 120
"""A change that the watch has not told of after this time means that it never will."""


class Watchdog(Generic[Key]):
    """Compares what the watch told with what a list shows. Safe to use from all threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: dict[Key, str] = {}
        self._missing: dict[Key, tuple[str, float]] = {}

    def heard(self, key: Key, version: str | None) -> None:
        """Take note of a watch event; None for an object that was deleted."""
        with self._lock:
            self._missing.pop(key, None)
            if version is None:
                self._heard.pop(key, None)
            else:
                self._heard[key] = version

    def listed(self, versions: Mapping[Key, str]) -> None:
        """Take note of a full list of objects."""
        now = self._clock()
        with self._lock:
            untold = {key: version for key, version in versions.items() if self._heard.get(key) != version}
            self._missing = {
                key: self._missing[key] if self._missing.get(key, ("", 0))[0] == version else (version, now)
                for key, version in untold.items()
            }

    def is_silent(self) -> bool:
        """Say whether some change has been missing for too long."""
        now = self._clock()
        with self._lock:
            return any(now - since > PATIENCE_SECONDS for _, since in self._missing.values())
