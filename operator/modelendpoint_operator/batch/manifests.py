"""The Jobs of one run, and the run that a schedule starts. When they are made is decided in ``batch/planner.py``."""

import json
from collections.abc import Mapping
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.api.batch_status import PinnedModel
from modelendpoint_operator.batch.observation import PERMANENT, Stage
from modelendpoint_operator.manifests.pods import (
    Volume,
    build_pod_spec,
    build_resources,
    credentials_volume,
    model_volume,
    volume_of,
)

JOB_API_VERSION = "batch/v1"
GRACE_SECONDS = 40
"""A worker that is told to end lets its shard go within this time; nothing of it is committed."""


def build_job(batch: BatchPrediction, stage: Stage, *, image_pull_policy: str) -> dict[str, Any]:
    """Build the Job of a stage, from what the status has settled."""
    attempt, account = batch.status.attempt, batch.spec.service_account_name
    labels = _labels(batch, stage, attempt)
    return {
        "apiVersion": JOB_API_VERSION,
        "kind": "Job",
        "metadata": {
            "name": names.batch_job_name(batch.name, stage, attempt),
            "namespace": batch.namespace,
            "labels": labels,
            "ownerReferences": [_owner(batch)],
        },
        "spec": {
            **_completions(batch, stage),
            **({"activeDeadlineSeconds": batch.spec.deadline_seconds} if batch.spec.deadline_seconds else {}),
            "suspend": batch.spec.suspend,
            "podFailurePolicy": _failure_policy(),
            "template": {
                "metadata": {"labels": labels | ({names.LABEL_AZURE_IDENTITY: "true"} if account else {})},
                "spec": {
                    **build_pod_spec(_container(batch, stage, image_pull_policy), _volumes(batch)),
                    **({"serviceAccountName": account} if account else {}),
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": GRACE_SECONDS,
                },
            },
        },
    }


def build_run(batch: BatchPrediction, *, name: str, scheduled_at: str, uris: Mapping[str, str]) -> dict[str, Any]:
    """Build the BatchPrediction for one time of a schedule: the schedule's spec, with its own places."""
    spec = batch.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"schedule", "suspend"})
    for part, uri in uris.items():
        spec[part]["uri"] = uri
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.BATCH_KIND,
        "metadata": {
            "name": name,
            "namespace": batch.namespace,
            "labels": {
                names.LABEL_NAME: names.APP_NAME,
                names.LABEL_INSTANCE: batch.name,
                names.LABEL_COMPONENT: names.COMPONENT_BATCH,
                names.LABEL_MANAGED_BY: names.FIELD_MANAGER,
                names.LABEL_SCHEDULE: batch.name,
            },
            "annotations": {names.ANNOTATION_SCHEDULED_AT: scheduled_at},
            "ownerReferences": [_owner(batch)],
        },
        "spec": spec,
    }


def _owner(batch: BatchPrediction) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.BATCH_KIND,
        "name": batch.name,
        "uid": batch.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _labels(batch: BatchPrediction, stage: Stage, attempt: int) -> dict[str, str]:
    return {
        names.LABEL_NAME: names.APP_NAME,
        names.LABEL_INSTANCE: batch.name,
        names.LABEL_COMPONENT: names.COMPONENT_BATCH,
        names.LABEL_MANAGED_BY: names.FIELD_MANAGER,
        names.LABEL_BATCH: batch.name,
        names.LABEL_BATCH_STAGE: stage,
        names.LABEL_BATCH_ATTEMPT: str(attempt),
    }


def _completions(batch: BatchPrediction, stage: Stage) -> dict[str, Any]:
    if stage is not Stage.WORK:
        return {"completions": 1, "parallelism": 1, "backoffLimit": batch.spec.retries}
    workers = batch.status.workers or 1
    return {
        "completionMode": "Indexed",
        "completions": workers,
        "parallelism": min(batch.spec.parallelism, workers),
        "backoffLimitPerIndex": batch.spec.retries,
        # A run without one of its parts is no run: the others need not go on.
        "maxFailedIndexes": 0,
    }


def _failure_policy() -> dict[str, Any]:
    return {
        "rules": [
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": "worker", "operator": "In", "values": [PERMANENT]},
            },
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        ]
    }


def _container(batch: BatchPrediction, stage: Stage, image_pull_policy: str) -> dict[str, Any]:
    alive = {"path": names.PATH_LIVE, "port": "management"}
    return {
        "name": "worker",
        "image": batch.status.image,
        "imagePullPolicy": image_pull_policy,
        "command": ["python3", "-m", "modelendpoint_server", "batch", str(stage)],
        "env": [{"name": name, "value": value} for name, value in _environment(batch, stage).items()],
        "ports": [{"name": "management", "containerPort": names.MANAGEMENT_PORT, "protocol": "TCP"}],
        "livenessProbe": {
            "httpGet": alive,
            "initialDelaySeconds": 30,
            "periodSeconds": 20,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
        "resources": build_resources(batch.spec.resources),
    }


def _environment(batch: BatchPrediction, stage: Stage) -> dict[str, str]:
    model = batch.status.model
    assert model is not None
    workers = batch.status.workers if stage is Stage.WORK else 1
    providers = (
        {names.ENV_EXECUTION_PROVIDERS: ",".join(model.execution_providers)} if model.execution_providers else {}
    )
    account = batch.spec.service_account_name
    identity = {names.ENV_SERVICE_ACCOUNT: account} if account else {}
    return {
        names.ENV_NAME: model.endpoint or batch.name,
        names.ENV_NAMESPACE: batch.namespace,
        names.ENV_REVISION: str(model.revision or ""),
        names.ENV_MODEL_URI: model.uri,
        names.ENV_MODEL_VERSION: model.version or "",
        names.ENV_MODEL_SHA256: model.sha256 or "",
        names.ENV_PORT: str(names.SERVER_PORT),
        names.ENV_MANAGEMENT_PORT: str(names.MANAGEMENT_PORT),
        names.ENV_MODEL_DIR: names.MODEL_DIR,
        **providers,
        **identity,
        names.ENV_BATCH: json.dumps(_run(batch), sort_keys=True),
        names.ENV_BATCH_WORKERS: str(workers or 1),
        "HOME": names.MODEL_DIR,
        "TMPDIR": names.MODEL_DIR,
    }


def _run(batch: BatchPrediction) -> dict[str, Any]:
    """Write down the run as the worker reads it."""
    spec = batch.spec
    source, target, columns = spec.input, spec.output, spec.columns
    return {
        "run": batch.status.run,
        "input": {
            "uri": source.uri,
            "format": source.format,
            "compression": source.compression.lower() if source.compression else None,
        },
        "output": {"uri": target.uri, "format": target.format, "partitioning": target.partitioning},
        "columns": columns.model_dump(mode="json", by_alias=True),
        "shardRows": spec.shard_rows,
        "shardBytes": spec.shard_bytes,
        "errorThreshold": spec.error_threshold.model_dump(mode="json", by_alias=True, exclude_none=True),
        "compareWith": _comparison(batch, batch.status.compared_with),
    }


def _comparison(batch: BatchPrediction, model: PinnedModel | None) -> dict[str, Any] | None:
    wanted = batch.spec.compare_with
    if model is None or wanted is None:
        return None
    return {
        "uri": model.uri,
        "sha256": model.sha256,
        "version": model.version,
        "revision": str(model.revision) if model.revision else None,
        "absoluteTolerance": wanted.absolute_tolerance,
        "relativeTolerance": wanted.relative_tolerance,
    }


def _volumes(batch: BatchPrediction) -> list[Volume]:
    """List the volumes; a claim or ConfigMap that several URIs point into is mounted once, for the output writable."""
    spec, status = batch.spec, batch.status
    uris = [
        ("output", spec.output.uri, False),
        ("model", status.model.uri if status.model else "", True),
        ("compared-model", status.compared_with.uri if status.compared_with else "", True),
        ("input", spec.input.uri, True),
    ]
    found = [volume_of(name, uri, read_only=read_only) for name, uri, read_only in uris]
    mounted: dict[str, Volume] = {}
    for volume in found:
        if volume is not None:
            mounted.setdefault(volume["mount"]["mountPath"], volume)
    return [model_volume(), *_credentials(batch), *mounted.values()]


def _credentials(batch: BatchPrediction) -> list[Volume]:
    spec, status = batch.spec, batch.status
    source, target = spec.input.credentials_secret_ref, spec.output.credentials_secret_ref
    secrets = [
        ("credentials", status.model.credentials_secret if status.model else None, names.CREDENTIALS_DIR),
        (
            "compare-credentials",
            status.compared_with.credentials_secret if status.compared_with else None,
            names.COMPARE_CREDENTIALS_DIR,
        ),
        ("input-credentials", source.name if source else None, names.INPUT_CREDENTIALS_DIR),
        ("output-credentials", target.name if target else None, names.OUTPUT_CREDENTIALS_DIR),
    ]
    return [credentials_volume(name, secret, path=path) for name, secret, path in secrets if secret]
