"""CORS: which pages' browsers may call, in the words of Envoy's own filter. Who may call must not be here.

A browser asks before it sends a page's request, and has no key to show then: this filter stands before those that ask for
one, and answers. Its rules are part of the routes, so that a change of them touches no connection.
"""

import re

from modelendpoint_operator import names
from modelendpoint_operator.api.routing import Auth, Cors
from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_operator.manifests.rate_limit import LIMIT_HEADERS
from modelendpoint_operator.manifests.xds import TYPES, Document

CORS_FILTER = "envoy.filters.http.cors"
EVERYBODY = "*"
SUBDOMAINS = "*."

_TYPE = f"{TYPES}.extensions.filters.http.cors.v3"


def build_cors_filters(cors: Cors | None) -> list[Document]:
    """Build the filter that answers browsers; none where no page may call."""
    return [] if cors is None else [{"name": CORS_FILTER, "typed_config": {"@type": f"{_TYPE}.Cors"}}]


def build_cors_policy(spec: ModelEndpointSpec) -> Document:
    """Build what the routes say to that filter."""
    cors = spec.routing.cors
    if cors is None:
        return {}
    policy = {
        "@type": f"{_TYPE}.CorsPolicy",
        "allow_origin_string_match": [_origin(origin) for origin in cors.allow_origins],
        "allow_methods": "GET, POST",
        "allow_headers": _listed([*_request_headers(spec), *(cors.allow_headers or ())]),
        "expose_headers": _listed([*_answer_headers(spec), *(cors.expose_headers or ())]),
        "allow_credentials": cors.allow_credentials,
        "max_age": str(cors.max_age_seconds),
        # A page that may not call is told so here, and not by a server that knows nothing of CORS.
        "forward_not_matching_preflights": False,
    }
    return {"typed_per_filter_config": {CORS_FILTER: policy}}


def _origin(origin: str) -> Document:
    if SUBDOMAINS not in origin:
        return {"exact": origin}
    scheme, _, domain = origin.partition(SUBDOMAINS)
    return {"safe_regex": {"regex": f"{re.escape(scheme)}[a-z0-9.-]+{re.escape('.' + domain)}"}}


def _request_headers(spec: ModelEndpointSpec) -> list[str]:
    """Name what a request to this endpoint may need; browsers let pages send little else."""
    routing = spec.routing
    sticky = routing.sticky_by.header if routing.sticky_by else None
    return [
        "content-type",
        "x-request-id",
        *_key_headers(routing.auth),
        *([sticky] if sticky else []),
        *(variant.match.header.name for variant in spec.variants if variant.match),
        *([names.HEADER_VARIANT, names.HEADER_REVISION] if routing.allow_pinning else []),
    ]


def _key_headers(auth: Auth | None) -> list[str]:
    if auth is None:
        return []
    return [auth.api_keys.header] if auth.api_keys else ["authorization"] if auth.jwt else []


def _answer_headers(spec: ModelEndpointSpec) -> list[str]:
    ours = ["x-request-id", "retry-after", names.HEADER_REVISION, names.HEADER_SHA256, names.HEADER_VARIANT]
    return [*ours, *(LIMIT_HEADERS if spec.routing.rate_limit else ())]


def _listed(headers: list[str]) -> str:
    """Write names of headers in one line, each once."""
    return ", ".join(dict.fromkeys(header.lower() for header in headers))
