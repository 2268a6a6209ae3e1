"""How the endpoint's Service is reached from outside: an HTTPRoute or an Ingress. Weights must not be here.

They lead to the router, which does the rest as for callers inside the cluster: weights, variants, stickiness, access.
"""

from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.exposure import Gateway, Ingress
from modelendpoint_operator.manifests.metadata import build_metadata
from modelendpoint_operator.manifests.tls import serves_plain_http

MARGIN_SECONDS = 5
"""A gateway waits that much longer than the router, whose answer says what took too long."""


def build_exposure(endpoint: ModelEndpoint) -> list[dict[str, Any]]:
    """Build what leads to the endpoint from outside."""
    routing = endpoint.spec.routing
    return [
        *([_http_route(endpoint, routing.gateway)] if routing.gateway else []),
        *([_ingress(endpoint, routing.ingress)] if routing.ingress else []),
    ]


def _port(endpoint: ModelEndpoint) -> int:
    """Choose the port of the Service: where plain HTTP is refused, whoever leads there has to speak TLS."""
    return names.SERVICE_PORT if serves_plain_http(endpoint.spec.routing.tls) else names.SERVICE_TLS_PORT


def _http_route(endpoint: ModelEndpoint, gateway: Gateway) -> dict[str, Any]:
    seconds = endpoint.spec.longest_answer_seconds + MARGIN_SECONDS
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": build_metadata(endpoint, name=endpoint.name, component=names.COMPONENT_ROUTER),
        "spec": {
            "parentRefs": [
                part.model_dump(mode="json", by_alias=True, exclude_none=True) for part in gateway.parent_refs
            ],
            **({"hostnames": list(gateway.hostnames)} if gateway.hostnames else {}),
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [{"name": names.service_name(endpoint.name), "port": _port(endpoint)}],
                    "timeouts": {"request": f"{seconds}s"},
                }
            ],
        },
    }


def _ingress(endpoint: ModelEndpoint, ingress: Ingress) -> dict[str, Any]:
    service = {"name": names.service_name(endpoint.name), "port": {"number": _port(endpoint)}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": {"service": service}}]
    secret = ingress.tls_secret_ref
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": build_metadata(
            endpoint, name=endpoint.name, component=names.COMPONENT_ROUTER, annotations=ingress.annotations
        ),
        "spec": {
            **({"ingressClassName": ingress.class_name} if ingress.class_name else {}),
            **({"tls": [{"hosts": list(ingress.hostnames), "secretName": secret.name}]} if secret else {}),
            "rules": [{"host": host, "http": {"paths": paths}} for host in ingress.hostnames],
        },
    }
