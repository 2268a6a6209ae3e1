"""The Envoy documents as data: what is in them for every endpoint, and what can't get into them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.rules import NAME_LENGTH
from modelendpoint_operator.manifests.envoy import build_clusters, build_documents, config_version, render
from modelendpoint_operator.manifests.routes import WHOLE_BODY_BYTES, build_routes, route_version
from modelendpoint_operator.observation import Leg

HTTP_FILTERS = {
    "status": ["envoy.filters.http.router"],
    "hold": ["envoy.filters.http.router"],
    "traffic": ["envoy.filters.http.buffer", "envoy.filters.http.router"],
}
NETWORK_FILTERS = ["envoy.filters.network.http_connection_manager"]

endpoint_names = st.from_regex(r"[a-z]([-a-z0-9]{0,40}[a-z0-9])?", fullmatch=True).filter(
    lambda name: len(name) <= NAME_LENGTH
)
namespaces = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
weights = st.lists(st.tuples(st.integers(1, 10_000), st.integers(0, 100)), max_size=4, unique_by=lambda leg: leg[0])


def an_endpoint(
    name: str = "churn", namespace: str = "shop", *, timeout_seconds: int = 60, **model: str
) -> ModelEndpoint:
    return ModelEndpoint.from_body(
        {
            "metadata": {"name": name, "namespace": namespace, "uid": "u-1", "generation": 1},
            "spec": {
                "model": {"uri": "s3://models/churn.onnx", **model},
                "routing": {"timeoutSeconds": timeout_seconds},
            },
        }
    )


def legs(*shares: tuple[int, int]) -> list[Leg]:
    return [Leg(revision=revision, weight=weight) for revision, weight in shares]


def only_route(routes: dict[str, Any]) -> dict[str, Any]:
    (configuration,) = routes["resources"]
    (host,) = configuration["virtual_hosts"]
    waiting, streaming = host["routes"]
    # All that differs is whether the router waits for the body.
    assert {**streaming, "match": 0, "typed_per_filter_config": 0} == {
        **waiting,
        "match": 0,
        "typed_per_filter_config": 0,
    }
    found: dict[str, Any] = waiting
    return found


def leaves(part: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value that is no dict and no list, with the way to it."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from leaves(value, (*path, key))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from leaves(value, (*path, str(index)))
    else:
        yield path, part


@settings(max_examples=50, deadline=None)
@given(endpoint_names, namespaces, weights)
def test_any_valid_name_gives_exactly_these_listeners_filters_and_clusters(
    name: str, namespace: str, shares: Sequence[tuple[int, int]]
) -> None:
    revisions = [revision for revision, _ in shares]
    built = build_documents(an_endpoint(name, namespace), legs(*shares), revisions)
    documents = {file: json.loads(render(document)) for file, document in built.items()}

    bootstrap = documents[names.BOOTSTRAP_FILE]
    listeners = [*bootstrap["static_resources"]["listeners"], *documents[names.LISTENERS_FILE]["resources"]]
    clusters = [*bootstrap["static_resources"]["clusters"], *documents[names.CLUSTERS_FILE]["resources"]]
    assert [listener["name"] for listener in listeners] == ["status", "hold", "traffic"]
    for listener in listeners:
        (chain,) = listener["filter_chains"]
        assert [network_filter["name"] for network_filter in chain["filters"]] == NETWORK_FILTERS
        manager = chain["filters"][0]["typed_config"]
        assert [http_filter["name"] for http_filter in manager["http_filters"]] == HTTP_FILTERS[listener["name"]]
    assert [cluster["name"] for cluster in clusters] == [
        "admin",
        "hold",
        *(f"{name}-r{number}" for number in sorted(revisions)),
    ]


@settings(max_examples=50, deadline=None)
@given(endpoint_names, namespaces)
def test_documents_of_two_endpoints_differ_in_names_only(name: str, namespace: str) -> None:
    documents = build_documents(an_endpoint(name, namespace), legs((8, 10), (7, 90)), [7, 8])
    others = build_documents(an_endpoint("churn", "shop"), legs((8, 10), (7, 90)), [7, 8])

    found, expected = dict(leaves(documents)), dict(leaves(others))
    assert found.keys() == expected.keys()
    differing = {path for path in found if found[path] != expected[path] and path[-1] != "version_info"}
    ours = {
        f"{name}-r7",
        f"{name}-r8",
        f"{name}-r7.{namespace}.svc.cluster.local.",
        f"{name}-r8.{namespace}.svc.cluster.local.",
        f"{namespace}/{name}-r7",
        f"{namespace}/{name}-r8",
    }
    ours |= {f"{name}-router", namespace, f"cluster.{name}-r"}
    assert {found[path] for path in differing} <= ours


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=63).filter(str.isprintable))
def test_nothing_else_that_the_author_writes_gets_into_the_documents(text: str) -> None:
    shares = legs((8, 10), (7, 90))

    assert build_documents(an_endpoint(version=text), shares, [7, 8]) == build_documents(an_endpoint(), shares, [7, 8])


def test_the_last_answer_of_a_connection_waits_for_a_router_that_is_short_of_time() -> None:
    """What is not written when this time is over is thrown away: seen as closed connections on a machine under load."""
    documents = build_documents(an_endpoint(), legs((7, 100)), [7])
    times = [value for path, value in leaves(documents) if path[-1] == "delayed_close_timeout"]
    assert times == ["5s"] * 3, "of the traffic, of the status port, and of what says that one has to wait"


def test_legs_keep_their_order_and_their_weights() -> None:
    route = only_route(build_routes(an_endpoint(), legs((8, 10), (7, 90))))

    assert route["match"]["prefix"] == "/"
    assert route["route"]["weighted_clusters"]["clusters"] == [
        {"name": "churn-r8", "weight": 1000},
        {"name": "churn-r7", "weight": 9000},
    ]


def test_bodies_up_to_a_size_are_waited_for_and_others_stream() -> None:
    (configuration,) = build_routes(an_endpoint(), legs((7, 100)))["resources"]
    waiting, streaming = configuration["virtual_hosts"][0]["routes"]

    (size,) = waiting["match"]["headers"]
    assert size == {"name": "content-length", "range_match": {"start": 0, "end": WHOLE_BODY_BYTES + 1}}
    assert "typed_per_filter_config" not in waiting
    assert streaming["match"] == {"prefix": "/"}
    assert streaming["typed_per_filter_config"]["envoy.filters.http.buffer"]["disabled"] is True


def test_a_leg_without_weight_is_left_out() -> None:
    route = only_route(build_routes(an_endpoint(), legs((8, 0), (7, 100))))

    assert [cluster["name"] for cluster in route["route"]["weighted_clusters"]["clusters"]] == ["churn-r7"]


@pytest.mark.parametrize("shares", [[], legs((8, 0))], ids=["no leg", "a leg without weight"])
def test_without_any_weight_the_router_answers_itself(shares: list[Leg]) -> None:
    route = only_route(build_routes(an_endpoint(), shares))

    assert "route" not in route
    assert route["direct_response"]["status"] == 503


def test_the_endpoints_time_limit_stands_in_the_routes_and_nowhere_else() -> None:
    quick, slow = an_endpoint(timeout_seconds=5), an_endpoint(timeout_seconds=600)

    assert only_route(build_routes(slow, legs((7, 100))))["route"]["timeout"] == "600s"
    assert only_route(build_routes(slow, legs((7, 100))))["route"]["idle_timeout"] == "605s"
    before, after = (build_documents(endpoint, legs((7, 100)), [7]) for endpoint in (quick, slow))
    assert {file for file in before if before[file] != after[file]} == {names.ROUTES_FILE}


def test_weights_stand_in_the_routes_and_nowhere_else() -> None:
    before = build_documents(an_endpoint(), legs((8, 10), (7, 90)), [7, 8])
    after = build_documents(an_endpoint(), legs((8, 50), (7, 50)), [7, 8])

    assert {file for file in before if before[file] != after[file]} == {names.ROUTES_FILE}


def test_a_cluster_stays_the_same_when_another_comes_in_any_order() -> None:
    alone, both = build_clusters(an_endpoint(), [7]), build_clusters(an_endpoint(), [8, 7, 8])

    assert both["resources"][0] == alone["resources"][0]
    assert both == build_clusters(an_endpoint(), [7, 8])


@settings(max_examples=50, deadline=None)
@given(weights, weights)
def test_versions_differ_exactly_when_the_content_does(
    one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]
) -> None:
    first, second = (build_documents(an_endpoint(), legs(*shares), [1]) for shares in (one, other))

    routes, other_routes = first[names.ROUTES_FILE], second[names.ROUTES_FILE]
    assert (route_version(routes) == route_version(other_routes)) == (routes == other_routes)
    assert (config_version(first) == config_version(second)) == (first == second)
    assert (render(routes) == render(other_routes)) == (routes == other_routes)
