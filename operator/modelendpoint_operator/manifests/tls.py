"""HTTPS on the router: the socket and the certificate, in Envoy's words; and what plain HTTP is answered then.

The certificate is not here: Envoy reads it from the mounted Secret, and again whenever the kubelet changes that.
"""

from modelendpoint_operator import names
from modelendpoint_operator.api.routing import Tls
from modelendpoint_operator.manifests.http_manager import build_http_manager
from modelendpoint_operator.manifests.xds import TYPES, Document, discovery, file_source

_CERTIFICATE = "certificate"
_SOCKET = f"{TYPES}.extensions.transport_sockets.tls.v3"

CERTIFICATE_STATS = ("ssl_context_update_by_sds", "sds.certificate.key_rotation_failed", ".ssl.certificate.")
"""Parts of the names of Envoy's statistics of it: how often one was taken up and how often not, and when it ends."""

HANDSHAKE_SECONDS = 10
"""Longest time that a client may take for the handshake."""

HTTPS_ONLY = (
    f"This endpoint takes requests over HTTPS only: use https:// and port {names.SERVICE_TLS_PORT} (spec.routing.tls)"
)


def serves_plain_http(tls: Tls | None) -> bool:
    """Say whether requests over plain HTTP are answered by models."""
    return tls is None or tls.allow_http


def build_tls() -> Document:
    """Build what a filter chain says to speak TLS, and HTTP/2 with clients that can."""
    return {
        "transport_socket_connect_timeout": f"{HANDSHAKE_SECONDS}s",
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_SOCKET}.DownstreamTlsContext",
                "common_tls_context": {
                    "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_2",
                        "tls_maximum_protocol_version": "TLSv1_3",
                    },
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificate_sds_secret_configs": [
                        {"name": _CERTIFICATE, "sds_config": file_source(names.SECRETS_FILE)}
                    ],
                },
            },
        },
    }


def build_certificate() -> Document:
    """Build the file that says where the certificate is (SDS). Pods without the Secret have none, and refuse everybody."""
    # Through the link that the kubelet swaps: those beside it come only after it, and are not watched.
    folder = f"{names.TLS_DIR}/..data"
    certificate = {
        "certificate_chain": {"filename": f"{folder}/{names.TLS_CERTIFICATE_KEY}"},
        "private_key": {"filename": f"{folder}/{names.TLS_PRIVATE_KEY}"},
        "watched_directory": {"path": names.TLS_DIR},
    }
    return discovery([{"@type": f"{_SOCKET}.Secret", "name": _CERTIFICATE, "tls_certificate": certificate}])


def build_https_only() -> Document:
    """Build the manager that tells every client of plain HTTP to use HTTPS, before it reads a body or asks for a key."""
    answer = {"status": 403, "body": {"inline_string": HTTPS_ONLY}}
    host = {"name": "plain", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": answer}]}
    return build_http_manager(stat_prefix="plain", routes={"route_config": {"name": "plain", "virtual_hosts": [host]}})
