"""How an endpoint is reached from outside, and what is said of it."""

from typing import Any

import pytest

from support.stories import a_serving_world, everything_is
from support.world import NAME, Key, World

GATEWAY = {"gateway": {"parentRefs": [{"name": "public"}], "hostnames": ["churn.example.com"]}}
INGRESS = {"ingress": {"hostnames": ["churn.example.com"]}}


def exposed(world: World) -> tuple[str, str]:
    told = world.condition("Exposed")
    assert told is not None
    return told["status"], told["reason"]


def answer(world: World, kind: str, **status: Any) -> None:
    """Let the controller of a kind say something; nothing tells the operator."""
    world.objects[Key(kind, NAME)]["status"] = status
    world.settle(turns=12)


def parent(**conditions: str) -> dict[str, Any]:
    told = [
        {"type": name, "status": str(reason == "Accepted"), "reason": reason, "message": f"because of {reason}"}
        for name, reason in conditions.items()
    ]
    return {"parentRef": {"name": "public"}, "conditions": told}


def test_a_gateway_that_takes_the_route_up_exposes_the_endpoint() -> None:
    world = a_serving_world(routing=GATEWAY)
    assert exposed(world) == ("False", "Waiting")

    answer(world, "HTTPRoute", parents=[parent(Accepted="Accepted")])
    assert exposed(world) == ("True", "Attached")
    assert everything_is(world, 1)


TLS = {"secretRef": {"name": "churn-tls"}}


@pytest.mark.parametrize(
    ("tls", "port"), [({}, 80), ({"tls": TLS}, 443), ({"tls": {**TLS, "allowHttp": True}}, 80)], ids=str
)
def test_requests_from_outside_come_to_a_port_that_answers(tls: dict[str, Any], port: int) -> None:
    world = a_serving_world(routing={**GATEWAY, **INGRESS, **tls})

    route = world.objects[Key("HTTPRoute", NAME)]["spec"]["rules"][0]["backendRefs"][0]
    ingress = world.objects[Key("Ingress", NAME)]["spec"]["rules"][0]["http"]["paths"][0]["backend"]
    assert (route["port"], ingress["service"]["port"]["number"]) == (port, port)
    assert world.status["url"] == ("https" if tls else "http") + "://churn.shop.svc"


@pytest.mark.parametrize(
    "conditions", [{"Accepted": "NotAllowedByListeners"}, {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"}]
)
def test_a_gateway_that_refuses_says_why_and_takes_nothing_away(conditions: dict[str, str]) -> None:
    world = a_serving_world(routing=GATEWAY)
    answer(world, "HTTPRoute", parents=[parent(Accepted="Accepted"), parent(**conditions)])
    reason = next(reason for reason in conditions.values() if reason != "Accepted")

    assert exposed(world) == ("False", reason)
    assert (reason, f"HTTPRoute churn: because of {reason}") in world.events
    assert everything_is(world, 1)


def test_without_the_gateway_api_the_endpoint_says_so_and_goes_on_and_has_its_route_once_it_is_there() -> None:
    world = a_serving_world()
    world.unknown_kinds = {"HTTPRoute"}
    world.edit(routing=GATEWAY)
    world.settle()
    assert exposed(world) == ("False", "NoGatewayApi")
    assert world.told().count("NoGatewayApi") == 1
    assert everything_is(world, 1)

    world.unknown_kinds = set()
    world.settle(turns=12)
    assert world.kept("HTTPRoute") == {NAME}


def test_an_ingress_tells_its_address_when_its_controller_does() -> None:
    world = a_serving_world(routing=INGRESS)
    assert exposed(world) == ("False", "Waiting")

    answer(world, "Ingress", loadBalancer={"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]})
    assert exposed(world) == ("True", "Attached")
    assert "192.0.2.1, lb.example" in world.condition("Exposed")["message"]  # type: ignore[index]


def test_with_both_the_one_that_does_not_work_is_told_of() -> None:
    world = a_serving_world(routing=GATEWAY | INGRESS)
    answer(world, "HTTPRoute", parents=[parent(Accepted="Accepted")])

    assert exposed(world) == ("False", "Waiting")
    assert world.condition("Exposed")["message"].startswith("The Ingress")  # type: ignore[index]


def test_what_leads_to_the_endpoint_goes_with_its_field() -> None:
    world = a_serving_world(routing=GATEWAY | INGRESS)
    assert (world.kept("HTTPRoute"), world.kept("Ingress")) == ({NAME}, {NAME})

    world.edit(routing=INGRESS)
    world.settle()
    assert (world.kept("HTTPRoute"), world.kept("Ingress")) == (set(), {NAME})
    world.edit(routing=None)
    world.settle()
    assert (world.kept("Ingress"), world.condition("Exposed")) == (set(), None)


def test_a_second_pass_writes_nothing() -> None:
    for world in (a_serving_world(routing=GATEWAY | INGRESS), a_serving_world(routing=GATEWAY)):
        answer(world, "HTTPRoute", parents=[parent(Accepted="NoMatchingParent")])
        plan = world.reconcile()
        assert plan is not None and plan.is_empty
