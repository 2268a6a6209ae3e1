"""What Envoy reads once, at its start: its admin interface and the window to it, its limits, its statistics.

What may change while Envoy runs must not be here (``manifests.envoy``).
"""

from collections.abc import Sequence

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.access import build_internal_listeners, build_key_set_parts
from modelendpoint_operator.manifests.holding import build_holding_parts
from modelendpoint_operator.manifests.http_manager import build_http_manager
from modelendpoint_operator.manifests.mounts import Mount, listeners_file, router_mounts
from modelendpoint_operator.manifests.scripts import TROUBLE_TELLER, build_script
from modelendpoint_operator.manifests.tls import CERTIFICATE_STATS
from modelendpoint_operator.manifests.xds import TYPES, Document, address, file_source

MAX_HEAP_BYTES = 640 * 1024 * 1024
"""Heap at which Envoy refuses work. Stays below the memory limit of the router's container (``manifests.router``) by
what may come in between two looks at it."""

MAX_DOWNSTREAM_CONNECTIONS = 10_000
"""Connections from clients to one router pod."""

LATENCY_BUCKETS_MS = (
    1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 750,
    1000, 1500, 2000, 3000, 5000, 7500, 10_000, 20_000, 30_000, 60_000, 300_000, 3_600_000,
)  # fmt: skip
"""Upper bounds of the latency histograms, dense where a prediction's percentiles lie."""

_STATUS_PATHS = ("/ready", "/stats", "/stats/prometheus")
_ADMIN_CLUSTER = "admin"


def build_bootstrap(endpoint: ModelEndpoint) -> Document:
    """Build what Envoy reads once, at its start. A change needs new router pods.

    The read-only window to the admin interface stands here and not among the listeners, so that the router can still
    be asked what is wrong when it refuses them.
    """
    mounts = router_mounts(endpoint.spec.routing)
    return {
        "node": {"id": names.router_name(endpoint.name), "cluster": endpoint.namespace},
        "admin": {
            "address": address("127.0.0.1", names.ROUTER_ADMIN_PORT),
            "allow_paths": [{"exact": "/ready"}, {"prefix": "/stats"}, {"exact": "/healthcheck/fail"}],
        },
        "dynamic_resources": {
            "lds_config": file_source(listeners_file(endpoint.spec.routing)),
            "cds_config": file_source(names.CLUSTERS_FILE),
        },
        **_static_parts(mounts),
        "overload_manager": _overload_manager(),
        "stats_config": _stats_config(endpoint),
        # Histograms are complete whenever somebody looks, not only every 5 s.
        "stats_flush_on_admin": True,
    }


def _static_parts(mounts: Sequence[Mount]) -> Document:
    parts = [{"listeners": [_status_listener(mounts)], "clusters": [_admin_cluster()]}, build_holding_parts()]
    if any(mount.folder == names.JWKS_DIR for mount in mounts):
        parts.append(build_key_set_parts())
    return {
        "bootstrap_extensions": [build_internal_listeners()],
        "static_resources": {
            kind: [item for part in parts for item in part[kind]] for kind in ("listeners", "clusters")
        },
    }


def _status_listener(mounts: Sequence[Mount]) -> Document:
    host = {"name": "status", "domains": ["*"], "routes": [_status_route(path) for path in _STATUS_PATHS]}
    routes = {"name": "status", "virtual_hosts": [host]}
    telling = [build_script(TROUBLE_TELLER, {mount.name: mount.file for mount in mounts})] if mounts else []
    manager = build_http_manager(stat_prefix="status", routes={"route_config": routes}, filters=telling)
    return {
        "name": "status",
        "address": address("0.0.0.0", names.ROUTER_STATUS_PORT),
        # Whoever looks what is wrong with a router under load must get an answer.
        "ignore_global_conn_limit": True,
        "bypass_overload_manager": True,
        "filter_chains": [{"filters": [manager]}],
    }


def _status_route(path: str) -> Document:
    # The admin interface can end the process and show secrets; only these paths, and only reading, get through.
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
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address("127.0.0.1", names.ROUTER_ADMIN_PORT)}}]}],
        },
    }


def _overload_manager() -> Document:
    heap, connections = (
        "envoy.resource_monitors.fixed_heap",
        "envoy.resource_monitors.global_downstream_max_connections",
    )
    monitors = f"{TYPES}.extensions.resource_monitors"
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
            # Bodies that never end must not keep the memory that others need: the nearer the limit, the shorter may a
            # stream be silent.
            {
                "name": "envoy.overload_actions.reduce_timeouts",
                "triggers": [{"name": heap, "scaled": {"scaling_threshold": 0.7, "saturation_threshold": 0.9}}],
                "typed_config": {
                    "@type": f"{TYPES}.config.overload.v3.ScaleTimersOverloadActionConfig",
                    "timer_scale_factors": [
                        {"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": "5s"},
                        {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "5s"},
                    ],
                },
            },
            {"name": "envoy.overload_actions.shrink_heap", "triggers": [_trigger(heap, 0.95)]},
            {"name": "envoy.overload_actions.stop_accepting_requests", "triggers": [_trigger(heap, 0.98)]},
        ],
    }


def _trigger(monitor: str, threshold: float) -> Document:
    return {"name": monitor, "threshold": {"value": threshold}}


def _stats_config(endpoint: ModelEndpoint) -> Document:
    kept = (
        f"cluster.{endpoint.name}-r",
        f"cluster.{names.HOLD}.upstream_rq_total",
        f"http.{names.STAT_PREFIX}.",
        f"{names.STAT_PREFIX}.http_local_rate_limit.",
        "cluster_manager.",
        "listener_manager.",
        "overload.",
        "runtime.deprecated_feature_use",
        "server.",
    )
    patterns = [
        *({"prefix": prefix} for prefix in kept),
        *({"contains": part} for part in (CERTIFICATE_STATS if endpoint.spec.routing.tls else ())),
    ]
    return {
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
        "histogram_bucket_settings": [
            {"match": {"suffix": "upstream_rq_time"}, "buckets": list(LATENCY_BUCKETS_MS)},
        ],
    }
