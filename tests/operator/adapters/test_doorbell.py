"""Who is called when a request waits at a router of an endpoint that sleeps."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelendpoint_operator.adapters.doorbell import Doorbell


class Routers:
    """Routers by their addresses, and what they count; None for one that does not answer."""

    def __init__(self, **counts: int | None) -> None:
        self.counts = counts
        self.asked = 0

    def count_knocks(self, address: str) -> int | None:
        self.asked += 1
        return self.counts[address]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


class Rig:
    def __init__(self, pool: ThreadPoolExecutor, **counts: int | None) -> None:
        self.routers = Routers(**counts)
        self.rung: list[str] = []
        self.doorbell = Doorbell(
            self.routers, lambda namespace, name: self.rung.append(f"{namespace}/{name}"), pool=pool
        )

    def look(self) -> list[str]:
        """Look once, and tell who was called."""
        self.rung.clear()
        self.doorbell.look()
        return sorted(self.rung)


def test_it_rings_at_the_first_look_and_whenever_a_router_has_counted_more(pool: ThreadPoolExecutor) -> None:
    rig = Rig(pool, a=0, b=7, c=0)
    rig.doorbell.listen("shop", "churn", ["a", "b"])
    rig.doorbell.listen("shop", "fraud", ["c"])
    assert set(rig.look()) == {"shop/churn", "shop/fraud"}
    assert rig.look() == []

    rig.routers.counts["b"] = 8
    assert rig.look() == ["shop/churn"]
    assert rig.look() == []


def test_a_router_that_does_not_answer_or_started_anew_loses_no_ring(pool: ThreadPoolExecutor) -> None:
    rig = Rig(pool, a=5)
    rig.doorbell.listen("shop", "churn", ["a"])
    rig.look()
    rig.routers.counts["a"] = None
    assert rig.look() == []

    rig.routers.counts["a"] = 1
    assert rig.look() == ["shop/churn"]


def test_a_pass_that_says_the_same_again_forgets_nothing(pool: ThreadPoolExecutor) -> None:
    rig = Rig(pool, a=5, b=0)
    rig.doorbell.listen("shop", "churn", ["a"])
    rig.look()
    rig.doorbell.listen("shop", "churn", ["a", "b"])
    rig.routers.counts["b"] = None

    assert rig.look() == []


def test_nobody_is_asked_for_an_endpoint_that_is_awake_or_gone(pool: ThreadPoolExecutor) -> None:
    rig = Rig(pool, a=5)
    rig.doorbell.listen("shop", "churn", ["a"])
    rig.doorbell.listen("shop", "churn", [])

    assert (rig.look(), rig.routers.asked) == ([], 0)
