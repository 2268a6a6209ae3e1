"""Stickiness in the real Envoy: the same key goes to the same revision, and a raised weight only adds keys."""

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_operator.api.endpoint import ModelEndpoint
from support.router_rig import RouterRig, an_endpoint
from support.routers import ModelServer, model_servers

BY_HEADER = an_endpoint(stickyBy={"header": "X-Customer-Id"})
BY_COOKIE = an_endpoint(stickyBy={"cookie": "customer"})
CUSTOMERS = [f"customer-{number}" for number in range(300)]


class Steady:
    """A router whose weights change, and the revision that answers each key."""

    def __init__(self, rig: RouterRig, servers: tuple[ModelServer, ...]) -> None:
        self.rig, self._servers = rig, servers

    def share(self, candidate: int, *, endpoint: ModelEndpoint = BY_HEADER) -> None:
        weights = {revision: weight for revision, weight in {8: candidate, 7: 100 - candidate}.items() if weight}
        self.rig.serve(endpoint, weights, self._servers)

    def answering(self, keys: Iterable[str], *, header: str = "x-customer-id", form: str = "{}") -> dict[str, str]:
        with self.rig.client() as client:
            return {key: client.ask({header: form.format(key)})[1]["x-model-revision"] for key in keys}

    def answering_without_key(self, requests: int) -> Counter[str]:
        with self.rig.client() as client:
            return Counter(client.ask()[1]["x-model-revision"] for _ in range(requests))


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steady]:
    rig = RouterRig(tmp_path_factory.mktemp("router"))
    with model_servers(ModelServer(7), ModelServer(8)) as servers:
        yield Steady(rig, servers)
    rig.router.stop()


keys = st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40), max_size=20)


@settings(max_examples=20, deadline=None)
@given(keys, st.integers(0, 100), st.integers(0, 100))
def test_any_key_stays_and_a_raised_weight_only_takes_keys_along(
    steady: Steady, customers: list[str], one: int, other: int
) -> None:
    lower, higher = sorted((one, other))
    steady.share(lower)
    before = steady.answering(customers)
    assert steady.answering(reversed(customers)) == before

    steady.share(higher)
    after = steady.answering(customers)

    assert all(after[key] == "8" for key in customers if before[key] == "8")


def test_keys_are_shared_out_by_the_weights_all_the_way_up(steady: Steady) -> None:
    with_candidate: set[str] = set()
    for weight in (0, 5, 25, 50, 75, 100):
        steady.share(weight)
        found = {key for key, revision in steady.answering(CUSTOMERS).items() if revision == "8"}
        assert with_candidate <= found
        # Four standard deviations of a share of 300 keys are at most 35 of them. The hash of a key is always the same.
        assert abs(len(found) - 3 * weight) <= 35
        with_candidate = found


def test_a_cookie_does_the_same_and_none_is_set(steady: Steady) -> None:
    steady.share(50, endpoint=BY_COOKIE)
    found = steady.answering(CUSTOMERS, header="cookie", form="theme=dark; customer={}; lang=en")

    assert steady.answering(CUSTOMERS, header="cookie", form="customer={}") == found
    assert set(found.values()) == {"7", "8"}
    with steady.rig.client() as client:
        assert "set-cookie" not in client.ask()[1]


def test_requests_without_the_key_are_shared_out_by_chance(steady: Steady) -> None:
    steady.share(50)

    assert set(steady.answering_without_key(100)) == {"7", "8"}
