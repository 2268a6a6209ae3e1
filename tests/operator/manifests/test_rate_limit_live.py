"""Limits of requests in the real Envoy: each caller has his own, whatever he asks for, and nobody else pays for him."""

import hashlib
import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.rate_limit import MOST_BUCKETS, build_rate_limit_filters
from support.router_rig import RouterRig, an_endpoint, traffic
from support.routers import ModelServer, wait_until
from support.tokens import AUDIENCE, ISSUER, SigningKey, key_set

LONG = 3600
"""Seconds in which a test's few requests add nothing that counts to a bucket."""
KEYS = {"apiKeys": {"secretRef": {"name": "churn-keys"}}}
TOKENS = {"jwt": {"issuer": ISSUER, "audiences": [AUDIENCE], "jwksConfigMapRef": {"name": "churn-issuer"}}}


def limited(requests: int, *, seconds: int = LONG, routers: int = 1, auth: Any = None, **by: str) -> ModelEndpoint:
    limit = {"requests": requests, "perSeconds": seconds, **by}
    return an_endpoint(replicas=routers, rateLimit=limit, **({"auth": auth} if auth else {}))


class Limited:
    """A router with a limit in front of two revisions with one server each."""

    def __init__(self, folder: Path) -> None:
        self.rig = RouterRig(folder)
        self.servers = [ModelServer(7), ModelServer(8)]

    def serve(self, endpoint: ModelEndpoint, weights: Mapping[int, int] | None = None) -> None:
        self.rig.serve(endpoint, weights or {7: 100}, self.servers)

    def statuses(self, requests: int, headers: Mapping[str, str] | None = None, **request: str) -> Counter[int]:
        return Counter(self.rig.ask(headers, **request)[0] for _ in range(requests))

    def answers_of_servers(self) -> int:
        return sum(len(server.requests) for server in self.servers)

    def stop(self) -> None:
        self.rig.router.stop()
        for server in self.servers:
            server.die()


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Limited]:
    router = Limited(tmp_path)
    yield router
    router.stop()


def customer(name: str) -> dict[str, str]:
    return {"x-customer-id": name}


def api_key(key: str) -> dict[str, str]:
    return {"x-api-key": key}


def test_a_caller_gets_what_is_his_and_others_do_not_pay_for_it(router: Limited) -> None:
    router.serve(limited(5, by="Header", header="X-Customer-Id"))

    assert router.statuses(20, customer("a")) == {200: 5, 429: 15}
    assert router.statuses(5, customer("b")) == {200: 5}
    assert router.statuses(6, customer("A")) == {200: 5, 429: 1}
    assert router.statuses(6, {"x-customer-id": "b", "x-other": "c"}) == {429: 6}


def test_requests_without_the_header_are_counted_together(router: Limited) -> None:
    router.serve(limited(3, by="Header", header="x-customer-id"))

    assert router.statuses(2) + router.statuses(2, {"x-other": "a"}) == {200: 3, 429: 1}
    assert router.statuses(3, customer("a")) == {200: 3}


def test_every_path_and_method_counts(router: Limited) -> None:
    router.serve(limited(3, by="Header", header="x-customer-id"))
    asked = [("/predict", "POST"), ("/v2/models/churn", "GET"), ("/v1/models/churn:predict?a=b", "POST")]
    assert [router.rig.ask(customer("a"), path=path, method=method)[0] for path, method in asked] == [200] * 3

    for path, method in [*asked, ("/", "OPTIONS"), ("/v2/health/ready", "HEAD")]:
        assert router.rig.ask(customer("a"), path=path, method=method)[0] == 429


def test_a_refusal_says_when_to_come_again_in_the_form_of_all_errors(router: Limited) -> None:
    router.serve(limited(2, seconds=600))
    first = router.rig.ask()
    router.rig.ask()

    status, headers, body = router.rig.ask()

    assert (first[0], first[1]["x-ratelimit-limit"], first[1]["x-ratelimit-remaining"]) == (200, "2", "1")
    assert "retry-after" not in first[1]
    assert (status, headers["retry-after"], headers["content-type"]) == (429, "300", "application/json")
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("2", "0")
    assert 290 <= int(headers["x-ratelimit-reset"]) <= 300
    error = json.loads(body)
    assert error["code"] == "RateLimited"
    assert "spec.routing.rateLimit" in error["error"] and "retry-after" in error["error"]


def test_room_comes_back_with_time(router: Limited) -> None:
    router.serve(limited(1, seconds=2))

    wait_until(lambda: router.rig.ask()[0] == 429)
    wait_until(lambda: router.rig.ask()[0] == 200)


def test_refused_requests_reach_no_server_and_count_for_no_revision(router: Limited) -> None:
    router.serve(limited(5))

    assert router.statuses(50) == {200: 5, 429: 45}

    assert router.answers_of_servers() == 5
    counted = router.rig.status().clusters[7]
    assert (counted.answers, counted.answers_4xx, counted.answers_5xx) == (5, 0, 0)
    told = [router.rig.counter(f"envoy_http_local_rate_limit_{name}") for name in ("rate_limited", "ok")]
    assert told == [45, 5]


def test_many_connections_of_one_caller_have_one_limit(router: Limited) -> None:
    router.serve(limited(100, by="Header", header="x-customer-id"))
    found: Counter[int] = Counter()

    def ask() -> None:
        with router.rig.client() as client:
            found.update(client.ask(customer("a"))[0] for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {200: 100, 429: 300}


def test_a_caller_who_is_silent_while_many_others_ask_has_a_full_bucket_again(router: Limited) -> None:
    router.serve(limited(1, by="Header", header="x-customer-id"))
    with router.rig.client() as client:
        assert [client.ask(customer("first"))[0] for _ in range(2)] == [200, 429]
        others = Counter(client.ask(customer(f"{number}" + "x" * 1000))[0] for number in range(MOST_BUCKETS))

        assert others == {200: MOST_BUCKETS}
        assert client.ask(customer("first"))[0] == 200


def test_all_keys_of_a_client_have_one_limit_and_wrong_keys_use_up_nobodys(router: Limited) -> None:
    keys = {"one": "shop", "two": "shop", "three": "partner"}
    lines = "\n".join(f"{hashlib.sha256(key.encode()).hexdigest()}  {client}" for key, client in keys.items())
    router.rig.router.mount(names.KEYS_DIR, {names.KEYS_KEY: lines})
    router.serve(limited(4, auth=KEYS, by="Client"))

    assert router.statuses(20, api_key("wrong")) == {401: 20}
    assert router.statuses(3, api_key("one")) == {200: 3}
    assert router.statuses(3, api_key("two")) == {200: 1, 429: 2}
    assert router.statuses(4, api_key("three")) == {200: 4}
    assert router.statuses(1, api_key("one")) == {429: 1}


def test_all_tokens_of_a_subject_have_one_limit(router: Limited, tmp_path: Path) -> None:
    signing = SigningKey(tmp_path, "first")
    router.rig.router.mount(names.JWKS_DIR, {names.JWKS_KEY: key_set(signing)})
    router.serve(limited(4, auth=TOKENS, by="Client"))

    def bearer(**claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {signing.token(**claims)}"}

    wait_until(lambda: router.rig.ask(bearer(sub="warm-up"))[0] == 200)
    assert router.statuses(3, bearer(sub="shop")) == {200: 3}
    assert router.statuses(3, bearer(sub="shop", jti="2")) == {200: 1, 429: 2}
    assert router.statuses(4, bearer(sub="partner")) == {200: 4}
    assert router.statuses(3, bearer(sub=None)) + router.statuses(3, bearer(sub=None)) == {200: 4, 429: 2}


def test_every_address_has_its_limit_and_none_can_be_made_up(router: Limited) -> None:
    router.serve(limited(4, by="Address"))

    def ask_from(address: str, headers: Mapping[str, str]) -> int:
        port = router.rig.router.traffic_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(address, 0))
        connection.request("POST", "/predict", b"{}", dict(headers))
        status = connection.getresponse().status
        connection.close()
        return status

    made_up = [{}, {"x-forwarded-for": "10.0.0.1"}, {"x-forwarded-for": "10.0.0.2", "x-real-ip": "10.0.0.3"}]
    made_up += [{"forwarded": "for=10.0.0.4"}, {"x-envoy-external-address": "10.0.0.5"}]
    assert [ask_from("127.0.0.1", headers) for headers in made_up] == [200, 200, 200, 200, 429]
    assert [ask_from("127.0.0.2", {}) for _ in range(5)] == [200, 200, 200, 200, 429]


def test_a_new_weight_fills_no_bucket(router: Limited) -> None:
    endpoint = limited(5, by="Header", header="x-customer-id")
    router.serve(endpoint, {7: 100})
    assert router.statuses(6, customer("a")) == {200: 5, 429: 1}

    router.serve(endpoint, {8: 50, 7: 50})

    assert router.statuses(5, customer("a")) == {429: 5}


def test_limits_change_while_requests_run(router: Limited) -> None:
    router.serve(an_endpoint())
    with traffic(router.rig) as running:
        for requests in (900_000, 1_000_000):
            router.serve(limited(requests))
            running.wait_for_more(50)
            assert router.rig.ask()[1]["x-ratelimit-limit"] == str(requests)
        router.serve(an_endpoint())
        running.wait_for_more(50)

    assert running.counted.keys() == {200}


def test_a_kept_connection_has_the_new_limit_after_one_more_answer(router: Limited) -> None:
    router.serve(limited(1_000_000))
    with router.rig.client() as client:
        assert client.ask()[0] == 200
        router.serve(limited(1))
        last, first, second = client.ask(), client.ask(), client.ask()

    assert (last[0], last[1]["connection"], last[1]["x-ratelimit-limit"]) == (200, "close", "1000000")
    assert [first[0], second[0]] == [200, 429]


def test_a_page_may_read_what_is_left(router: Limited) -> None:
    page = {"origin": "https://app.example.com"}
    router.serve(an_endpoint(rateLimit={"requests": 1, "perSeconds": LONG}, cors={"allowOrigins": [page["origin"]]}))
    question = {**page, "access-control-request-method": "POST"}

    assert router.statuses(5, question, method="OPTIONS") == {200: 5}
    assert router.rig.ask(page)[0] == 200
    status, headers, _ = router.rig.ask(page)

    assert (status, headers["access-control-allow-origin"]) == (429, page["origin"])
    readable = headers["access-control-expose-headers"].split(", ")
    assert {"retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= set(readable)


@given(st.integers(1, 1_000_000), st.integers(1, 3600), st.integers(1, 50))
def test_all_routers_together_grant_what_the_spec_says(requests: int, seconds: int, routers: int) -> None:
    (limit,) = build_rate_limit_filters(limited(requests, seconds=seconds, routers=routers).spec.routing)
    bucket = limit["typed_config"]["token_bucket"]
    fill = Fraction(bucket["tokens_per_fill"], int(bucket["fill_interval"].removesuffix("s")))

    assert fill * routers == Fraction(requests, seconds)
    assert requests <= bucket["max_tokens"] * routers < requests + routers


def test_each_router_has_its_share(router: Limited) -> None:
    router.serve(limited(10, routers=4, by="Header", header="x-customer-id"))

    assert router.statuses(5, customer("a")) == {200: 3, 429: 2}
