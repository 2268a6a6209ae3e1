"""API keys and tokens in the real Envoy: who has none is refused, whatever is missing, and a rotation costs no request."""

import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.manifests.access import KEY_SET_SECONDS
from support.router_rig import RouterRig, an_endpoint, traffic
from support.routers import ModelServer, model_servers, wait_until
from support.tokens import AUDIENCE, ISSUER, SigningKey, key_set, unsigned

WITH_KEYS = an_endpoint(auth={"apiKeys": {"secretRef": {"name": "churn-keys"}}})
WITH_TOKENS = an_endpoint(
    auth={"jwt": {"issuer": ISSUER, "audiences": [AUDIENCE], "jwksConfigMapRef": {"name": "churn-issuer"}}}
)
REFUSALS = 10_000


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def key_file(*lines: str) -> dict[str, str]:
    return {names.KEYS_KEY: "\n".join(lines)}


class Guarded:
    """A router in front of one server; keys and key sets are mounted into it."""

    def __init__(self, folder: Path) -> None:
        self.rig = RouterRig(folder)
        self.server = ModelServer(7)

    def guard(self, endpoint: Any, folder: str, files: Mapping[str, str]) -> None:
        self.rig.router.mount(folder, files)
        self.rig.serve(endpoint, {7: 100}, [self.server])

    def mount_keys(self, *lines: str) -> None:
        self.rig.router.mount(names.KEYS_DIR, key_file(*lines))

    def mount_key_set(self, *keys: SigningKey) -> None:
        self.rig.router.mount(names.JWKS_DIR, {names.JWKS_KEY: key_set(*keys)} if keys else {})

    def status(self, headers: Mapping[str, str]) -> int:
        return self.rig.ask(headers)[0]

    def stop(self) -> None:
        self.rig.router.stop()
        self.server.die()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path)
    yield guarded
    guarded.stop()


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> list[SigningKey]:
    folder = tmp_path_factory.mktemp("keys")
    return [SigningKey(folder, name) for name in ("first", "second", "stranger")]


def test_a_known_key_passes_and_goes_no_further(guarded: Guarded) -> None:
    guarded.guard(WITH_KEYS, names.KEYS_DIR, key_file("# clients", f"{sha256('s3cret')}  shop"))

    assert guarded.status({"X-Api-Key": "s3cret", "x-kept": "1"}) == 200

    (_, headers, _) = guarded.server.requests[-1]
    assert "x-kept" in headers and "x-api-key" not in headers


def test_a_key_may_come_as_a_bearer_token(guarded: Guarded) -> None:
    endpoint = an_endpoint(auth={"apiKeys": {"secretRef": {"name": "churn-keys"}, "header": "Authorization"}})
    guarded.guard(endpoint, names.KEYS_DIR, key_file(f"{sha256('s3cret')}  shop"))

    assert guarded.status({"authorization": "Bearer s3cret"}) == 200
    assert guarded.status({"authorization": "s3cret"}) == 401
    assert guarded.status({"authorization": "Basic s3cret"}) == 401


def test_a_refusal_says_why_in_the_form_of_all_errors(guarded: Guarded) -> None:
    lines = (f"{sha256('good')} shop", f"{sha256('old')} shop 2020-01-31T00:00:00Z")
    guarded.guard(WITH_KEYS, names.KEYS_DIR, key_file(*lines))

    refused = [guarded.rig.ask(headers) for headers in ({}, {"x-api-key": "bad"}, {"x-api-key": "old"})]

    assert [status for status, _, _ in refused] == [401, 401, 401]
    assert {headers["www-authenticate"] for _, headers, _ in refused} == {"ApiKey"}
    assert [json.loads(body) for _, _, body in refused] == [
        {"code": "Unauthenticated", "error": "The request has no API key in its header x-api-key"},
        {"code": "Unauthenticated", "error": "The API key is not one of this endpoint's"},
        {"code": "Unauthenticated", "error": "The API key was good until 2020-01-31T00:00:00Z"},
    ]


def test_of_ten_thousand_requests_with_wrong_missing_and_ended_keys_none_passes(guarded: Guarded) -> None:
    good, ended = secrets.token_hex(24), secrets.token_hex(24)
    lines = (f"{sha256(good)}  shop", f"{sha256(ended)}  shop  2020-01-31T00:00:00Z", "not a line", f"{good} clear")
    guarded.guard(WITH_KEYS, names.KEYS_DIR, key_file(*lines))
    assert guarded.status({"x-api-key": good}) == 200
    seen = len(guarded.server.requests)
    wrong = [
        dict,
        lambda: {"x-api-key": ""},
        lambda: {"x-api-key": ended},
        lambda: {"x-api-key": secrets.token_hex(24)},
        lambda: {"x-api-key": sha256(good)},
        lambda: {"x-api-key": good[:-1]},
        lambda: {"x-api-key": good + "0"},
        lambda: {"x-api-key": good.upper()},
        lambda: {"x-api-key": f"{good},{good}"},
        lambda: {"x-api-key": "a" * 5000},
        lambda: {"x-api-key": "\xff %00"},
        lambda: {"authorization": f"Bearer {good}"},
        lambda: {"cookie": f"x-api-key={good}"},
        lambda: {"x-api-key2": good, "x-model-client": "shop", "x-envoy-original-path": good},
    ]

    with guarded.rig.client() as client:
        statuses = Counter(client.ask(wrong[number % len(wrong)]())[0] for number in range(REFUSALS))

    assert statuses == {401: REFUSALS}
    assert len(guarded.server.requests) == seen


@pytest.mark.parametrize("path", ["/", "/metrics", "//v2/health/ready", "/v1/models/churn:predict?x-api-key=s3cret"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD", "PUT", "CONNECT", "TRACE"])
def test_no_path_and_no_method_is_open(keyed: Guarded, method: str, path: str) -> None:
    assert keyed.rig.ask({}, path=path, method=method)[0] in (401, 404, 405, 400)
    assert not keyed.server.requests


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path_factory.mktemp("router"))
    guarded.guard(WITH_KEYS, names.KEYS_DIR, key_file(f"{sha256('s3cret')}  shop"))
    yield guarded
    guarded.stop()


def test_a_key_sent_twice_is_refused(keyed: Guarded) -> None:
    with keyed.rig.client() as client:
        client.connection.putrequest("POST", "/")
        for value in ("s3cret", "s3cret"):
            client.connection.putheader("x-api-key", value)
        client.connection.putheader("content-length", "0")
        client.connection.endheaders()
        assert client.connection.getresponse().status == 401


def test_without_the_secret_every_request_is_refused_until_it_comes_and_when_it_goes(guarded: Guarded) -> None:
    guarded.guard(WITH_KEYS, names.KEYS_DIR, {})
    status, headers, body = guarded.rig.ask({"x-api-key": "s3cret"})
    assert (status, headers["retry-after"], json.loads(body)["code"]) == (503, "5", "AccessNotReady")
    assert guarded.rig.status().troubles == {"keys": "missing"}

    guarded.mount_keys(f"{sha256('s3cret')}  shop")
    wait_until(lambda: guarded.status({"x-api-key": "s3cret"}) == 200)
    assert guarded.rig.status().troubles == {}

    guarded.mount_keys("# nobody")
    wait_until(lambda: guarded.status({"x-api-key": "s3cret"}) == 503)
    assert guarded.rig.status().troubles == {"keys": "empty"}

    guarded.rig.router.mount(names.KEYS_DIR, {})
    assert guarded.rig.status().troubles == {"keys": "missing"}
    wait_for_both_threads(guarded, "s3cret", 503)


def test_a_line_that_is_not_understood_is_told_and_the_others_are_good(guarded: Guarded) -> None:
    lines = (f"{sha256('one')} shop", f"{sha256('two')} shop tomorrow", f"{sha256('three').upper()} shop")
    guarded.guard(WITH_KEYS, names.KEYS_DIR, key_file(*lines))

    assert [guarded.status({"x-api-key": key}) for key in ("one", "two", "three")] == [200, 401, 200]
    assert guarded.rig.status().troubles == {"keys": "line 2"}


def test_keys_rotate_while_requests_run(guarded: Guarded) -> None:
    used = ["old"]
    guarded.guard(WITH_KEYS, names.KEYS_DIR, key_file(f"{sha256('old')} shop"))
    with traffic(guarded.rig, lambda: {"x-api-key": used[0]}) as running:
        guarded.mount_keys(f"{sha256('old')} shop", f"{sha256('new')} shop")
        wait_for_both_threads(guarded, "new", 200)
        used[0] = "new"
        running.wait_for_more(50)
        guarded.mount_keys(f"{sha256('new')} shop")
        wait_for_both_threads(guarded, "old", 401)
        running.wait_for_more(50)

    assert running.counted.keys() == {200}


def wait_for_both_threads(guarded: Guarded, key: str, status: int) -> None:
    """Wait until each of Envoy's threads has read the file: a new connection meets either of them."""
    wait_until(lambda: {guarded.status({"x-api-key": key}) for _ in range(20)} == {status})


def test_a_good_token_passes_and_goes_no_further(guarded: Guarded, signing: list[SigningKey]) -> None:
    guarded.guard(WITH_TOKENS, names.JWKS_DIR, {names.JWKS_KEY: key_set(signing[0])})

    assert guarded.status(bearer(signing[0].token())) == 200
    assert guarded.status(bearer(signing[0].token(aud=["other", AUDIENCE]))) == 200

    (_, headers, _) = guarded.server.requests[-1]
    assert "authorization" not in headers


def test_of_ten_thousand_requests_with_wrong_missing_and_ended_tokens_none_passes(
    guarded: Guarded, signing: list[SigningKey]
) -> None:
    ours, other, stranger = signing
    guarded.guard(WITH_TOKENS, names.JWKS_DIR, {names.JWKS_KEY: key_set(ours, other)})
    good, now = ours.token(), int(time.time())
    assert guarded.status(bearer(good)) == 200
    seen = len(guarded.server.requests)
    head, claims, signature = good.split(".")
    later = unsigned({"alg": "RS256", "kid": ours.key_id}, {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 999})
    nothing = unsigned({"alg": "none"}, {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 999})
    wrong = [
        {},
        bearer(""),
        bearer("a.b.c"),
        bearer(ours.token(exp=now - 61)),
        bearer(ours.token(exp=None)),
        bearer(ours.token(nbf=now + 999)),
        bearer(ours.token(iss="https://evil.example")),
        bearer(ours.token(iss=None)),
        bearer(ours.token(aud="other")),
        bearer(ours.token(aud=None)),
        bearer(stranger.token()),
        bearer(f"{stranger.token().rpartition('.')[0]}.{signature}"),
        bearer(f"{head}.{claims}."),
        bearer(f"{later}.{signature}"),
        bearer(f"{nothing}."),
        {"authorization": good},
        {"x-jwt": good, "cookie": f"token={good}"},
    ]
    paths = ["/v1/models/churn:predict", f"/v1/models/churn:predict?access_token={good}"]

    with guarded.rig.client() as client:
        statuses = Counter(
            client.ask(wrong[number % len(wrong)], path=paths[number % 2])[0] for number in range(REFUSALS)
        )

    assert statuses.total() == REFUSALS and statuses.keys() == {401, 403}
    assert len(guarded.server.requests) == seen


def test_a_refused_token_is_told_in_the_form_of_all_errors(guarded: Guarded, signing: list[SigningKey]) -> None:
    guarded.guard(WITH_TOKENS, names.JWKS_DIR, {names.JWKS_KEY: key_set(signing[0])})

    missing, other = guarded.rig.ask({}), guarded.rig.ask(bearer(signing[0].token(aud="other")))

    assert (missing[0], json.loads(missing[2])) == (401, {"code": "Unauthenticated", "error": "Jwt is missing"})
    assert (other[0], json.loads(other[2])["code"]) == (403, "Forbidden")


def test_without_the_key_set_every_token_is_refused_until_it_comes_and_when_it_goes(
    guarded: Guarded, signing: list[SigningKey]
) -> None:
    token = bearer(signing[0].token())
    guarded.guard(WITH_TOKENS, names.JWKS_DIR, {})
    assert guarded.status(token) == 401
    assert guarded.rig.status().troubles == {"jwks": "missing"}

    guarded.mount_key_set(signing[0])
    wait_until(lambda: guarded.status(token) == 200)

    guarded.rig.router.mount(names.JWKS_DIR, {names.JWKS_KEY: "no key set"})
    assert guarded.rig.status().troubles == {"jwks": "invalid"}
    wait_until(lambda: {guarded.status(token) for _ in range(20)} == {401}, seconds=KEY_SET_SECONDS + 5)


def test_key_sets_rotate_while_requests_run(guarded: Guarded, signing: list[SigningKey]) -> None:
    old, new = bearer(signing[0].token()), bearer(signing[1].token())
    used = [old]
    guarded.guard(WITH_TOKENS, names.JWKS_DIR, {names.JWKS_KEY: key_set(signing[0])})
    with traffic(guarded.rig, lambda: used[0]) as running:
        guarded.mount_key_set(signing[0], signing[1])
        wait_until(lambda: {guarded.status(new) for _ in range(20)} == {200}, seconds=KEY_SET_SECONDS + 5)
        used[0] = new
        running.wait_for_more(50)
        guarded.mount_key_set(signing[1])
        wait_until(lambda: {guarded.status(old) for _ in range(20)} == {401}, seconds=KEY_SET_SECONDS + 5)
        running.wait_for_more(50)

    assert running.counted.keys() == {200}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_everybody_may_call_where_it_says_so(tmp_path: Path) -> None:
    rig = RouterRig(tmp_path)
    with model_servers(ModelServer(7)) as servers:
        rig.serve(an_endpoint(auth={"none": {}}), {7: 100}, servers)
        assert rig.ask()[0] == 200
    rig.router.stop()
