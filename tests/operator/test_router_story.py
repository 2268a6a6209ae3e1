"""What is told of routers: objects that they lack, and configuration that they do not take up."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.observation import Leg, Observation, RouterSeen
from modelendpoint_operator.router_story import TAKE_UP, RouterConfig, RouterTrouble, find_trouble, lagging
from support.router_rig import an_endpoint
from support.stories import a_serving_world

ENDPOINT = an_endpoint(auth={"apiKeys": {"secretRef": {"name": "churn-keys"}}})
CONFIG = RouterConfig.of(ENDPOINT, build_documents(ENDPOINT, [Leg(revision=7, weight=100)], [7]))
GOOD = RouterSeen(
    name="churn-router-a",
    terminating=False,
    config="x",
    route_version=CONFIG.routes,
    cluster_version=CONFIG.clusters,
    listener_version=CONFIG.listeners,
    bootstrap=CONFIG.bootstrap,
)
OLD = replace(GOOD, name="churn-router-old", bootstrap="another", listener_version="another")
DEADLINE = timedelta(seconds=600)


def trouble_of(
    *routers: RouterSeen, waited: timedelta = timedelta(0), endpoint: Any = ENDPOINT
) -> RouterTrouble | None:
    seen = Observation(routers=tuple(routers))
    return find_trouble(endpoint, seen, CONFIG, waited=waited, deadline=DEADLINE)


def test_routers_that_use_everything_are_no_trouble_however_long_it_takes() -> None:
    assert trouble_of(GOOD, waited=timedelta(days=1)) is None
    assert lagging(Observation(routers=(GOOD,)), CONFIG) == ()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("missing", 'There is no key "keys" of Secret churn-keys (spec.routing.auth.apiKeys.secretRef): create it'),
        ("empty", 'There is no API key in key "keys" of Secret churn-keys'),
    ],
)
def test_a_missing_secret_is_told_with_the_field_and_the_next_step(told: str, message: str) -> None:
    trouble = trouble_of(GOOD, replace(GOOD, name="churn-router-b", troubles={"keys": told}))

    assert trouble is not None
    assert (trouble.reason, trouble.closed) == ("AccessNotReady", True)
    assert trouble.message.startswith(message) and trouble.message.endswith("Until then every request is refused")


OVER_TLS = an_endpoint(tls={"secretRef": {"name": "churn-tls"}})


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("missing", 'There is no key "tls.crt" of Secret churn-tls (spec.routing.tls.secretRef): create it'),
        ("invalid", 'Keys "tls.crt" and "tls.key" of Secret churn-tls (spec.routing.tls.secretRef) are no certificate'),
    ],
)
@pytest.mark.parametrize("part", ["routers", "starting_routers"])
def test_a_certificate_that_is_missing_or_of_no_use_is_told_and_closes_nothing(
    part: str, told: str, message: str
) -> None:
    seen = Observation(**{part: (replace(GOOD, troubles={"tls": told}),)})
    trouble = find_trouble(OVER_TLS, seen, CONFIG, waited=timedelta(0), deadline=DEADLINE)

    assert trouble is not None
    assert (trouble.reason, trouble.closed) == ("CertificateNotReady", False)
    assert trouble.message.startswith(message)
    assert trouble.message.endswith("no new router pod gets ready, and those that are serve on as they did")


def test_one_bad_line_is_told_and_closes_nothing() -> None:
    trouble = trouble_of(replace(GOOD, troubles={"keys": "line 3"}))

    assert trouble is not None
    assert (trouble.reason, trouble.closed) == ("AccessNotReady", False)
    assert "line 3" in trouble.message


def test_what_a_router_of_an_earlier_spec_lacks_is_not_told() -> None:
    assert trouble_of(replace(GOOD, troubles={"keys": "missing"}), endpoint=an_endpoint()) is None


@pytest.mark.parametrize("part", ["route_version", "cluster_version", "listener_version"])
def test_a_router_that_does_not_take_up_a_document_is_out_of_sync_after_a_while(part: str) -> None:
    behind = replace(GOOD, **{part: "older"})

    assert trouble_of(behind, waited=TAKE_UP) is None
    trouble = trouble_of(behind, waited=TAKE_UP + timedelta(seconds=1))
    assert trouble is not None
    assert (trouble.reason, trouble.closed) == ("RouterOutOfSync", False)
    assert "kubectl logs churn-router-a" in trouble.message


def test_a_router_that_ends_or_says_nothing_is_not_out_of_sync() -> None:
    ending = replace(GOOD, terminating=True, route_version="older")
    silent = replace(GOOD, route_version=None, cluster_version=None, listener_version=None)

    assert trouble_of(GOOD, ending, silent, waited=DEADLINE * 2) is None


def test_routers_of_the_earlier_bootstrap_are_waited_for_up_to_the_deadline() -> None:
    assert trouble_of(OLD, waited=DEADLINE) is None
    assert trouble_of(OLD, GOOD, waited=DEADLINE * 2) is None
    trouble = trouble_of(OLD, waited=DEADLINE * 2)
    assert trouble is not None and trouble.reason == "RouterOutOfSync"
    assert "kubectl describe deployment churn-router" in trouble.message


def test_an_ending_router_that_asks_for_no_keys_is_still_waited_for() -> None:
    ending = replace(OLD, terminating=True)

    assert lagging(Observation(routers=(GOOD, ending)), CONFIG) == ("churn-router-old",)


def test_an_endpoint_whose_router_lacks_a_secret_is_stalled_and_closed_until_it_has_it() -> None:
    world = a_serving_world(routing={"auth": {"apiKeys": {"secretRef": {"name": "churn-keys"}}}})
    routers = [pod for pod in world.pods.values() if pod.revision is None]
    for pod in routers:
        pod.troubles = {"keys": "missing"}
    world.settle()
    told = {kind: world.condition(kind) for kind in ("Ready", "Available", "Stalled")}
    assert {kind: part and (part["status"], part["reason"]) for kind, part in told.items()} == {
        "Ready": ("False", "AccessNotReady"),
        "Available": ("False", "AccessNotReady"),
        "Stalled": ("True", "AccessNotReady"),
    }

    for pod in routers:
        pod.troubles = {}
    world.settle()
    assert world.reason() == "Serving"


def test_a_router_that_takes_nothing_up_is_told_and_loses_no_traffic() -> None:
    world = a_serving_world()
    world.frozen_routers = {pod.name for pod in world.serving_routers()}
    world.use_model("2")
    world.settle()
    assert world.reason() == "RouterOutOfSync"
    assert world.live_weights() == [{1: 100}] * len(world.live_weights())

    world.frozen_routers = set()
    world.settle()
    assert world.reason() == "Paused"
