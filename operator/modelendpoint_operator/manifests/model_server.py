"""The objects of one revision: its record, and while it has pods their Deployment, Service and digest.

Traffic must not be here: nothing in a revision's objects changes when weights do.
"""

import json
from collections.abc import Mapping
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.spec import Model
from modelendpoint_operator.manifests.metadata import build_labels, build_metadata, selector_labels
from modelendpoint_operator.manifests.placement import build_disruption_budget, build_placement
from modelendpoint_operator.manifests.pods import (
    Volume,
    build_pod_spec,
    build_resources,
    build_volume,
    credentials_volume,
    model_volume,
    volume_of,
)
from modelendpoint_operator.observation import RevisionRecord

FINISH_SECONDS = 600
"""Longest time for the requests in flight when a pod ends: the upper limit of spec.routing.timeoutSeconds. The server
ends as soon as they are answered. Not the endpoint's own timeout, or changing that would restart every pod."""


def build_revision_record(
    endpoint: ModelEndpoint, record: RevisionRecord, *, data: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Build the ControllerRevision that keeps a revision. ``data`` is what is stored of it; it can't be changed."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": _metadata(
            endpoint, record, annotations={names.ANNOTATION_SHA256: record.sha256} if record.sha256 else None
        ),
        "revision": record.number,
        "data": dict(data) if data else _template(record),
    }


def build_model_server(
    endpoint: ModelEndpoint,
    record: RevisionRecord,
    *,
    replicas: int,
    image_pull_policy: str,
    drain_seconds: int,
) -> list[dict[str, Any]]:
    """Build the objects by which a revision runs, in the order in which they must be applied."""
    pod = _pod(endpoint, record, image_pull_policy=image_pull_policy, drain_seconds=drain_seconds)
    return [
        _digest(endpoint, record),
        _service(endpoint, record),
        build_disruption_budget(_metadata(endpoint, record), _selector(endpoint, record)),
        _deployment(endpoint, record, pod, replicas=replicas),
    ]


def _template(record: RevisionRecord) -> dict[str, Any]:
    return record.template.model_dump(mode="json", by_alias=True, exclude_none=True)


def _digest(endpoint: ModelEndpoint, record: RevisionRecord) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(endpoint, record),
        "data": {names.DIGEST_KEY: record.sha256 or ""},
    }


def _service(endpoint: ModelEndpoint, record: RevisionRecord) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(endpoint, record),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "selector": _selector(endpoint, record),
            "ports": [{"name": "http", "port": names.SERVER_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _deployment(
    endpoint: ModelEndpoint, record: RevisionRecord, pod: Mapping[str, Any], *, replicas: int
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(
            endpoint,
            record,
            annotations={names.ANNOTATION_TEMPLATE: json.dumps(_template(record), sort_keys=True)},
        ),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": _selector(endpoint, record)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "revisionHistoryLimit": 1,
            "template": {
                "metadata": {"labels": _pod_labels(endpoint, record)},
                "spec": pod,
            },
        },
    }


def _pod_labels(endpoint: ModelEndpoint, record: RevisionRecord) -> dict[str, str]:
    labels = build_labels(endpoint, names.COMPONENT_MODEL_SERVER, revision=record.number, arm=record.template.arm)
    return labels | ({names.LABEL_AZURE_IDENTITY: "true"} if record.template.model.service_account_name else {})


def _pod(
    endpoint: ModelEndpoint, record: RevisionRecord, *, image_pull_policy: str, drain_seconds: int
) -> dict[str, Any]:
    container = _container(endpoint, record, image_pull_policy=image_pull_policy, drain=drain_seconds)
    return {
        **build_pod_spec(container, _volumes(endpoint, record)),
        # Its tokens for the cloud come by the cloud's own ways; one for the Kubernetes API is never mounted.
        **({"serviceAccountName": account} if (account := record.template.model.service_account_name) else {}),
        "terminationGracePeriodSeconds": drain_seconds + FINISH_SECONDS,
        **build_placement(record.template.server, _selector(endpoint, record)),
    }


def _container(
    endpoint: ModelEndpoint, record: RevisionRecord, *, image_pull_policy: str, drain: int
) -> dict[str, Any]:
    ready = {"path": names.PATH_READY, "port": "management"}
    alive = {"path": names.PATH_LIVE, "port": "management"}
    return {
        "name": "server",
        "image": record.template.server_image,
        "imagePullPolicy": image_pull_policy,
        "env": [{"name": name, "value": value} for name, value in _environment(endpoint, record).items()],
        "ports": [
            {"name": "http", "containerPort": names.SERVER_PORT, "protocol": "TCP"},
            {"name": "management", "containerPort": names.MANAGEMENT_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": ready, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {"httpGet": alive, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "lifecycle": {"preStop": {"sleep": {"seconds": drain}}} if drain else {},
        "resources": build_resources(record.template.server.resources),
    }


def _environment(endpoint: ModelEndpoint, record: RevisionRecord) -> dict[str, str]:
    model = record.template.model
    chosen = {name: value for name, value in _choices(record).items() if value is not None}
    return chosen | {
        names.ENV_NAME: endpoint.name,
        names.ENV_NAMESPACE: endpoint.namespace,
        names.ENV_REVISION: str(record.number),
        names.ENV_MODEL_URI: model.uri,
        names.ENV_MODEL_VERSION: model.version or "",
        # What the first pod told is mounted, so that learning it changes no pod.
        names.ENV_MODEL_SHA256: model.sha256 or "",
        names.ENV_PORT: str(names.SERVER_PORT),
        names.ENV_MANAGEMENT_PORT: str(names.MANAGEMENT_PORT),
        names.ENV_MODEL_DIR: names.MODEL_DIR,
        # The router ends a request at the endpoint's own limit, which may change while the pod runs.
        names.ENV_REQUEST_TIMEOUT: str(FINISH_SECONDS),
        "HOME": names.MODEL_DIR,
        "TMPDIR": names.MODEL_DIR,
    }


def _choices(record: RevisionRecord) -> dict[str, str | None]:
    """Say what the author chose; the server knows what holds for the rest."""
    golden, server = record.template.model.golden_examples, record.template.server
    batching, limits = server.batching, server.limits
    providers = server.execution_providers
    return {
        names.ENV_SERVICE_ACCOUNT: record.template.model.service_account_name,
        names.ENV_GOLDEN_EXAMPLES: golden.uri if golden else None,
        names.ENV_GOLDEN_ABSOLUTE: _text(golden.absolute_tolerance) if golden else None,
        names.ENV_GOLDEN_RELATIVE: _text(golden.relative_tolerance) if golden else None,
        names.ENV_EXECUTION_PROVIDERS: ",".join(providers) if providers else None,
        names.ENV_BATCH_SIZE: _text(batching.max_size) if batching else None,
        names.ENV_BATCH_DELAY: _text(batching.max_delay_milliseconds) if batching else None,
        names.ENV_MAX_BODY: _text(limits.max_body_bytes) if limits else None,
        names.ENV_MAX_ROWS: _text(limits.max_rows) if limits else None,
        names.ENV_MAX_CONCURRENCY: _text(limits.max_concurrency) if limits else None,
        names.ENV_MAX_WAITING: _text(limits.max_waiting) if limits else None,
    }


def _text(number: float | None) -> str | None:
    return None if number is None else repr(number)


def _volumes(endpoint: ModelEndpoint, record: RevisionRecord) -> list[Volume]:
    """List the volumes, each with its source and its mount. The ConfigMap is optional: see ``credentials_volume``."""
    name, monitor = names.revision_name(endpoint.name, record.number), names.monitor_name(endpoint.name)
    volumes = [
        model_volume(),
        build_volume("revision", names.DIGEST_DIR, {"configMap": {"name": name, "optional": True}}),
        # There or not, the pods are the same: what is written into it later turns monitoring on.
        build_volume("monitoring", names.MONITORING_DIR, {"configMap": {"name": monitor, "optional": True}}),
    ]
    credentials = record.template.model.credentials_secret_ref
    if credentials is not None:
        volumes.append(credentials_volume("credentials", credentials.name, path=names.CREDENTIALS_DIR))
    return volumes + _model_volumes(record.template.model)


def _model_volumes(model: Model) -> list[Volume]:
    """Mount what the model and its golden examples are in, once each."""
    golden = volume_of("golden-examples", model.golden_examples.uri) if model.golden_examples else None
    found = [volume for volume in (volume_of("model", model.uri), golden) if volume]
    return list({volume["mount"]["mountPath"]: volume for volume in reversed(found)}.values())[::-1]


def _selector(endpoint: ModelEndpoint, record: RevisionRecord) -> dict[str, str]:
    return selector_labels(endpoint, names.COMPONENT_MODEL_SERVER, record.number)


def _metadata(
    endpoint: ModelEndpoint, record: RevisionRecord, *, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return build_metadata(
        endpoint,
        name=names.revision_name(endpoint.name, record.number),
        component=names.COMPONENT_MODEL_SERVER,
        revision=record.number,
        arm=record.template.arm,
        annotations=annotations,
    )
