"""The monitor of an endpoint: what tells the servers to send it samples, and the pod that takes and stores them.

Nothing of it may get into a server's pod template: monitoring is turned on and off while the servers run.
"""

import json
from collections.abc import Mapping
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.monitoring import Capture, Drift, Monitoring
from modelendpoint_operator.manifests.metadata import build_labels, build_metadata, selector_labels
from modelendpoint_operator.manifests.pods import (
    Volume,
    build_pod_spec,
    build_resources,
    build_volume,
    credentials_volume,
    model_volume,
    volume_of,
)
from modelendpoint_operator.manifests.xds import content_hash
from modelendpoint_operator.settings import Settings

FINISH_SECONDS = 60
"""Longest time for the last files when the pod ends."""

OFF = "off"
"""Version of the configuration while nobody wants samples."""


def monitoring_config(endpoint: ModelEndpoint, variants: Mapping[int, str], *, domain: str) -> dict[str, Any] | None:
    """Say which share of the requests the servers send where; None while nobody wants any."""
    monitoring = endpoint.spec.monitoring
    if monitoring is None:
        return None
    host = f"{names.monitor_name(endpoint.name)}.{endpoint.namespace}.svc.{domain}"
    return {
        "percent": monitoring.percent,
        "address": f"{host}:{names.MONITOR_PORT}",
        # By revision, because the pods of a variant do not know its name: a rename restarts none.
        "variants": {str(revision): name for revision, name in sorted(variants.items())},
    }


def monitoring_version(config: Mapping[str, Any] | None) -> str:
    """Name a configuration, so that one sees who was told of it."""
    return OFF if config is None else content_hash(dict(config))


def build_monitoring_config(endpoint: ModelEndpoint, config: Mapping[str, Any]) -> dict[str, Any]:
    """Build the ConfigMap that all servers of the endpoint mount."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(endpoint),
        "data": {names.MONITORING_KEY: json.dumps(config, sort_keys=True)},
    }


def build_monitor(endpoint: ModelEndpoint, monitoring: Monitoring, *, settings: Settings) -> list[dict[str, Any]]:
    """Build the monitor's Service and Deployment."""
    return [_service(endpoint), _deployment(endpoint, monitoring, settings=settings)]


def _service(endpoint: ModelEndpoint) -> dict[str, Any]:
    port = {"name": "samples", "port": names.MONITOR_PORT, "targetPort": "samples", "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(endpoint),
        "spec": {"type": "ClusterIP", "selector": _selector(endpoint), "ports": [port]},
    }


def _deployment(endpoint: ModelEndpoint, monitoring: Monitoring, *, settings: Settings) -> dict[str, Any]:
    account = monitoring.service_account_name
    labels = build_labels(endpoint, names.COMPONENT_MONITOR)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(endpoint),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _selector(endpoint)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "revisionHistoryLimit": 1,
            "template": {
                "metadata": {"labels": labels | ({names.LABEL_AZURE_IDENTITY: "true"} if account else {})},
                "spec": {
                    **build_pod_spec(_container(endpoint, monitoring, settings=settings), _volumes(monitoring)),
                    **({"serviceAccountName": account} if account else {}),
                    "terminationGracePeriodSeconds": FINISH_SECONDS,
                },
            },
        },
    }


def _container(endpoint: ModelEndpoint, monitoring: Monitoring, *, settings: Settings) -> dict[str, Any]:
    environment = {
        names.ENV_NAME: endpoint.name,
        names.ENV_NAMESPACE: endpoint.namespace,
        names.ENV_MANAGEMENT_PORT: str(names.MANAGEMENT_PORT),
        names.ENV_MODEL_DIR: names.MODEL_DIR,
        names.ENV_MONITOR: json.dumps(_wanted(monitoring), sort_keys=True),
        **({names.ENV_SERVICE_ACCOUNT: account} if (account := monitoring.service_account_name) else {}),
        "HOME": names.MODEL_DIR,
        "TMPDIR": names.MODEL_DIR,
    }
    return {
        "name": "monitor",
        "image": settings.server_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python3", "-m", "modelendpoint_server", "monitor"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [
            {"name": "samples", "containerPort": names.MONITOR_PORT, "protocol": "TCP"},
            {"name": "management", "containerPort": names.MANAGEMENT_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": {
            "httpGet": {"path": names.PATH_READY, "port": "management"},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": {"path": names.PATH_LIVE, "port": "management"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": build_resources(monitoring.resources),
    }


def _wanted(monitoring: Monitoring) -> dict[str, Any]:
    """Say in the monitor's words what it shall do; how it reaches stores is mounted."""
    capture, drift = monitoring.capture, monitoring.drift
    return {
        **({"capture": _capture(capture)} if capture else {}),
        **({"drift": _drift(drift)} if drift else {}),
    }


def _drift(drift: Drift) -> dict[str, Any]:
    thresholds = drift.thresholds
    return {
        "reference": drift.reference.uri,
        "windowSeconds": drift.window_seconds,
        "minimumRows": drift.minimum_rows,
        "thresholds": {
            "psi": thresholds.psi,
            "missingPercent": thresholds.missing_percent,
            "outOfRangePercent": thresholds.out_of_range_percent,
            "unseenPercent": thresholds.unseen_percent,
        },
    }


def _capture(capture: Capture) -> dict[str, Any]:
    return {
        "uri": capture.uri,
        "percent": capture.percent,
        "format": str(capture.format),
        "redact": list(capture.redact),
        "hash": list(capture.hash),
        "maxSeconds": capture.max_seconds,
    }


def _volumes(monitoring: Monitoring) -> list[Volume]:
    """Mount what is needed, each claim and ConfigMap once."""
    capture, drift = monitoring.capture, monitoring.drift
    # Of the same claim the one that is written to.
    volumes = [
        model_volume(),
        *(_capture_volumes(capture) if capture else ()),
        *(_reference_volumes(drift) if drift else ()),
    ]
    return list({volume["mount"]["mountPath"]: volume for volume in reversed(volumes)}.values())[::-1]


def _reference_volumes(drift: Drift) -> list[Volume]:
    reference, volumes = drift.reference, []
    if reference.credentials_secret_ref is not None:
        secret = reference.credentials_secret_ref.name
        volumes.append(credentials_volume("reference-credentials", secret, path=names.REFERENCE_CREDENTIALS_DIR))
    holder = volume_of("reference", reference.uri)
    return [*volumes, holder] if holder else volumes


def _capture_volumes(capture: Capture) -> list[Volume]:
    volumes: list[Volume] = []
    if capture.credentials_secret_ref is not None:
        secret = capture.credentials_secret_ref.name
        volumes.append(credentials_volume("credentials", secret, path=names.CAPTURE_CREDENTIALS_DIR))
    if capture.hash_key_secret_ref is not None:
        key = {"key": names.HASH_KEY, "path": names.HASH_KEY}
        secret_source = {"secretName": capture.hash_key_secret_ref.name, "items": [key], "optional": True}
        volumes.append(build_volume("hash-key", names.HASH_KEY_DIR, {"secret": secret_source}))
    claim = volume_of("captures", capture.uri, read_only=False)
    return [*volumes, claim] if claim else volumes


def _metadata(endpoint: ModelEndpoint) -> dict[str, Any]:
    return build_metadata(endpoint, name=names.monitor_name(endpoint.name), component=names.COMPONENT_MONITOR)


def _selector(endpoint: ModelEndpoint) -> dict[str, str]:
    return selector_labels(endpoint, names.COMPONENT_MONITOR)
