"""The router's Envoy configuration, as plain dicts: one builder for each file that Envoy watches.

Weights stand in the routes only: a change of routes touches no connection, while a changed listener drains the
clients' connections and a changed cluster rebuilds those to the model servers. What differs between endpoints in the
listeners and the bootstrap is therefore nothing but names. Choosing weights must not be here.

The numbers E1 to E15 in comments are Envoy's known traps, explained where they are met.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.observation import Leg

Document = dict[str, Any]

MEBIBYTE = 1024 * 1024

MAX_HEAP_BYTES = 384 * MEBIBYTE
"""Heap at which Envoy refuses work. Stays below the memory limit of the router's container (``manifests.router``)."""

MAX_DOWNSTREAM_CONNECTIONS = 10_000
"""Connections from clients to one router pod."""

BUFFER_BYTES = MEBIBYTE
"""Bytes of a request or an answer that are held at once. A request up to this size can be sent a second time;
a larger one streams through and is sent once."""

UPSTREAM_IDLE_SECONDS = 20
"""Below the model server's own 30 s, so that never a request meets a connection that the server is just closing."""

LATENCY_BUCKETS_MS = (
    1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 750,
    1000, 1500, 2000, 3000, 5000, 7500, 10_000, 20_000, 30_000, 60_000, 300_000, 3_600_000,
)  # fmt: skip
"""Upper bounds of the latency histograms, dense where a prediction's percentiles lie."""

_TYPES = "type.googleapis.com/envoy"
_HTTP_MANAGER = f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_STATUS_PATHS = ("/ready", "/stats", "/stats/prometheus")
_ADMIN_CLUSTER = "admin"


def build_routes(endpoint: ModelEndpoint, legs: Sequence[Leg]) -> Document:
    """Build the routes (RDS): the shares of the traffic, in the given order.

    With hash based stickiness the order decides who moves when a weight changes: the caller puts the candidate first.
    Without any leg that has weight the endpoint answers 503 and says why.
    """
    weighted = [leg for leg in legs if leg.weight > 0]
    route = _weighted_route(endpoint, weighted) if weighted else _refusal()
    configuration = {
        "@type": f"{_TYPES}.config.route.v3.RouteConfiguration",
        "name": names.ROUTE_CONFIG_NAME,
        "virtual_hosts": [
            {
                "name": names.ROUTE_CONFIG_NAME,
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, **route}],
            }
        ],
    }
    return _discovery([configuration])


def build_clusters(endpoint: ModelEndpoint, revisions: Sequence[int]) -> Document:
    """Build the clusters (CDS): one for each revision, whose hosts are the revision's ready pods."""
    return _discovery([_cluster(endpoint, revision) for revision in sorted(set(revisions))])


def build_listeners(endpoint: ModelEndpoint) -> Document:
    """Build the listener (LDS) that applications call, hardened as Envoy's guide for edge proxies says (E14)."""
    manager = {
        "@type": _HTTP_MANAGER,
        "stat_prefix": names.STAT_PREFIX,
        "rds": {
            "route_config_name": names.ROUTE_CONFIG_NAME,
            "config_source": _file_source(names.ROUTES_FILE),
        },
        "http_filters": [_router_filter()],
        **_edge_options(),
        **_request_id_options(),
        "local_reply_config": _local_replies(),
    }
    listener = {
        "@type": f"{_TYPES}.config.listener.v3.Listener",
        "name": "traffic",
        "address": _address("0.0.0.0", names.ROUTER_PORT),
        "traffic_direction": "INBOUND",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [{"filters": [_http_manager_filter(manager)]}],
    }
    return _discovery([listener])


def build_bootstrap(endpoint: ModelEndpoint) -> Document:
    """Build what Envoy reads once, at its start. A change needs new router pods.

    The read-only window to the admin interface stands here and not among the listeners, so that the router can still
    be asked what is wrong when it refuses them.
    """
    return {
        "node": {"id": names.router_name(endpoint.name), "cluster": endpoint.namespace},
        "admin": {
            "address": _address("127.0.0.1", names.ROUTER_ADMIN_PORT),
            "allow_paths": [{"exact": "/ready"}, {"prefix": "/stats"}, {"exact": "/healthcheck/fail"}],
        },
        "dynamic_resources": {
            "lds_config": _file_source(names.LISTENERS_FILE),
            "cds_config": _file_source(names.CLUSTERS_FILE),
        },
        "static_resources": {"listeners": [_status_listener()], "clusters": [_admin_cluster()]},
        "overload_manager": _overload_manager(),
        "stats_config": _stats_config(endpoint),
        # Histograms are complete whenever somebody looks, not only every 5 s.
        "stats_flush_on_admin": True,
    }


def build_documents(
    endpoint: ModelEndpoint, legs: Sequence[Leg], cluster_revisions: Sequence[int]
) -> dict[str, Document]:
    """Build all files of the router's ConfigMap."""
    return {
        names.BOOTSTRAP_FILE: build_bootstrap(endpoint),
        names.LISTENERS_FILE: build_listeners(endpoint),
        names.CLUSTERS_FILE: build_clusters(endpoint, cluster_revisions),
        names.ROUTES_FILE: build_routes(endpoint, legs),
    }


def render(document: Mapping[str, Any]) -> str:
    """Write a document as the text of its file; equal documents give equal text."""
    return json.dumps(document, sort_keys=True, indent=1)


def content_hash(document: Mapping[str, Any] | Sequence[Any]) -> str:
    """Name a document's content in 12 hex digits."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


def config_version(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Name the content of all files together: what a router pod is poked with."""
    return content_hash(documents)


def route_version(routes: Mapping[str, Any]) -> str:
    """Read the version of a routes document, which Envoy reports back once it uses it."""
    version: str = routes["version_info"]
    return version


def _discovery(resources: list[Document]) -> Document:
    return {"version_info": content_hash(resources), "resources": resources}


def _file_source(file: str) -> Document:
    # E2: a ConfigMap's files change by a swap of the link `..data`, which is only seen on the folder.
    return {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": f"{names.ROUTER_CONFIG_DIR}/{file}",
            "watched_directory": {"path": names.ROUTER_CONFIG_DIR},
        },
    }


def _address(host: str, port: int) -> Document:
    return {"socket_address": {"address": host, "port_value": port}}


def _http_manager_filter(manager: Document) -> Document:
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _router_filter() -> Document:
    # Clients can't steer timeouts and retries by x-envoy-* headers, and get none back.
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": f"{_TYPES}.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": True,
        },
    }


def _weighted_route(endpoint: ModelEndpoint, legs: Sequence[Leg]) -> Document:
    timeout = endpoint.spec.routing.timeout_seconds
    return {
        "route": {
            "weighted_clusters": {
                "clusters": [
                    {"name": names.revision_name(endpoint.name, leg.revision), "weight": leg.weight} for leg in legs
                ]
            },
            "timeout": f"{timeout}s",
            # Without it the listener's limit for silent requests would end a prediction that may take longer.
            "idle_timeout": f"{timeout + 5}s",
            "retry_policy": _retry_policy(),
        }
    }


def _retry_policy() -> Document:
    # A prediction has no side effect, so one whose server died before it answered is safe to send again (E12).
    # Answers of a server, errors too, are never retried: they are the model's, and gates count them.
    return {
        "retry_on": "connect-failure,refused-stream,reset",
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.1s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{_TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }


def _refusal() -> Document:
    # The body's form and code come from the listener's local replies, like those of all answers that Envoy makes.
    return {
        "direct_response": {
            "status": 503,
            "body": {"inline_string": "No revision of this endpoint is ready; see the status of the ModelEndpoint"},
        },
        "response_headers_to_add": [_header("retry-after", "5")],
    }


def _header(key: str, value: str) -> Document:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _cluster(endpoint: ModelEndpoint, revision: int) -> Document:
    name = names.revision_name(endpoint.name, revision)
    host = names.revision_host(endpoint.name, revision, namespace=endpoint.namespace)
    return {
        "@type": f"{_TYPES}.config.cluster.v3.Cluster",
        "name": name,
        "cluster_type": {
            "name": "envoy.clusters.dns",
            "typed_config": {
                "@type": f"{_TYPES}.extensions.clusters.dns.v3.DnsCluster",
                "dns_refresh_rate": "1s",
                "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "2s"},
                "dns_lookup_family": "V4_PREFERRED",
                "typed_dns_resolver_config": _dns_resolver(),
            },
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, names.SERVER_PORT)}}]}],
        },
        "lb_policy": "LEAST_REQUEST",
        "connect_timeout": "1s",
        "common_lb_config": {
            # E8: never send to hosts that are known to be bad, however many those are.
            "healthy_panic_threshold": {"value": 0},
            # A host that is taken out is taken out now, and not up to 1 s later together with other changes: until
            # then it would draw most requests, because it fails them fastest.
            "update_merge_window": "0s",
        },
        "circuit_breakers": _circuit_breakers(),
        "outlier_detection": _outlier_detection(),
        "upstream_connection_options": {
            # A node that vanished is noticed in 25 s, also by a request that waits for its answer.
            "tcp_keepalive": {"keepalive_time": 10, "keepalive_interval": 5, "keepalive_probes": 3}
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": f"{UPSTREAM_IDLE_SECONDS}s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _dns_resolver() -> Document:
    # c-ares would wait 5 s for a lost packet, and go on asking a DNS pod that is gone.
    return {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": f"{_TYPES}.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "query_timeout_seconds": 1,
            "query_tries": 3,
            "reinit_channel_on_timeout": True,
        },
    }


def _circuit_breakers() -> Document:
    return {
        "thresholds": [
            {
                "max_connections": 1024,
                "max_pending_requests": 1024,
                "max_requests": 2048,
                # Half of the requests may be on their second try at once: so many are lost with one of two pods.
                # This can't feed an overload, because no answer of a server is a reason for a second try.
                "retry_budget": {"budget_percent": {"value": 50}, "min_retry_concurrency": 20},
            }
        ]
    }


def _outlier_detection() -> Document:
    """Take a host out after failed connections, resets and timeouts, and never for what the server answers.

    A model that answers 500 must be seen by the gates (E10), and a host that is short of time must not push its
    load on the others. At most half of the hosts are taken out, so a revision with one pod keeps it (E8).
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 5,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_failure_percentage": 0,
        "enforcing_failure_percentage_local_origin": 0,
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_time": "30s",
        "max_ejection_percent": 50,
        "always_eject_one_host": False,
    }


def _edge_options() -> Document:
    return {
        "use_remote_address": True,
        # No client is trusted with x-envoy-* headers, not even one inside the cluster. An empty list would mean all
        # private addresses; this one is nobody's.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "0.0.0.0", "prefix_len": 32}]},
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {
            "idle_timeout": "900s",
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": MEBIBYTE,
        },
        "request_headers_timeout": "5s",
        "request_timeout": "300s",
        "stream_idle_timeout": "300s",
    }


def _request_id_options() -> Document:
    return {
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {
            "typed_config": {
                "@type": f"{_TYPES}.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                # Packing would change a digit of the id that the client sent.
                "pack_trace_reason": False,
            }
        },
    }


def _local_replies() -> Document:
    """Give every answer that Envoy makes itself the form of the model server's errors. The first match wins."""
    flags, statuses = "response_flag_filter", "status_code_filter"
    return {
        "mappers": [
            _local_reply({flags: {"flags": ["UH"]}}, "NoPodReady", "No model server is ready to answer", retry_after=1),
            _local_reply(
                {flags: {"flags": ["UO", "OM"]}}, "Overloaded", "Too many requests are waiting", retry_after=1
            ),
            _local_reply(
                {flags: {"flags": ["UT", "SI"]}},
                "Timeout",
                "The model server did not answer in time; the limit is spec.routing.timeoutSeconds of the ModelEndpoint",
            ),
            _local_reply(
                {flags: {"flags": ["UF", "UC", "UR", "LR", "UPE"]}},
                "ServerConnectionFailed",
                "The connection to the model server failed before it answered",
            ),
            _local_reply({flags: {"flags": ["NR", "NC"]}}, "NotRouted", "The router has no route for this request"),
            _local_reply({statuses: _equals(503)}, "NoRevisionReady", "%LOCAL_REPLY_BODY%"),
            _local_reply(
                {statuses: _equals(400)},
                "BadRequest",
                "The request is not accepted as HTTP; its path must have no escaped slashes, "
                "and the names of its headers no underscores",
            ),
            _local_reply({statuses: _equals(408)}, "RequestTimeout", "The request did not arrive in time"),
            _local_reply(
                {statuses: _equals(431)}, "HeadersTooLarge", "The headers of the request are larger than 60 KiB"
            ),
        ],
        "body_format": _error_body("RequestRefused", "%LOCAL_REPLY_BODY%"),
    }


def _local_reply(selection: Document, code: str, error: str, *, retry_after: int | None = None) -> Document:
    mapper: Document = {"filter": selection, "body_format_override": _error_body(code, error)}
    if retry_after is not None:
        mapper["headers_to_add"] = [_header("retry-after", str(retry_after))]
    return mapper


def _error_body(code: str, error: str) -> Document:
    return {"json_format": {"error": error, "code": code}}


def _equals(status: int) -> Document:
    # Envoy insists on a name by which its runtime could change the number.
    return {"comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": f"local_reply.{status}"}}}


def _status_listener() -> Document:
    manager = {
        "@type": _HTTP_MANAGER,
        "stat_prefix": "status",
        "route_config": {
            "name": "status",
            "virtual_hosts": [
                {"name": "status", "domains": ["*"], "routes": [_status_route(path) for path in _STATUS_PATHS]}
            ],
        },
        "http_filters": [_router_filter()],
        **_edge_options(),
    }
    return {
        "name": "status",
        "address": _address("0.0.0.0", names.ROUTER_STATUS_PORT),
        "ignore_global_conn_limit": True,
        "bypass_overload_manager": True,
        "filter_chains": [{"filters": [_http_manager_filter(manager)]}],
    }


def _status_route(path: str) -> Document:
    # E15: the admin interface can end the process and show secrets; only these paths, and only reading, get through.
    return {
        "match": {"path": path, "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
        "route": {"cluster": _ADMIN_CLUSTER, "timeout": "5s"},
    }


def _admin_cluster() -> Document:
    return {
        "name": _ADMIN_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": _ADMIN_CLUSTER,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address("127.0.0.1", names.ROUTER_ADMIN_PORT)}}]}
            ],
        },
    }


def _overload_manager() -> Document:
    heap, connections = (
        "envoy.resource_monitors.fixed_heap",
        "envoy.resource_monitors.global_downstream_max_connections",
    )
    monitors = f"{_TYPES}.extensions.resource_monitors"
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": heap,
                "typed_config": {
                    "@type": f"{monitors}.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": MAX_HEAP_BYTES,
                },
            },
            {
                "name": connections,
                "typed_config": {
                    "@type": f"{monitors}.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": MAX_DOWNSTREAM_CONNECTIONS,
                },
            },
        ],
        "actions": [
            {"name": "envoy.overload_actions.shrink_heap", "triggers": [_trigger(heap, 0.95)]},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": [_trigger(heap, 0.98)]},
        ],
    }


def _trigger(monitor: str, threshold: float) -> Document:
    return {"name": monitor, "threshold": {"value": threshold}}


def _stats_config(endpoint: ModelEndpoint) -> Document:
    kept = (
        f"cluster.{endpoint.name}-r",
        f"http.{names.STAT_PREFIX}.",
        "cluster_manager.",
        "listener_manager.",
        "overload.",
        "runtime.deprecated_feature_use",
        "server.",
    )
    return {
        "stats_matcher": {"inclusion_list": {"patterns": [{"prefix": prefix} for prefix in kept]}},
        "histogram_bucket_settings": [
            {"match": {"suffix": "upstream_rq_time"}, "buckets": list(LATENCY_BUCKETS_MS)},
        ],
    }
