"""Runs are stopped at their time, and no thread outlives its watchdog."""

import threading
import time
from collections.abc import Callable

from modelendpoint_server.model import Cancel
from modelendpoint_server.watchdog import Watchdog


def becomes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "watchdog"}


def test_a_run_is_stopped_at_its_deadline_and_no_other() -> None:
    watchdog, late, early, forgotten = Watchdog(), Cancel(), Cancel(), Cancel()
    now = time.monotonic()
    watchdog.watch(late, now + 1000)
    watchdog.watch(forgotten, now + 0.1)
    watchdog.forget(forgotten)
    watchdog.watch(early, now + 0.1)
    assert becomes_true(lambda: early.is_stopped)
    assert time.monotonic() >= now + 0.1
    assert not late.is_stopped
    assert not forgotten.is_stopped


def test_the_thread_ends_when_nobody_holds_the_watchdog() -> None:
    before = threads()
    watchdog = Watchdog()
    (own,) = threads() - before
    watchdog.watch(Cancel(), time.monotonic() + 1000)
    del watchdog
    assert becomes_true(lambda: not own.is_alive())
