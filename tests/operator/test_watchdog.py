"""The watchdog over the watch."""

import pytest

from modelendpoint_operator.watchdog import PATIENCE_SECONDS, Watchdog
from support.clocks import Clock

CHURN = ("shop", "churn")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watchdog(clock: Clock) -> Watchdog[tuple[str, str]]:
    return Watchdog(clock=clock)


def test_all_is_well_as_long_as_the_watch_tells_what_the_list_shows(
    watchdog: Watchdog[tuple[str, str]], clock: Clock
) -> None:
    watchdog.heard(CHURN, "7")
    watchdog.listed({CHURN: "7"})
    clock.now += 10 * PATIENCE_SECONDS

    assert not watchdog.is_silent()


def test_a_change_that_is_not_told_of_for_too_long_means_silence(
    watchdog: Watchdog[tuple[str, str]], clock: Clock
) -> None:
    watchdog.heard(CHURN, "7")
    watchdog.listed({CHURN: "8"})
    clock.now += PATIENCE_SECONDS
    assert not watchdog.is_silent()

    watchdog.listed({CHURN: "8"})
    clock.now += 1
    assert watchdog.is_silent()


def test_an_endpoint_that_was_never_told_of_means_silence_too(
    watchdog: Watchdog[tuple[str, str]], clock: Clock
) -> None:
    watchdog.listed({CHURN: "1"})
    clock.now += PATIENCE_SECONDS + 1

    assert watchdog.is_silent()


def test_a_late_event_ends_the_alarm(watchdog: Watchdog[tuple[str, str]], clock: Clock) -> None:
    watchdog.listed({CHURN: "1"})
    clock.now += PATIENCE_SECONDS + 1
    watchdog.heard(CHURN, "1")

    assert not watchdog.is_silent()


def test_a_deleted_endpoint_is_not_waited_for(watchdog: Watchdog[tuple[str, str]], clock: Clock) -> None:
    watchdog.listed({CHURN: "1"})
    watchdog.heard(CHURN, None)
    watchdog.listed({})
    clock.now += PATIENCE_SECONDS + 1

    assert not watchdog.is_silent()


def test_an_endpoint_that_changes_with_every_list_starts_the_time_anew(
    watchdog: Watchdog[tuple[str, str]], clock: Clock
) -> None:
    for version in range(10):
        watchdog.listed({CHURN: str(version)})
        clock.now += PATIENCE_SECONDS - 1

    assert not watchdog.is_silent()
