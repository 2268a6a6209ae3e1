"""Variants in the real Envoy: their shares, and what their answers carry."""

import http.client
import json
import math
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_operator.manifests.routes import WHOLE_BODY_BYTES
from modelendpoint_operator.observation import Leg
from support.router_rig import RouterRig, an_endpoint
from support.routers import Exchange, ModelServer, model_servers, wait_until

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


def with_variants(**routing: object) -> ModelEndpoint:
    endpoint = an_endpoint(**routing)
    model = {"uri": "s3://models/churn.onnx"}
    variants = [
        {"name": "trees", "model": model, "weight": 10, "match": {"header": {"name": "X-Team", "exact": "risk 1"}}},
        {"name": "large", "model": model, "weight": 15},
    ]
    spec = {**endpoint.spec.model_dump(by_alias=True, mode="json"), "variants": variants}
    return replace(endpoint, spec=ModelEndpointSpec.model_validate(spec))


def answering(rig: RouterRig, requests: int = 30, **headers: str) -> Counter[str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with rig.client() as client:
        return Counter(client.ask(sent)[1].get("x-model-revision", "none") for _ in range(requests))


def test_requests_that_a_variant_asks_for_go_to_it_and_others_by_chance(
    rig: tuple[RouterRig, tuple[ModelServer, ...]],
) -> None:
    router, servers = rig
    router.serve_legs(with_variants(), [STABLE, Leg(revision=9, weight=0, arm="trees")], servers)

    assert answering(router, x_team="risk 1") == {"9": 30}
    assert answering(router, x_team="risk 12") == {"7": 30}
    assert answering(router) == {"7": 30}


def test_requests_of_a_variant_without_pods_go_to_the_main_model(
    rig: tuple[RouterRig, tuple[ModelServer, ...]],
) -> None:
    router, servers = rig
    router.serve_legs(with_variants(), [STABLE, LARGE], servers)

    assert set(answering(router, x_team="risk 1")) <= {"7", "10"}


def test_a_pinned_request_goes_where_it_says_or_nowhere(rig: tuple[RouterRig, tuple[ModelServer, ...]]) -> None:
    router, servers = rig
    router.serve_legs(with_variants(allowPinning=True), [CANDIDATE, STABLE, TREES, LARGE], servers)

    assert answering(router, x_model_variant="large") == {"10": 30}
    assert answering(router, x_model_variant="large", x_team="risk 1") == {"10": 30}
    assert answering(router, x_model_revision="8") == {"8": 30}
    assert answering(router, x_model_revision="9") == {"9": 30}
    status, headers, body = router.ask({"x-model-variant": "gone"})
    assert (status, headers["retry-after"]) == (503, "5")
    assert json.loads(body)["error"].startswith("Nothing by the name in the header x-model-variant can answer")
    assert router.ask({"x-model-revision": "6"})[0] == 503


def test_a_pin_means_nothing_where_it_is_not_allowed(rig: tuple[RouterRig, tuple[ModelServer, ...]]) -> None:
    router, servers = rig
    router.serve_legs(with_variants(), [STABLE, Leg(revision=9, weight=0, arm="trees")], servers)

    assert answering(router, x_model_variant="trees") == {"7": 30}
    assert answering(router, x_model_revision="9") == {"7": 30}


def test_large_bodies_are_matched_and_pinned_too(rig: tuple[RouterRig, tuple[ModelServer, ...]]) -> None:
    router, servers = rig
    router.serve_legs(with_variants(allowPinning=True), [CANDIDATE, STABLE, TREES, LARGE], servers)
    body = b"x" * (WHOLE_BODY_BYTES + 1)
    for header, value in (("x-team", "risk 1"), ("x-model-variant", "trees"), ("x-model-revision", "9")):
        connection = http.client.HTTPConnection("127.0.0.1", router.router.traffic_port, timeout=10)
        connection.request("POST", "/predict", body, {header: value})
        assert connection.getresponse().getheader("x-model-variant") == "trees"
        connection.close()


# Shadows.

NEXT = Leg(revision=8, weight=100, arm="next", copies=True)


def test_a_shadow_gets_a_copy_of_every_request_with_its_id_and_its_answers_reach_nobody(
    rig: tuple[RouterRig, tuple[ModelServer, ...]],
) -> None:
    router, servers = rig
    router.serve_legs(an_endpoint(), [Leg(revision=7, weight=100), NEXT], servers)
    stable, shadow = servers[0], servers[1]
    stable.requests.clear()
    shadow.requests.clear()

    assert shares(router, 100) == {("7", ""): 100}
    wait_until(lambda: len(shadow.requests) == 100)
    ids, hosts, bodies = (
        {(request[1][name]) for request in stable.requests} for name in ("x-request-id", "host", "content-length")
    )
    copied = [{request[1][name] for request in shadow.requests} for name in ("x-request-id", "host", "content-length")]
    assert copied == [ids, hosts, bodies]


def test_a_shadow_with_a_percentage_gets_as_many_copies(rig: tuple[RouterRig, tuple[ModelServer, ...]]) -> None:
    router, servers = rig
    router.serve_legs(an_endpoint(), [Leg(revision=7, weight=100), replace(NEXT, weight=20)], servers)
    servers[1].requests.clear()

    shares(router, 2000)

    # Five standard deviations of 2000 draws with a chance of 20 %.
    wait_until(lambda: abs(len(servers[1].requests) - 400) <= 90)


def test_a_shadow_that_fails_or_hangs_is_not_noticed_by_clients(rig: tuple[RouterRig, tuple[ModelServer, ...]]) -> None:
    router, servers = rig
    hanging = threading.Event()
    shadow = servers[1]
    router.serve_legs(an_endpoint(), [Leg(revision=7, weight=100), NEXT], servers)
    try:
        shadow.behaviour = Exchange.reset
        assert shares(router, 200) == {("7", ""): 200}
        shadow.behaviour = lambda exchange: exchange.answer(500)
        assert shares(router, 200) == {("7", ""): 200}
        shadow.behaviour = lambda exchange: (hanging.wait(20), exchange.answer())[1]
        shadow.requests.clear()
        before = router.status().clusters[8]
        assert shares(router, 500) == {("7", ""): 500}
        # More than 64 copies are never under way, and 16 wait for a connection at most.
        assert len(shadow.requests) <= 80
        wait_until(lambda: router.status().clusters[8].dropped - before.dropped >= 500 - 80)
        counted = router.status().clusters[8]
        # Envoy counts what it drops as answered by 503, so results have to take it off.
        assert counted.answers_5xx - before.answers_5xx >= counted.dropped - before.dropped
    finally:
        hanging.set()
        shadow.behaviour = Exchange.answer
