"""Envoy's HTTP connection manager: how requests are read, made normal and refused, the same on both listeners.

Routes must not be here.
"""

from collections.abc import Sequence

from modelendpoint_operator.manifests.xds import TYPES, Document, header

BUFFER_FILTER = "envoy.filters.http.buffer"


def build_http_manager(*, stat_prefix: str, routes: Document, filters: Sequence[Document] = ()) -> Document:
    """Build the filter that speaks HTTP, hardened as Envoy's guide for edge proxies says.

    ``filters`` see a request before it is routed.
    """
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": stat_prefix,
            **routes,
            "http_filters": [*filters, _router_filter()],
            **_edge_options(),
            **_request_id_options(),
            "local_reply_config": _local_replies(),
        },
    }


def build_buffer_filter(*, most_bytes: int) -> Document:
    """Build the filter that waits for a request's whole body before anything of it goes on.

    A slow client so holds a few bytes here, where connections are cheap, and no thread of a model server.
    """
    return {
        "name": BUFFER_FILTER,
        "typed_config": {
            "@type": f"{TYPES}.extensions.filters.http.buffer.v3.Buffer",
            "max_request_bytes": most_bytes,
        },
    }


def pass_buffer() -> Document:
    """Build what a route says to have its requests pass the buffer filter by."""
    kind = f"{TYPES}.extensions.filters.http.buffer.v3.BufferPerRoute"
    return {"typed_per_filter_config": {BUFFER_FILTER: {"@type": kind, "disabled": True}}}


def _router_filter() -> Document:
    # Clients can't steer timeouts and retries by x-envoy-* headers, and get none back.
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": f"{TYPES}.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": True,
        },
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
            "initial_connection_window_size": 1024 * 1024,
        },
        "request_headers_timeout": "5s",
        "request_timeout": "300s",
        "stream_idle_timeout": "300s",
        # After an answer that is the last one of its connection. Envoy's own 1 s also runs while the answer still waits
        # to be written, so a router that got no processor for that long would throw it away. Longer, and a client whose
        # large body was refused while it sends would wait for that long before it reads the answer.
        "delayed_close_timeout": "5s",
    }


def _request_id_options() -> Document:
    return {
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {
            "typed_config": {
                "@type": f"{TYPES}.extensions.request_id.uuid.v3.UuidRequestIdConfig",
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
            _local_reply({"metadata_filter": _trouble_told()}, "AccessNotReady", "%LOCAL_REPLY_BODY%", retry_after=5),
            _local_reply({statuses: _equals(503)}, "NoRevisionReady", "%LOCAL_REPLY_BODY%"),
            {
                # Envoy's status for a body that it did not keep, and then would have to send a second time.
                **_local_reply(
                    {statuses: _equals(507)},
                    "NoPodReady",
                    "No model server took the request, and its body is too large to be kept until one does",
                    retry_after=5,
                ),
                "status_code": 503,
            },
            _local_reply({statuses: _equals(401)}, "Unauthenticated", "%LOCAL_REPLY_BODY%"),
            _local_reply({statuses: _equals(403)}, "Forbidden", "%LOCAL_REPLY_BODY%"),
            _local_reply(
                {statuses: _equals(400)},
                "BadRequest",
                "The request is not accepted as HTTP; its path must have no escaped slashes, "
                "and the names of its headers no underscores",
            ),
            _local_reply({statuses: _equals(408)}, "RequestTimeout", "The request did not arrive in time"),
            _local_reply(
                {statuses: _equals(429)},
                "RateLimited",
                "Too many requests; send it again after the seconds in the header retry-after. The limit is "
                "spec.routing.rateLimit of the ModelEndpoint",
            ),
            _local_reply(
                {statuses: _equals(431)}, "HeadersTooLarge", "The headers of the request are larger than 60 KiB"
            ),
        ],
        "body_format": _error_body("RequestRefused", "%LOCAL_REPLY_BODY%"),
    }


def _local_reply(selection: Document, code: str, error: str, *, retry_after: int | None = None) -> Document:
    mapper: Document = {"filter": selection, "body_format_override": _error_body(code, error)}
    if retry_after is not None:
        mapper["headers_to_add"] = [header("retry-after", str(retry_after))]
    return mapper


def _error_body(code: str, error: str) -> Document:
    return {"json_format": {"error": error, "code": code}}


def _trouble_told() -> Document:
    # Set by the script that checks API keys, when it has none to compare with.
    matcher = {"filter": "modelendpoint", "path": [{"key": "trouble"}], "value": {"present_match": True}}
    return {"matcher": matcher, "match_if_key_not_found": False}


def _equals(status: int) -> Document:
    # Envoy insists on a name by which its runtime could change the number.
    return {"comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": f"local_reply.{status}"}}}
