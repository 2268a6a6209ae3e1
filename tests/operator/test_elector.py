"""The Lease: who is the active operator, on clocks that a test turns."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelendpoint_operator.elector import LEASE_SECONDS, RENEW_DEADLINE_SECONDS, RETRY_SECONDS, Elector
from modelendpoint_operator.errors import ClusterUnavailable

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class LeaseInMemory:
    """The one Lease, with the API server's rule that only what was read may be replaced."""

    def __init__(self) -> None:
        self.body: dict[str, Any] | None = None
        self.is_down = False
        self.before_write: Callable[[], None] = lambda: None

    def read(self) -> dict[str, Any] | None:
        self._answer()
        return copy.deepcopy(self.body)

    def create(self, spec: dict[str, Any]) -> bool:
        self._answer()
        self.before_write()
        if self.body is not None:
            return False
        self.body = {"metadata": {"resourceVersion": "1"}, "spec": dict(spec)}
        return True

    def replace(self, lease: dict[str, Any], spec: dict[str, Any]) -> bool:
        self._answer()
        self.before_write()
        assert self.body is not None
        version = self.body["metadata"]["resourceVersion"]
        if lease["metadata"]["resourceVersion"] != version:
            return False
        self.body = {"metadata": {"resourceVersion": str(int(version) + 1)}, "spec": dict(spec)}
        return True

    @property
    def holder(self) -> str:
        return str(self.body["spec"]["holderIdentity"]) if self.body else ""

    def _answer(self) -> None:
        if self.is_down:
            raise ClusterUnavailable("connection refused")


class Pod:
    """One operator pod. Its threads are played: ``win`` and ``keep`` are stopped at their first wait."""

    def __init__(self, lease: LeaseInMemory, identity: str, *, clock_is_off_by: timedelta = timedelta(0)) -> None:
        self.seconds = 1000.0
        self.identity = identity
        self.lost = 0
        self.offset = clock_is_off_by
        self.elector = Elector(lease, identity=identity, now=self.now, clock=lambda: self.seconds)
        self.waits: list[float] = []

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.seconds) + self.offset

    def win(self, *, for_seconds: float = 0) -> bool:
        """Try to win for some time; say whether it did."""
        return self._played(lambda: self.elector.win(), for_seconds=for_seconds)

    def keep(self, *, for_seconds: float) -> bool:
        """Renew for some time; say whether the Lease is still held."""
        self._played(lambda: self.elector.keep(lost=self._lose), for_seconds=for_seconds)
        return not self.lost

    def _lose(self) -> None:
        self.lost += 1

    def _played(self, call: Callable[[], bool | None], *, for_seconds: float) -> bool:
        end = self.seconds + for_seconds
        stop = PlayedEvent(self, end)
        self.elector._stop = stop  # type: ignore[assignment]
        return bool(call())


class PlayedEvent:
    """An event whose ``wait`` turns the pod's clock, and which is set when the time is over."""

    def __init__(self, pod: Pod, end: float) -> None:
        self._pod = pod
        self._end = end

    def is_set(self) -> bool:
        return self._pod.seconds > self._end

    def wait(self, seconds: float) -> bool:
        self._pod.seconds += seconds
        return self.is_set()


@pytest.fixture
def lease() -> LeaseInMemory:
    return LeaseInMemory()


def test_the_first_wins_at_once_and_the_second_waits(lease: LeaseInMemory) -> None:
    first, second = Pod(lease, "first"), Pod(lease, "second")

    assert first.win()
    assert not second.win()
    assert lease.holder == "first"


def test_a_holder_that_renews_is_never_replaced(lease: LeaseInMemory) -> None:
    first, second = Pod(lease, "first"), Pod(lease, "second")
    first.win()
    for _ in range(60):
        assert first.keep(for_seconds=RETRY_SECONDS)
        assert not second.win(for_seconds=RETRY_SECONDS)


def test_a_silent_holder_is_replaced_after_its_time_and_not_before(lease: LeaseInMemory) -> None:
    first, second = Pod(lease, "first"), Pod(lease, "second")
    first.win()
    assert not second.win(for_seconds=LEASE_SECONDS - 1)
    since = second.seconds

    assert second.win(for_seconds=10)
    assert second.seconds - since <= 2 * RETRY_SECONDS + 1
    assert lease.holder == "second"
    assert lease.body and lease.body["spec"]["leaseTransitions"] == 1


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_wrong_clock_takes_the_lease_from_nobody(lease: LeaseInMemory, hours: int) -> None:
    first = Pod(lease, "first")
    second = Pod(lease, "second", clock_is_off_by=timedelta(hours=hours))
    first.win()
    for _ in range(30):
        first.keep(for_seconds=RETRY_SECONDS)
        assert not second.win(for_seconds=RETRY_SECONDS)


def test_a_holder_stops_before_its_lease_can_be_taken(lease: LeaseInMemory) -> None:
    first, second = Pod(lease, "first"), Pod(lease, "second")
    first.win()
    second.win()
    lease.is_down = True
    assert not first.keep(for_seconds=60)
    stopped_after = first.seconds - 1000.0

    lease.is_down = False
    assert RENEW_DEADLINE_SECONDS < stopped_after < LEASE_SECONDS
    assert not second.win(for_seconds=stopped_after)


def test_a_short_outage_is_outlived(lease: LeaseInMemory) -> None:
    first = Pod(lease, "first")
    first.win()
    lease.is_down = True
    assert first.keep(for_seconds=RENEW_DEADLINE_SECONDS - RETRY_SECONDS)

    lease.is_down = False
    assert first.keep(for_seconds=20)
    assert lease.holder == "first"


def test_the_lease_is_won_when_the_api_server_comes_back(lease: LeaseInMemory) -> None:
    first = Pod(lease, "first")
    lease.is_down = True
    assert not first.win(for_seconds=10)

    lease.is_down = False
    assert first.win()


def test_a_released_lease_is_taken_at_once(lease: LeaseInMemory) -> None:
    first, second = Pod(lease, "first"), Pod(lease, "second")
    first.win()
    assert not second.win()
    first.elector.release()

    assert lease.holder == ""
    assert second.win()


def test_nobody_releases_the_lease_of_another(lease: LeaseInMemory) -> None:
    first, second = Pod(lease, "first"), Pod(lease, "second")
    first.win()
    second.elector.release()

    assert lease.holder == "first"


def test_release_without_an_api_server_ends_quietly(lease: LeaseInMemory) -> None:
    first = Pod(lease, "first")
    first.win()
    lease.is_down = True

    first.elector.release()


def test_of_two_that_write_at_once_one_wins(lease: LeaseInMemory) -> None:
    first, second = Pod(lease, "first"), Pod(lease, "second")
    results: list[bool] = []

    def second_is_quicker() -> None:
        lease.before_write = lambda: None
        results.append(second.win())

    lease.before_write = second_is_quicker
    assert not first.win()
    assert results == [True]
    assert lease.holder == "second"


def test_one_that_was_told_to_stop_wins_nothing(lease: LeaseInMemory) -> None:
    elector = Elector(lease, identity="first", now=lambda: EPOCH)
    elector.stop()

    assert not elector.win()
    assert lease.body is None


def test_the_lease_has_the_fields_that_other_tools_read(lease: LeaseInMemory) -> None:
    Pod(lease, "first").win()

    assert lease.body and lease.body["spec"] == {
        "holderIdentity": "first",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:16:40.000000Z",
        "renewTime": "2026-01-01T00:16:40.000000Z",
        "leaseTransitions": 0,
    }
