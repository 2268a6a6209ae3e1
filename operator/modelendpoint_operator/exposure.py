"""Whether requests from outside are led to an endpoint, from what gateways and Ingress controllers say. Pure.

It changes nothing else: without the Gateway API, or while nobody takes up a route, the endpoint serves inside the cluster.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.status import Condition, ConditionType
from modelendpoint_operator.conditions import Story, build_condition
from modelendpoint_operator.observation import Observation
from modelendpoint_operator.plan import EventNote

POLL = timedelta(seconds=10)
"""Time between looks while they are not; nothing tells when they are."""

WAITING = "Waiting"
"""Reason while others have not answered; no cause for alarm."""


def exposure_conditions(endpoint: ModelEndpoint, seen: Observation, *, now: datetime) -> list[Condition]:
    """Derive the condition Exposed; none when the author wants no requests from outside."""
    story = _tell(endpoint, seen)
    if story is None:
        return []
    return [build_condition(endpoint, ConditionType.EXPOSED, story.good, story, now=now)]


def notes_of_exposure(endpoint: ModelEndpoint, seen: Observation) -> list[EventNote]:
    """Tell once of something that keeps requests from outside away."""
    story = _tell(endpoint, seen)
    known = {told.message for told in endpoint.status.conditions if told.type == ConditionType.EXPOSED}
    if story is None or story.good or story.reason == WAITING or story.message in known:
        return []
    return [EventNote(reason=story.reason, message=story.message, warning=True)]


def time_to_look(endpoint: ModelEndpoint, seen: Observation) -> timedelta | None:
    """Say when to look again for what others have not done yet."""
    story = _tell(endpoint, seen)
    return None if story is None or story.good else POLL


def _tell(endpoint: ModelEndpoint, seen: Observation) -> Story | None:
    """Tell how it stands: of two ways first the one that does not work."""
    routing = endpoint.spec.routing
    stories = [
        *([_tell_gateway(endpoint, seen)] if routing.gateway else []),
        *([_tell_ingress(seen)] if routing.ingress else []),
    ]
    return min(stories, key=lambda story: story.good, default=None)


def _tell_gateway(endpoint: ModelEndpoint, seen: Observation) -> Story:
    if "HTTPRoute" in seen.unknown_kinds:
        return Story(
            reason="NoGatewayApi",
            message="This cluster knows no HTTPRoute (gateway.networking.k8s.io/v1): install the CRDs of the Gateway API, "
            "or use routing.ingress. Inside the cluster the endpoint is reached all the same",
        )
    told = [
        part
        for body in _of_kind(seen, "HTTPRoute")
        for parent in body.get("status", {}).get("parents") or ()
        for part in parent.get("conditions") or ()
    ]
    refused = [part for part in told if part["type"] in ("Accepted", "ResolvedRefs") and part["status"] == "False"]
    if refused:
        message = f"HTTPRoute {endpoint.name}: {refused[0].get('message', '')}"
        return Story(reason=refused[0]["reason"], message=message)
    if not any(part["type"] == "Accepted" and part["status"] == "True" for part in told):
        return Story(
            reason=WAITING,
            message=f"No Gateway has taken up HTTPRoute {endpoint.name} yet: look whether those of "
            "routing.gateway.parentRefs exist, and whether their controller runs",
        )
    return Story(reason="Attached", message="The Gateway leads requests to the endpoint", good=True)


def _tell_ingress(seen: Observation) -> Story:
    if "Ingress" in seen.unknown_kinds:
        return Story(reason="NoIngress", message="There are no Ingresses here")
    found = [at for body in _of_kind(seen, "Ingress") for at in _addresses(body)]
    if not found:
        message = "The Ingress is written; no controller has told its address yet, and some never do"
        return Story(reason=WAITING, message=message)
    message = f"The Ingress leads requests to the endpoint, at {', '.join(found)}"
    return Story(reason="Attached", message=message, good=True)


def _addresses(ingress: Mapping[str, Any]) -> list[str]:
    entries = ingress.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [address for entry in entries if (address := entry.get("hostname") or entry.get("ip"))]


def _of_kind(seen: Observation, kind: str) -> list[Mapping[str, Any]]:
    return [body for ref, body in sorted(seen.objects.items()) if ref.kind == kind]
