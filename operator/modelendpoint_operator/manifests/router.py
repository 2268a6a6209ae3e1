"""The router in front of an endpoint's model servers: Envoy's Deployment, its files, and the Service people call.

Choosing weights must not be here, and no weight may get into the Deployment: only a ConfigMap's change moves traffic.
"""

from collections.abc import Mapping
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.envoy import render
from modelendpoint_operator.manifests.metadata import build_labels, build_metadata, selector_labels
from modelendpoint_operator.manifests.mounts import router_mounts
from modelendpoint_operator.manifests.placement import build_disruption_budget, build_spread
from modelendpoint_operator.manifests.xds import Document, content_hash
from modelendpoint_operator.settings import Settings

USER = 65532
CONCURRENCY = 2
"""Envoy's worker threads. Left to itself it would start one for each core of the node."""

RESOURCES = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    # No limit for the CPU: a throttled router would add its waiting time to every prediction.
    "limits": {"memory": "1Gi"},
}

ARGUMENTS = (
    "--concurrency",
    str(CONCURRENCY),
    "--disable-hot-restart",
    # After a change of the listener, every kept connection ends with its next answer: left to itself, Envoy would let some
    # go on for ten minutes by what the spec said before.
    "--drain-strategy",
    "immediate",
    "--log-level",
    "warning",
)
"""Envoy's, beside the one that names its configuration."""

ADMIN_FUNCTION = r"""
admin() {
  exec 3<>/dev/tcp/127.0.0.1/"$PORT" || return
  printf '%s %s HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: 0\r\n\r\n' "$1" "$2" >&3
  cat <&3
}
""".strip()
"""Bash that asks Envoy's admin interface; the image has no curl."""

DRAIN_SCRIPT = r"""
admin POST /healthcheck/fail
sleep "$DRAIN_SECONDS"
while [[ $(admin GET "/stats?filter=^$ACTIVE\$") =~ "$ACTIVE: "[1-9] ]]; do sleep 0.2; done
""".strip()
"""Envoy ends at once on SIGTERM, so this runs before it, in the image's bash.

From its first line on every answer carries ``Connection: close``, so that clients on kept connections move to another
router pod between two requests, while new connections are still served: some nodes go on sending them for seconds.
After that time nothing new comes, and it waits for the requests that still run. The grace period of the pod ends it.
"""

CERTIFICATE_SCRIPT = r"""
[[ $(admin GET /stats?filter=ssl_context_update_by_sds) =~ "by_sds: "[1-9] ]]
""".strip()


def build_router(
    endpoint: ModelEndpoint, documents: Mapping[str, Document], *, settings: Settings
) -> list[dict[str, Any]]:
    """Build the router's objects around Envoy's documents, in the order in which they must be applied."""
    container = _container(endpoint, settings=settings)
    return [
        _config_map(endpoint, documents),
        _deployment(
            endpoint, container, bootstrap=documents[names.BOOTSTRAP_FILE], drain_seconds=settings.drain_seconds
        ),
        _service(endpoint),
        build_disruption_budget(_metadata(endpoint, names.router_name(endpoint.name)), _selector(endpoint)),
    ]


def drain_command(*, drain_seconds: int, admin_port: int = names.ROUTER_ADMIN_PORT) -> list[str]:
    """Build the command that lets a router pod end without losing a request."""
    settings = {
        "PORT": admin_port,
        "DRAIN_SECONDS": drain_seconds,
        "ACTIVE": f"http.{names.STAT_PREFIX}.downstream_rq_active",
    }
    assignments = [f"{name}={value}" for name, value in settings.items()]
    return ["bash", "-c", "\n".join([*assignments, ADMIN_FUNCTION, DRAIN_SCRIPT])]


def certificate_command(*, admin_port: int = names.ROUTER_ADMIN_PORT) -> list[str]:
    """Build the command that fails until a router pod has a certificate."""
    return ["bash", "-c", "\n".join([f"PORT={admin_port}", ADMIN_FUNCTION, CERTIFICATE_SCRIPT])]


def _config_map(endpoint: ModelEndpoint, documents: Mapping[str, Document]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(endpoint, names.router_name(endpoint.name)),
        "data": {file: render(document) for file, document in documents.items()},
    }


def _service(endpoint: ModelEndpoint) -> dict[str, Any]:
    ports = {"http": names.SERVICE_PORT, **({"https": names.SERVICE_TLS_PORT} if endpoint.spec.routing.tls else {})}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(endpoint, names.service_name(endpoint.name)),
        "spec": {
            "type": "ClusterIP",
            "selector": _selector(endpoint),
            "ports": [
                {"name": name, "port": port, "targetPort": name, "protocol": "TCP", "appProtocol": name}
                for name, port in ports.items()
            ],
        },
    }


def _deployment(
    endpoint: ModelEndpoint, container: dict[str, Any], *, bootstrap: Document, drain_seconds: int
) -> dict[str, Any]:
    pod = {
        "metadata": {
            "labels": build_labels(endpoint, names.COMPONENT_ROUTER),
            # Envoy reads this one file only at its start.
            "annotations": {names.ANNOTATION_ROUTER_BOOTSTRAP: content_hash(bootstrap)},
        },
        "spec": {
            "containers": [container],
            "volumes": [
                {"name": "config", "configMap": {"name": names.router_name(endpoint.name)}},
                *(mount.volume() for mount in router_mounts(endpoint.spec.routing)),
            ],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": drain_seconds + endpoint.spec.longest_answer_seconds + 10,
            **build_spread(_selector(endpoint)),
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(endpoint, names.router_name(endpoint.name)),
        "spec": {
            "replicas": endpoint.spec.routing.replicas,
            "selector": {"matchLabels": _selector(endpoint)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "revisionHistoryLimit": 2,
            "template": pod,
        },
    }


def _container(endpoint: ModelEndpoint, *, settings: Settings) -> dict[str, Any]:
    ports = {
        "http": names.ROUTER_PORT,
        **({"https": names.ROUTER_TLS_PORT} if endpoint.spec.routing.tls else {}),
        "status": names.ROUTER_STATUS_PORT,
    }
    return {
        "name": "router",
        "image": settings.router_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["envoy"],
        "args": [
            "--config-path",
            f"{names.ROUTER_CONFIG_DIR}/{names.BOOTSTRAP_FILE}",
            *ARGUMENTS,
        ],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()],
        "startupProbe": _startup_probe(endpoint),
        # Not /ready, which fails while Envoy drains: an ending pod must count as serving as long as it is the only one,
        # because kube-proxy then goes on sending to it until the next is ready.
        "readinessProbe": {
            "httpGet": {"path": "/stats?filter=server.live", "port": "status"},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        "lifecycle": {"preStop": {"exec": {"command": drain_command(drain_seconds=settings.drain_seconds)}}},
        "resources": RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": names.ROUTER_CONFIG_DIR, "readOnly": True},
            *(mount.volume_mount() for mount in router_mounts(endpoint.spec.routing)),
        ],
    }


def _startup_probe(endpoint: ModelEndpoint) -> dict[str, Any]:
    """Let no pod replace one that works whose Envoy refuses the listener, or has no certificate for it."""
    if endpoint.spec.routing.tls is None:
        return {"tcpSocket": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 60}
    # A person may have to make the Secret: to begin again would not bring it.
    probe = {"exec": {"command": certificate_command()}, "timeoutSeconds": 5}
    return {**probe, "periodSeconds": 1, "failureThreshold": 3600}


def _metadata(endpoint: ModelEndpoint, name: str) -> dict[str, Any]:
    return build_metadata(endpoint, name=name, component=names.COMPONENT_ROUTER)


def _selector(endpoint: ModelEndpoint) -> dict[str, str]:
    return selector_labels(endpoint, names.COMPONENT_ROUTER)
