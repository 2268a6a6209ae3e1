"""Who may call an endpoint, in the words of Envoy's filters: API keys that are known by their sha256, and tokens.

Whatever goes wrong, no request may pass: a missing file has no key, a failed script has no client. Nothing secret may
be in these documents, because they go into a ConfigMap.

Why a script for the keys: Envoy's own filter for API keys wants them in clear in its configuration, and the one for
passwords reads its file once, and takes SHA-1. Why a fetch for key sets: a key set that is named as a file is read once.
"""

from modelendpoint_operator import names
from modelendpoint_operator.api.routing import ApiKeys, Auth, Jwt
from modelendpoint_operator.manifests.scripts import FILE_SERVER, KEY_CHECK, build_script
from modelendpoint_operator.manifests.xds import TYPES, Document

TOKEN_FILTER = "envoy.filters.http.jwt_authn"  # noqa: S105
CLAIMS = "claims"
"""Where that filter leaves what a good token says."""
CLIENT_METADATA = "modelendpoint"
KEY_SET = "jwks"
"""Name of the listener and cluster by which the router gives its key set to itself."""
KEY_SET_SECONDS = 2
"""How long a key set is used before the mounted file is read again."""

_FILTERS = f"{TYPES}.extensions.filters.http"


def build_access_filters(auth: Auth | None) -> list[Document]:
    """Build the filters that ask for a key or a token; none where everybody may call."""
    if auth is None:
        return []
    if auth.api_keys is not None:
        return [_key_filter(auth.api_keys), _known_clients_only()]
    return [] if auth.jwt is None else [_token_filter(auth.jwt)]


def build_key_set_parts() -> dict[str, list[Document]]:
    """Build the listener and the cluster that give the mounted key set to the filter for tokens.

    The listener is inside the process: nobody else can connect to it.
    """
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_FILTERS}.router.v3.Router"}}
    host = {
        "name": KEY_SET,
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 503}}],
    }
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": KEY_SET,
            "route_config": {"name": KEY_SET, "virtual_hosts": [host]},
            "http_filters": [build_script(FILE_SERVER, {"file": f"{names.JWKS_DIR}/{names.JWKS_KEY}"}), router],
        },
    }
    address = {"envoy_internal_address": {"server_listener_name": KEY_SET, "endpoint_id": KEY_SET}}
    listener = {
        "name": KEY_SET,
        "internal_listener": {},
        # Without a key set every token is refused.
        "ignore_global_conn_limit": True,
        "bypass_overload_manager": True,
        "filter_chains": [{"filters": [manager]}],
    }
    cluster = {
        "name": KEY_SET,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": KEY_SET,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    return {"listeners": [listener], "clusters": [cluster]}


def build_internal_listeners() -> Document:
    """Build the extension without which Envoy has no listeners inside the process."""
    kind = f"{TYPES}.extensions.bootstrap.internal_listener.v3.InternalListener"
    return {"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": kind}}


def _key_filter(keys: ApiKeys) -> Document:
    return build_script(KEY_CHECK, {"header": keys.header.lower(), "file": f"{names.KEYS_DIR}/{names.KEYS_KEY}"})


def _known_clients_only() -> Document:
    """Refuse whom the script before has given no name: Envoy lets requests of a script that failed go on."""
    has_name = {"filter": CLIENT_METADATA, "path": [{"key": "client"}], "value": {"present_match": True}}
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": f"{_FILTERS}.rbac.v3.RBAC",
            "rules": {
                "action": "ALLOW",
                "policies": {"known": {"permissions": [{"any": True}], "principals": [{"metadata": has_name}]}},
            },
        },
    }


def _token_filter(jwt: Jwt) -> Document:
    fetch = {"uri": f"http://{KEY_SET}/", "cluster": KEY_SET, "timeout": "1s"}
    provider = {
        "issuer": jwt.issuer,
        "audiences": list(jwt.audiences),
        "remote_jwks": {"http_uri": fetch, "cache_duration": f"{KEY_SET_SECONDS}s"},
        # Left to itself Envoy would take a token from the URL too, which ends up in logs.
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "require_expiration": True,
        "payload_in_metadata": CLAIMS,
    }
    return {
        "name": TOKEN_FILTER,
        "typed_config": {
            "@type": f"{_FILTERS}.jwt_authn.v3.JwtAuthentication",
            "providers": {"issuer": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
        },
    }
