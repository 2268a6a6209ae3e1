"""The router's Envoy configuration, as plain dicts: one builder for each file that Envoy watches.

Weights stand in the routes only: a change of routes touches no connection, while a changed listener drains the
clients' connections and a changed cluster rebuilds those to the model servers. What differs between endpoints in the
listeners and the bootstrap is therefore nothing but names. Choosing weights must not be here.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.access import build_access_filters
from modelendpoint_operator.manifests.bootstrap import build_bootstrap
from modelendpoint_operator.manifests.cors import build_cors_filters
from modelendpoint_operator.manifests.holding import build_held_cluster, build_sleeping_cluster
from modelendpoint_operator.manifests.http_manager import build_buffer_filter, build_http_manager
from modelendpoint_operator.manifests.mounts import listeners_file
from modelendpoint_operator.manifests.rate_limit import build_rate_limit_filters
from modelendpoint_operator.manifests.routes import WHOLE_BODY_BYTES, build_routes
from modelendpoint_operator.manifests.tls import build_certificate, build_https_only, build_tls, serves_plain_http
from modelendpoint_operator.manifests.xds import TYPES, Document, address, content_hash, discovery, file_source
from modelendpoint_operator.observation import Leg

BUFFER_BYTES = 1024 * 1024
"""Bytes of an answer, or of a request that streams, that are held at once."""

CHECK_SECONDS = 1
"""How often each router pod asks each pod of a revision whether it is ready. Less than the time in which a server that
was told to end still answers, so that no request meets one that has ended."""

CHECK_TIMEOUT_SECONDS = 5
"""Longer than a busy server ever takes to say that it is ready: three that fail in a row take its traffic away."""

COPIES_AT_ONCE = {"max_connections": 64, "max_pending_requests": 16, "max_requests": 64}
"""Copies that a router pod has under way to a shadow at the same time. Each may hold a body of
``WHOLE_BODY_BYTES``; more are dropped, so that a shadow which is too slow can't fill the router's memory."""

UPSTREAM_IDLE_SECONDS = 20
"""Below the model server's own 30 s, so that never a request meets a connection that the server is just closing."""


def build_clusters(
    endpoint: ModelEndpoint,
    revisions: Sequence[int],
    *,
    shadows: Collection[int] = (),
    holding: Mapping[int, bool] = MappingProxyType({}),
    domain: str = names.CLUSTER_DOMAIN,
) -> Document:
    """Build the clusters (CDS): one for each revision, whose hosts are the revision's pods that say they are ready."""
    clusters = {revision: _cluster(endpoint, revision, domain=domain) for revision in sorted(set(revisions))}
    clusters |= {revision: build_sleeping_cluster(endpoint, revision) for revision, sleeps in holding.items() if sleeps}
    copies_only = {"circuit_breakers": {"thresholds": [COPIES_AT_ONCE]}}
    return discovery(
        [
            *({**cluster, **copies_only} if revision in shadows else cluster for revision, cluster in clusters.items()),
            *(build_held_cluster(endpoint, revision) for revision in sorted(holding)),
        ]
    )


def build_listeners(endpoint: ModelEndpoint) -> Document:
    """Build the listeners (LDS) that applications call. They are the same for all endpoints with the same ``spec.routing``."""
    tls = endpoint.spec.routing.tls
    answering = _manager(endpoint)
    plain = answering if serves_plain_http(tls) else build_https_only()
    listeners = [_listener("traffic", port=names.ROUTER_PORT, chain={"filters": [plain]})]
    if tls is not None:
        chain = {"filters": [answering], **build_tls()}
        listeners.append(_listener("traffic-tls", port=names.ROUTER_TLS_PORT, chain=chain))
    return discovery(listeners)


def _manager(endpoint: ModelEndpoint) -> Document:
    routes = {"route_config_name": names.ROUTE_CONFIG_NAME, "config_source": file_source(names.ROUTES_FILE)}
    routing = endpoint.spec.routing
    return build_http_manager(
        stat_prefix=names.STAT_PREFIX,
        routes={"rds": routes},
        # A browser has no key when it asks for a page, a limit may be a client's, and nobody's body is waited for before it
        # is known that he may call.
        filters=[
            *build_cors_filters(routing.cors),
            *build_access_filters(routing.auth),
            *build_rate_limit_filters(routing),
            build_buffer_filter(most_bytes=WHOLE_BODY_BYTES),
        ],
    )


def _listener(name: str, *, port: int, chain: Document) -> Document:
    return {
        "@type": f"{TYPES}.config.listener.v3.Listener",
        "name": name,
        "address": address("0.0.0.0", port),
        "traffic_direction": "INBOUND",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [chain],
    }


def build_documents(
    endpoint: ModelEndpoint,
    legs: Sequence[Leg],
    cluster_revisions: Sequence[int],
    *,
    shadows: Collection[int] = (),
    holding: Mapping[int, bool] = MappingProxyType({}),
    domain: str = names.CLUSTER_DOMAIN,
) -> dict[str, Document]:
    """Build all files of the router's ConfigMap. ``shadows`` are the revisions that get copies only, ``holding`` those whose
    requests may have to be held, and whether they have no pods now.

    A revision must be among ``cluster_revisions`` in a write before the one that gives it a leg, and stay there until
    the write after the one that takes its last leg: Envoy takes up the two files one after the other.
    """
    return {
        names.BOOTSTRAP_FILE: build_bootstrap(endpoint),
        listeners_file(endpoint.spec.routing): build_listeners(endpoint),
        names.CLUSTERS_FILE: build_clusters(
            endpoint, cluster_revisions, shadows=shadows, holding=holding, domain=domain
        ),
        names.ROUTES_FILE: build_routes(endpoint, legs),
        **({names.SECRETS_FILE: build_certificate()} if endpoint.spec.routing.tls else {}),
    }


def render(document: Mapping[str, Any]) -> str:
    """Write a document as the text of its file; equal documents give equal text."""
    return json.dumps(document, sort_keys=True, indent=1)


def config_version(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Name the content of all files together: what a router pod is poked with."""
    return content_hash(documents)


def _cluster(endpoint: ModelEndpoint, revision: int, *, domain: str) -> Document:
    name = names.revision_name(endpoint.name, revision)
    host = names.revision_host(endpoint.name, revision, namespace=endpoint.namespace, domain=domain)
    return {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": name,
        "cluster_type": {
            "name": "envoy.clusters.dns",
            "typed_config": {
                "@type": f"{TYPES}.extensions.clusters.dns.v3.DnsCluster",
                "dns_refresh_rate": "1s",
                "dns_failure_refresh_rate": {"base_interval": "1s", "max_interval": "2s"},
                "dns_lookup_family": "V4_PREFERRED",
                "typed_dns_resolver_config": _dns_resolver(),
            },
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": _endpoint(host)}]}],
        },
        "health_checks": [
            _health_check(names.revision_identity(endpoint.name, revision, namespace=endpoint.namespace))
        ],
        "lb_policy": "LEAST_REQUEST",
        # Longer than the 1 s after which the kernel sends a lost SYN again.
        "connect_timeout": "2.5s",
        "common_lb_config": {
            # Never send to hosts that are known to be bad, however many those are.
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
                "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": f"{UPSTREAM_IDLE_SECONDS}s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _endpoint(host: str) -> Document:
    return {
        "address": address(host, names.SERVER_PORT),
        "health_check_config": {"port_value": names.MANAGEMENT_PORT},
    }


def _health_check(identity: str) -> Document:
    """Ask each pod itself whether it is ready, as the kubelet does.

    With this, DNS only brings pods: one that it does not name any more stays as long as it says that it is ready. So the
    pods of a node that the control plane has lost for a while serve on, and so does one that was told to end, while the
    next one starts. A pod that says no, or is not one of the revision, is out at once; one that is silent, after three
    checks.
    """
    interval = f"{CHECK_SECONDS}s"
    return {
        "interval": interval,
        "no_traffic_interval": interval,
        "timeout": f"{CHECK_TIMEOUT_SECONDS}s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        "http_health_check": {
            "path": names.PATH_READY,
            # What the pod calls itself, in the header x-envoy-upstream-healthchecked-cluster.
            "service_name_matcher": {"exact": identity},
            # A server that failed to answer has not said that it is not ready.
            "retriable_statuses": [{"start": 500, "end": 501}],
        },
    }


def _dns_resolver() -> Document:
    # c-ares would wait 5 s for a lost packet, and go on asking a DNS pod that is gone.
    return {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": f"{TYPES}.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
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

    A model that answers 500 must be seen by the gates, and a host that is short of time must not push its
    load on the others. At most half of the hosts are taken out, so a revision with one pod keeps it.
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
        # The checks ask another port than the one to which connections failed.
        "successful_active_health_check_uneject_host": False,
    }
