"""How the router holds requests while no pod of a revision runs. Deciding that none runs must not be here.

Envoy answers 503 at once where a cluster has no host. So requests to a revision that sleeps go to a cluster with two
parts: the revision's own pods, and while there are none a listener inside the router, whose answer means "ask again".
Envoy does so after a fraction of a second, with the same request and by the same cluster: as soon as it knows a pod, that
one answers, and no route has to change for it.
"""

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.http_manager import build_http_manager
from modelendpoint_operator.manifests.xds import TYPES, Document, header

MOST_HELD = 100
"""Requests that a router pod holds at the same time. Each may have a body of some MiB, and all must fit into Envoy's heap;
what comes beyond is answered 503 at once."""

ASK_AGAIN_SECONDS = 0.25
"""Mean time until a held request is tried again. Envoy draws each from zero to twice that."""


def build_held_route(endpoint: ModelEndpoint, revision: int) -> Document:
    """Build what a route does with requests to a revision that sleeps."""
    seconds = endpoint.spec.wake_seconds + endpoint.spec.routing.timeout_seconds
    return {
        "route": {
            "cluster": names.held_name(endpoint.name, revision),
            "timeout": f"{seconds}s",
            "idle_timeout": f"{seconds + 5}s",
            "retry_policy": {
                # Nothing that a server may have begun with is sent again: it could be what the server died of.
                "retry_on": "retriable-headers,connect-failure,refused-stream",
                "retriable_headers": [{"name": names.HEADER_HOLD, "present_match": True}],
                "num_retries": max(1, round(endpoint.spec.wake_seconds / ASK_AGAIN_SECONDS)),
                "retry_back_off": {
                    "base_interval": f"{2 * ASK_AGAIN_SECONDS}s",
                    "max_interval": f"{2 * ASK_AGAIN_SECONDS}s",
                },
            },
        },
        "response_headers_to_remove": [names.HEADER_HOLD],
    }


def build_held_cluster(endpoint: ModelEndpoint, revision: int) -> Document:
    """Build the cluster that requests go to while a revision sleeps: its pods, else "ask again"."""
    kind = f"{TYPES}.extensions.clusters.aggregate.v3.ClusterConfig"
    parts = [names.revision_name(endpoint.name, revision), names.HOLD]
    return {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": names.held_name(endpoint.name, revision),
        "connect_timeout": "2.5s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {"@type": kind, "clusters": parts},
        },
        # A request that is held is one that is tried again.
        "circuit_breakers": {"thresholds": [{"max_retries": MOST_HELD}]},
    }


def build_sleeping_cluster(endpoint: ModelEndpoint, revision: int) -> Document:
    """Build the cluster of a revision without pods.

    It asks nobody for addresses: the cluster's DNS would remember for up to 30 s that there is none, and the first request
    would wait for that too. Its one host is never used: of a cluster without any, Envoy goes on telling how many the one
    before had.
    """
    name = names.revision_name(endpoint.name, revision)
    nowhere = {"endpoint": {"address": _inside()}, "health_status": "UNHEALTHY"}
    return {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2.5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [nowhere]}]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def build_holding_parts() -> dict[str, list[Document]]:
    """Build the listener that says "ask again", and the cluster by which the router finds it.

    The listener is inside the process: nobody else can connect to it. Every router has it, so that no endpoint needs new
    router pods before it can sleep.
    """
    answer = {
        "status": 503,
        "body": {"inline_string": "No pod runs, because no request came for a while; one is starting"},
    }
    route = {
        "match": {"prefix": "/"},
        "direct_response": answer,
        "response_headers_to_add": [header(names.HEADER_HOLD, "1"), header("retry-after", "5")],
    }
    host = {"name": names.HOLD, "domains": ["*"], "routes": [route]}
    manager = build_http_manager(
        stat_prefix=names.HOLD, routes={"route_config": {"name": names.HOLD, "virtual_hosts": [host]}}
    )
    listener = {
        "name": names.HOLD,
        "internal_listener": {},
        "ignore_global_conn_limit": True,
        "bypass_overload_manager": True,
        "filter_chains": [{"filters": [manager]}],
    }
    cluster = {
        "name": names.HOLD,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": names.HOLD,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _inside()}}]}],
        },
    }
    return {"listeners": [listener], "clusters": [cluster]}


def _inside() -> Document:
    return {"envoy_internal_address": {"server_listener_name": names.HOLD, "endpoint_id": names.HOLD}}
