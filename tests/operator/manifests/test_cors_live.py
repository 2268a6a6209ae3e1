"""CORS in the real Envoy: what a browser asks before it sends a page's request, and what the page may read."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from support.router_rig import RouterRig, an_endpoint, traffic
from support.routers import ModelServer

PAGE = "https://app.example.com"
KEY = "s3cret"
KEY_LINE = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0  shop"
"""Its sha256."""
ORIGINS = [PAGE, "http://localhost:3000", "https://*.shop.example"]
WITH_KEYS = {"apiKeys": {"secretRef": {"name": "churn-keys"}, "header": "X-Shop-Key"}}

ALLOW, EXPOSE, HEADERS = (f"access-control-{part}" for part in ("allow-origin", "expose-headers", "allow-headers"))


def preflight(origin: str, **more: str) -> dict[str, str]:
    """Build the headers of a browser's question."""
    return {"origin": origin, "access-control-request-method": "POST", **more}


class Browser:
    """A router with one server, and a browser's view of it."""

    def __init__(self, folder: Path) -> None:
        self.rig = RouterRig(folder)
        self.server = ModelServer(7)

    def serve(self, endpoint: ModelEndpoint) -> None:
        self.rig.router.mount(names.KEYS_DIR, {names.KEYS_KEY: KEY_LINE})
        self.rig.serve(endpoint, {7: 100}, [self.server])

    def asks(self, origin: str) -> Mapping[str, str]:
        """Ask whether a page may call; return the headers of the answer."""
        status, headers, body = self.rig.ask(preflight(origin), method="OPTIONS")
        assert (status, body) == (200, b"")
        return headers

    def stop(self) -> None:
        self.rig.router.stop()
        self.server.die()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path)
    yield browser
    browser.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("router"))
    cors = {"allowOrigins": ORIGINS, "allowHeaders": ["X-Trace"], "exposeHeaders": ["X-Cost"], "maxAgeSeconds": 60}
    browser.serve(an_endpoint(auth=WITH_KEYS, cors=cors, stickyBy={"header": "x-customer-id"}))
    yield browser
    browser.stop()


def test_a_browser_that_has_no_key_yet_is_told_what_its_page_may_send(guarded: Browser) -> None:
    told = guarded.asks(PAGE)

    assert told[ALLOW] == PAGE
    assert told["access-control-allow-methods"] == "GET, POST"
    assert told[HEADERS] == "content-type, x-request-id, x-shop-key, x-customer-id, x-trace"
    assert told["access-control-max-age"] == "60"
    assert "access-control-allow-credentials" not in told
    assert not guarded.server.requests


def test_the_page_itself_needs_the_key_and_may_read_who_answered(guarded: Browser) -> None:
    status, headers, _ = guarded.rig.ask({"origin": PAGE, "x-shop-key": KEY})

    assert (status, headers[ALLOW]) == (200, PAGE)
    expected = "x-request-id, retry-after, x-model-revision, x-model-sha256, x-model-variant, x-cost"
    assert headers[EXPOSE] == expected
    guarded.server.requests.clear()


def test_a_page_may_read_why_it_was_refused(guarded: Browser) -> None:
    status, headers, body = guarded.rig.ask({"origin": PAGE, "x-shop-key": "wrong"})

    assert (status, headers[ALLOW]) == (401, PAGE)
    assert json.loads(body)["code"] == "Unauthenticated"


@pytest.mark.parametrize(
    "origin", [PAGE, "http://localhost:3000", "https://eu.shop.example", "https://a.b-c.shop.example"]
)
def test_these_pages_may_call(guarded: Browser, origin: str) -> None:
    assert guarded.asks(origin)[ALLOW] == origin


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "*",
        "http://app.example.com",
        f"{PAGE}:8443",
        f"{PAGE}.evil.example",
        f"{PAGE}/",
        "https://appxexample.com",
        "https://evil.example?app.example.com",
        "http://localhost",
        "http://localhost:30000",
        "https://shop.example",
        "https://evilshop.example",
        "https://evil.example/.shop.example",
        "https://evil.example#.shop.example",
        "https://user@.shop.example",
        "https://a.shop.example:8443",
        "https://a.shopxexample",
        "http://a.shop.example",
    ],
)
def test_no_other_page_may_call_and_no_server_is_asked(guarded: Browser, origin: str) -> None:
    assert ALLOW not in guarded.asks(origin)
    assert not guarded.server.requests


def test_a_page_that_may_not_call_can_not_read_an_answer(guarded: Browser) -> None:
    status, headers, _ = guarded.rig.ask({"origin": "https://evil.example", "x-shop-key": KEY})

    assert status == 200
    assert not [name for name in headers if name.startswith("access-control")]
    guarded.server.requests.clear()


def test_what_is_no_browsers_question_needs_a_key(guarded: Browser) -> None:
    for headers in ({"origin": PAGE}, {"access-control-request-method": "POST"}):
        assert guarded.rig.ask(headers, method="OPTIONS")[0] == 401


def test_every_page_may_call_where_it_says_so(browser: Browser) -> None:
    browser.serve(an_endpoint(cors={"allowOrigins": ["*"]}))

    assert browser.asks("https://anywhere.example")[ALLOW] == "https://anywhere.example"
    assert browser.asks("null")[ALLOW] == "null"
    assert browser.rig.ask({"origin": PAGE})[1][ALLOW] == PAGE


def test_cookies_come_along_where_it_says_so(browser: Browser) -> None:
    browser.serve(an_endpoint(cors={"allowOrigins": [PAGE], "allowCredentials": True}, stickyBy={"cookie": "customer"}))

    assert browser.asks(PAGE)["access-control-allow-credentials"] == "true"
    assert browser.rig.ask({"origin": PAGE})[1]["access-control-allow-credentials"] == "true"


def test_tokens_come_in_the_header_authorization(browser: Browser) -> None:
    jwt = {"issuer": "https://id.example", "audiences": ["churn"], "jwksConfigMapRef": {"name": "issuer"}}
    browser.rig.router.mount(names.JWKS_DIR, {})
    browser.serve(an_endpoint(cors={"allowOrigins": [PAGE]}, auth={"jwt": jwt}))

    assert browser.asks(PAGE)[HEADERS] == "content-type, x-request-id, authorization"


def test_pages_are_let_in_and_shut_out_while_requests_run(browser: Browser) -> None:
    browser.serve(an_endpoint())
    with traffic(browser.rig) as running:
        browser.serve(an_endpoint(cors={"allowOrigins": [PAGE]}))
        assert browser.asks(PAGE)[ALLOW] == PAGE
        running.wait_for_more(50)
        browser.serve(an_endpoint(cors={"allowOrigins": ["https://other.example"]}))
        assert ALLOW not in browser.asks(PAGE)
        running.wait_for_more(50)
        browser.serve(an_endpoint())
        running.wait_for_more(50)

    assert running.counted.keys() == {200}
