"""Limits of requests, in the words of Envoy's own filter: a bucket for each caller, in each router pod by itself.

The buckets belong to the listener and not to the routes: a new weight must not fill them.
"""

import math

from modelendpoint_operator import names
from modelendpoint_operator.api.routing import Auth, LimitedBy, RateLimit
from modelendpoint_operator.api.spec import Routing
from modelendpoint_operator.manifests.access import CLAIMS, CLIENT_METADATA, TOKEN_FILTER
from modelendpoint_operator.manifests.xds import TYPES, Document, header

MOST_BUCKETS = 2048
"""Callers that have a bucket of their own at the same time. Whoever was silent for longest loses it, and has a full one
with the next request. A header may be long, so this also bounds memory."""

LIMIT_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
"""On every answer of an endpoint with a limit: what the router pod has left for the caller."""

_CALLER = "caller"


def build_rate_limit_filters(routing: Routing) -> list[Document]:
    """Build the filter that answers 429 to what is too much; none where there is no limit."""
    limit = routing.rate_limit
    if limit is None:
        return []
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    bucket, caller = _bucket(limit, routers=routing.replicas), _caller(limit, routing.auth)
    settings = {
        "@type": f"{TYPES}.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": names.STAT_PREFIX,
        # Of all requests, or of those that do not say whose they are.
        "token_bucket": bucket,
        "filter_enabled": always,
        "filter_enforced": always,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "response_headers_to_add": [header("retry-after", str(_retry_after(limit, routers=routing.replicas)))],
        **({} if caller is None else _buckets_of_callers(caller, bucket)),
    }
    return [{"name": "envoy.filters.http.local_ratelimit", "typed_config": settings}]


def _buckets_of_callers(caller: Document, bucket: Document) -> Document:
    return {
        "rate_limits": [{"actions": [caller]}],
        # Without a value: each value that is met gets its own.
        "descriptors": [
            {"entries": [{"key": "remote_address" if "remote_address" in caller else _CALLER}], "token_bucket": bucket}
        ],
        "max_dynamic_descriptors": MOST_BUCKETS,
        "always_consume_default_token_bucket": False,
    }


def _bucket(limit: RateLimit, *, routers: int) -> Document:
    """Build the share of one router: all of them together fill by what the spec says, whether it can be divided or not."""
    return {
        "max_tokens": math.ceil(limit.requests / routers),
        "tokens_per_fill": limit.requests,
        "fill_interval": f"{limit.per_seconds * routers}s",
    }


def _retry_after(limit: RateLimit, *, routers: int) -> int:
    """Count the seconds after which an empty bucket has room for a request."""
    return math.ceil(limit.per_seconds * routers / limit.requests)


def _caller(limit: RateLimit, auth: Auth | None) -> Document | None:
    """Say what of a request tells whose it is; None where all are counted together."""
    match limit.by:
        case LimitedBy.HEADER:
            return {"request_headers": {"header_name": limit.header, "descriptor_key": _CALLER}}
        case LimitedBy.ADDRESS:
            # Here Envoy chooses the key.
            return {"remote_address": {}}
        case LimitedBy.CLIENT:
            # The subject of the token, or the name that stands beside the key's sha256.
            is_token = auth is not None and auth.jwt is not None
            return _metadata(TOKEN_FILTER, CLAIMS, "sub") if is_token else _metadata(CLIENT_METADATA, "client")
    return None


def _metadata(filter_name: str, *path: str) -> Document:
    key = {"key": filter_name, "path": [{"key": part} for part in path]}
    return {"metadata": {"descriptor_key": _CALLER, "metadata_key": key, "source": "DYNAMIC"}}
