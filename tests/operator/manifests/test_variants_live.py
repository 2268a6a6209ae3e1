"""Variants in the real Envoy: their shares, and what their answers carry."""

import math
from collections import Counter
from collections.abc import Iterator

import pytest

from modelendpoint_operator.observation import Leg
from support.router_rig import RouterRig, an_endpoint
from support.routers import ModelServer, model_servers

CANDIDATE, STABLE = Leg(revision=8, weight=20), Leg(revision=7, weight=80)
TREES, LARGE = Leg(revision=9, weight=10, arm="trees"), Leg(revision=10, weight=15, arm="large")
REQUESTS = 4000


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RouterRig, tuple[ModelServer, ...]]]:
    rig = RouterRig(tmp_path_factory.mktemp("router"))
    with model_servers(*(ModelServer(revision) for revision in (7, 8, 9, 10))) as servers:
        yield rig, servers
    rig.router.stop()


def shares(rig: RouterRig, requests: int) -> Counter[tuple[str, str]]:
    """Count the answers by revision and variant."""
    with rig.client() as client:
        answers = [client.ask() for _ in range(requests)]
    assert {status for status, *_ in answers} == {200}
    return Counter((headers["x-model-revision"], headers.get("x-model-variant", "")) for _, headers, _ in answers)


def test_candidate_stable_and_variants_have_their_shares_of_all_requests(
    rig: tuple[RouterRig, tuple[ModelServer, ...]],
) -> None:
    router, servers = rig
    router.serve_legs(an_endpoint(), [CANDIDATE, STABLE, TREES, LARGE], servers)
    # The variants leave 75 %, of which the candidate has a fifth.
    wanted = {("8", ""): 0.15, ("7", ""): 0.60, ("9", "trees"): 0.10, ("10", "large"): 0.15}

    def all_are_right() -> bool:
        counted = shares(router, REQUESTS)
        assert counted.keys() == wanted.keys()
        # 99.97 % of one share's counts lie within, so 99.9 % of all four.
        limits = {key: 3.62 * math.sqrt(REQUESTS * share * (1 - share)) for key, share in wanted.items()}
        return all(abs(counted[key] - REQUESTS * wanted[key]) <= limits[key] for key in wanted)

    # One try in a thousand falls outside by chance; two in a row do so once in a million.
    assert all_are_right() or all_are_right()


def test_variants_can_take_everything(rig: tuple[RouterRig, tuple[ModelServer, ...]]) -> None:
    router, servers = rig
    everything = Leg(revision=9, weight=100, arm="trees")
    router.serve_legs(an_endpoint(), [CANDIDATE, STABLE, everything], servers)

    assert shares(router, 50) == {("9", "trees"): 50}


def test_a_caller_of_a_variant_stays_when_the_main_models_shares_move(
    rig: tuple[RouterRig, tuple[ModelServer, ...]],
) -> None:
    router, servers = rig
    endpoint, customers = an_endpoint(stickyBy={"header": "x-customer-id"}), [f"customer-{n}" for n in range(200)]

    def variants_of(*legs: Leg) -> dict[str, str]:
        router.serve_legs(endpoint, legs, servers)
        with router.client() as client:
            answers = {customer: client.ask({"x-customer-id": customer})[1] for customer in customers}
        return {
            customer: headers["x-model-variant"]
            for customer, headers in answers.items()
            if "x-model-variant" in headers
        }

    before = variants_of(CANDIDATE, STABLE, TREES, LARGE)
    assert set(before.values()) == {"trees", "large"}
    assert variants_of(Leg(revision=8, weight=100), TREES, LARGE) == before
    assert variants_of(Leg(revision=7, weight=100), TREES, LARGE) == before


def test_a_raised_weight_of_a_variant_only_adds_callers(rig: tuple[RouterRig, tuple[ModelServer, ...]]) -> None:
    router, servers = rig
    endpoint, customers = an_endpoint(stickyBy={"header": "x-customer-id"}), [f"customer-{n}" for n in range(200)]
    had: set[str] = set()
    for weight in (5, 20, 60, 100):
        router.serve_legs(endpoint, [CANDIDATE, STABLE, Leg(revision=9, weight=weight, arm="trees")], servers)
        with router.client() as client:
            has = {name for name in customers if client.ask({"x-customer-id": name})[1]["x-model-revision"] == "9"}
        assert had <= has
        had = has
    assert len(had) == len(customers)
