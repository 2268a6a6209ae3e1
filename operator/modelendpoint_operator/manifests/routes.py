"""The router's routes (RDS): which requests go where, and in what shares. Choosing the shares must not be here.

Envoy takes the first route that a request fits: one that pins it, one that a variant asks for, and else the one that
shares the traffic out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.cors import build_cors_policy
from modelendpoint_operator.manifests.holding import build_held_route
from modelendpoint_operator.manifests.http_manager import pass_buffer
from modelendpoint_operator.manifests.stickiness import build_stickiness
from modelendpoint_operator.manifests.xds import TYPES, Document, discovery, header
from modelendpoint_operator.observation import Leg

WHOLE_BODY_BYTES = 4 * 1024 * 1024
"""A request's body up to this size is waited for before any of it is sent on, and can be sent a second time; a larger
one streams through and is sent once. Large enough for a picture as JSON; some hundred and fifty fit into Envoy's heap."""

FULL = 100


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to do with the requests that have certain headers."""

    action: Document
    headers: Sequence[Document] = ()


def build_routes(endpoint: ModelEndpoint, legs: Sequence[Leg]) -> Document:
    """Build the routes (RDS): the shares of the traffic, in the given order.

    With hash based stickiness the order decides who moves when a weight changes: the caller puts the candidate first.
    Without any leg that has weight the endpoint answers 503 and says why.
    """
    configuration = {
        "@type": f"{TYPES}.config.route.v3.RouteConfiguration",
        "name": names.ROUTE_CONFIG_NAME,
        # The weights below tell less: where variants have everything, nothing says how the main model is divided.
        "metadata": {"filter_metadata": {names.ROUTE_METADATA: {"legs": [_written(leg) for leg in legs]}}},
        "virtual_hosts": [
            {
                "name": names.ROUTE_CONFIG_NAME,
                "domains": ["*"],
                **build_cors_policy(endpoint.spec),
                "routes": [route for choice in _choices(endpoint, legs) for route in _routes(choice)],
            }
        ],
    }
    return discovery([configuration])


def route_version(routes: Mapping[str, Any]) -> str:
    """Read the version of a routes document, which Envoy reports back once it uses it."""
    version: str = routes["version_info"]
    return version


def _written(leg: Leg) -> Document:
    return {name: value for name, value in vars(leg).items() if value is not None and value is not False}


def _routes(choice: Choice) -> Iterator[Document]:
    """Build the routes of a choice, alike but for the wait for the body: what is too large for the buffer, or does not say
    how large it is, streams."""
    size = {"name": "content-length", "range_match": {"start": 0, "end": WHOLE_BODY_BYTES + 1}}
    yield {"match": {"prefix": "/", "headers": [*choice.headers, size]}, **choice.action}
    headers = {"headers": list(choice.headers)} if choice.headers else {}
    yield {"match": {"prefix": "/", **headers}, **choice.action, **pass_buffer()}


def _choices(endpoint: ModelEndpoint, legs: Sequence[Leg]) -> Iterator[Choice]:
    mirrors = {"request_mirror_policies": [_mirror(endpoint, leg) for leg in legs if leg.copies and leg.weight > 0]}
    for choice in _answering(endpoint, [leg for leg in legs if not leg.copies]):
        if not mirrors["request_mirror_policies"] or "route" not in choice.action:
            yield choice
        else:
            yield replace(choice, action={**choice.action, "route": {**choice.action["route"], **mirrors}})


def _mirror(endpoint: ModelEndpoint, leg: Leg) -> Document:
    """Send copies of a share of the requests; what becomes of them is not waited for."""
    return {
        "cluster": names.revision_name(endpoint.name, leg.revision),
        "runtime_fraction": {"default_value": {"numerator": leg.weight, "denominator": "HUNDRED"}},
        # The server must see the request as it was.
        "disable_shadow_host_suffix_append": True,
    }


def _answering(endpoint: ModelEndpoint, legs: Sequence[Leg]) -> Iterator[Choice]:
    if not any(leg.weight > 0 for leg in legs):
        yield Choice(action=_refusal("No revision of this endpoint is ready; see the status of the ModelEndpoint"))
        return
    if endpoint.spec.routing.allow_pinning:
        yield from _pins(endpoint, legs)
    yield from _matches(endpoint, legs)
    held = next((leg for leg in legs if leg.held), None)
    yield Choice(action=_route_to(endpoint, held) if held else _weighted_route(endpoint, legs))


def _pins(endpoint: ModelEndpoint, legs: Sequence[Leg]) -> Iterator[Choice]:
    """Send a request to the variant or revision that it names; to none other, should that one have no pods."""
    for leg in legs:
        if leg.arm is not None:
            yield Choice(headers=[_has(names.HEADER_VARIANT, leg.arm)], action=_route_to(endpoint, leg))
    for leg in legs:
        yield Choice(headers=[_has(names.HEADER_REVISION, str(leg.revision))], action=_route_to(endpoint, leg))
    for name in (names.HEADER_VARIANT, names.HEADER_REVISION):
        message = f"Nothing by the name in the header {name} can answer; see the status of the ModelEndpoint"
        yield Choice(headers=[{"name": name, "present_match": True}], action=_refusal(message))


def _matches(endpoint: ModelEndpoint, legs: Sequence[Leg]) -> Iterator[Choice]:
    """Send the requests that a variant asks for to it, as long as it has pods."""
    by_arm = {leg.arm: leg for leg in legs}
    for variant in endpoint.spec.variants:
        if variant.match is not None and variant.name in by_arm:
            wanted = variant.match.header
            yield Choice(headers=[_has(wanted.name, wanted.exact)], action=_route_to(endpoint, by_arm[variant.name]))


def _has(name: str, value: str) -> Document:
    return {"name": name, "string_match": {"exact": value}}


def _route_to(endpoint: ModelEndpoint, leg: Leg) -> Document:
    if leg.held:
        return build_held_route(endpoint, leg.revision)
    action = {"route": {"cluster": names.revision_name(endpoint.name, leg.revision), **_limits(endpoint)}}
    return {**action, **_said_by(leg)}


def _weighted_route(endpoint: ModelEndpoint, legs: Sequence[Leg]) -> Document:
    left = FULL - sum(leg.weight for leg in legs if leg.arm is not None)
    stickiness = build_stickiness(endpoint.spec.routing.sticky_by)
    return {
        "route": {
            "weighted_clusters": {
                "clusters": [_share(endpoint, leg, parts) for leg in legs if (parts := _parts(leg, left=left)) > 0],
                **({"use_hash_policy": True} if stickiness else {}),
            },
            **stickiness,
            **_limits(endpoint),
        }
    }


def _parts(leg: Leg, *, left: int) -> int:
    """Count the parts of ten thousand that a leg has; ``left`` is the percentage that the variants leave to the others."""
    return leg.weight * (left if leg.arm is None else FULL)


def _share(endpoint: ModelEndpoint, leg: Leg, parts: int) -> Document:
    return {"name": names.revision_name(endpoint.name, leg.revision), "weight": parts, **_said_by(leg)}


def _said_by(leg: Leg) -> Document:
    return {"response_headers_to_add": [header(names.HEADER_VARIANT, leg.arm)]} if leg.arm else {}


def _limits(endpoint: ModelEndpoint) -> Document:
    timeout = endpoint.spec.routing.timeout_seconds
    return {
        "timeout": f"{timeout}s",
        # Without it the listener's limit for silent requests would end a prediction that may take longer.
        "idle_timeout": f"{timeout + 5}s",
        "retry_policy": _retry_policy(),
    }


def _retry_policy() -> Document:
    # A prediction has no side effect, so one whose server died before it answered is safe to send again.
    # Answers of a server, errors too, are never retried: they are the model's, and gates count them.
    return {
        "retry_on": "connect-failure,refused-stream,reset",
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.1s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }


def _refusal(message: str) -> Document:
    # The body's form and code come from the listener's local replies, like those of all answers that Envoy makes.
    return {
        "direct_response": {
            "status": 503,
            "body": {"inline_string": message},
        },
        "response_headers_to_add": [header("retry-after", "5")],
    }
