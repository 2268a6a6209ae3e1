"""The objects of one revision: its record, and while it has pods their Deployment, Service and digest.

Traffic must not be here: nothing in a revision's objects changes when weights do.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.spec import Model, ResourceAmounts
from modelendpoint_operator.manifests.metadata import build_labels, build_metadata, selector_labels
from modelendpoint_operator.observation import RevisionRecord

USER = 65532
FINISH_SECONDS = 600
"""Longest time for the requests in flight when a pod ends: the upper limit of spec.routing.timeoutSeconds. The server
ends as soon as they are answered. Not the endpoint's own timeout, or changing that would restart every pod."""
MODEL_VOLUME_LIMIT = "20Gi"


def build_revision_record(
    endpoint: ModelEndpoint, record: RevisionRecord, *, data: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Build the ControllerRevision that keeps a revision. ``data`` is what is stored of it; it can't be changed."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": _metadata(
            endpoint, record.number, annotations={names.ANNOTATION_SHA256: record.sha256} if record.sha256 else None
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
        _deployment(endpoint, record, pod, replicas=replicas),
    ]


def _template(record: RevisionRecord) -> dict[str, Any]:
    return record.template.model_dump(mode="json", by_alias=True, exclude_none=True)


def _digest(endpoint: ModelEndpoint, record: RevisionRecord) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(endpoint, record.number),
        "data": {names.DIGEST_KEY: record.sha256 or ""},
    }


def _service(endpoint: ModelEndpoint, record: RevisionRecord) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(endpoint, record.number),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "selector": selector_labels(endpoint, names.COMPONENT_MODEL_SERVER, record.number),
            "ports": [{"name": "http", "port": names.SERVER_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _deployment(
    endpoint: ModelEndpoint, record: RevisionRecord, pod: Mapping[str, Any], *, replicas: int
) -> dict[str, Any]:
    selector = selector_labels(endpoint, names.COMPONENT_MODEL_SERVER, record.number)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(
            endpoint,
            record.number,
            annotations={names.ANNOTATION_TEMPLATE: json.dumps(_template(record), sort_keys=True)},
        ),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "revisionHistoryLimit": 1,
            "template": {
                "metadata": {"labels": build_labels(endpoint, names.COMPONENT_MODEL_SERVER, revision=record.number)},
                "spec": pod,
            },
        },
    }


def _pod(
    endpoint: ModelEndpoint, record: RevisionRecord, *, image_pull_policy: str, drain_seconds: int
) -> dict[str, Any]:
    volumes = _volumes(endpoint, record)
    return {
        "containers": [_container(endpoint, record, volumes, image_pull_policy=image_pull_policy, drain=drain_seconds)],
        "volumes": [{"name": volume["name"], **volume["source"]} for volume in volumes],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": drain_seconds + FINISH_SECONDS,
    }


def _container(
    endpoint: ModelEndpoint,
    record: RevisionRecord,
    volumes: Sequence[Mapping[str, Any]],
    *,
    image_pull_policy: str,
    drain: int,
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
        "resources": _resources(record),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [volume["mount"] for volume in volumes],
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


def _resources(record: RevisionRecord) -> dict[str, Any]:
    resources = record.template.server.resources
    amounts = {"requests": resources.requests, "limits": resources.limits}
    return {kind: _amounts(amount) for kind, amount in amounts.items() if amount is not None}


def _amounts(amounts: ResourceAmounts) -> dict[str, str]:
    return amounts.model_dump(exclude_none=True)


def _volumes(endpoint: ModelEndpoint, record: RevisionRecord) -> list[dict[str, Any]]:
    """List the volumes, each with its source and its mount.

    ConfigMaps and Secrets are optional: a pod whose Secret is missing starts all the same, and then the server can say
    what is missing, where a pod that waits for its volume says nothing that a user would find.
    """
    name = names.revision_name(endpoint.name, record.number)
    volumes = [
        _volume("models", names.MODEL_DIR, {"emptyDir": {"sizeLimit": MODEL_VOLUME_LIMIT}}, read_only=False),
        _volume("revision", names.DIGEST_DIR, {"configMap": {"name": name, "optional": True}}),
    ]
    credentials = record.template.model.credentials_secret_ref
    if credentials is not None:
        source = {"secret": {"secretName": credentials.name, "optional": True}}
        volumes.append(_volume("credentials", names.CREDENTIALS_DIR, source))
    return volumes + _model_volumes(record.template.model)


def _model_volumes(model: Model) -> list[dict[str, Any]]:
    """Mount what the model and its golden examples are in, once each."""
    golden = _mounted("golden-examples", model.golden_examples.uri) if model.golden_examples else None
    found = [volume for volume in (_mounted("model", model.uri), golden) if volume]
    return list({volume["mount"]["mountPath"]: volume for volume in reversed(found)}.values())[::-1]


def _mounted(name: str, uri: str) -> dict[str, Any] | None:
    scheme, _, rest = uri.partition("://")
    holder = rest.partition("/")[0]
    if scheme == "pvc":
        source = {"persistentVolumeClaim": {"claimName": holder, "readOnly": True}}
        return _volume(name, f"{names.PVC_DIR}/{holder}", source)
    if scheme == "configmap":
        return _volume(name, f"{names.CONFIGMAP_DIR}/{holder}", {"configMap": {"name": holder, "optional": True}})
    return None


def _volume(name: str, path: str, source: dict[str, Any], *, read_only: bool = True) -> dict[str, Any]:
    mount = {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
    return {"name": name, "source": source, "mount": mount}


def _metadata(
    endpoint: ModelEndpoint, revision: int, *, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return build_metadata(
        endpoint,
        name=names.revision_name(endpoint.name, revision),
        component=names.COMPONENT_MODEL_SERVER,
        revision=revision,
        annotations=annotations,
    )
