"""The Jobs of a run, as Kubernetes shall take them."""

from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.batch.manifests import build_job, build_run
from modelendpoint_operator.batch.observation import PERMANENT, Stage

SPEC: dict[str, Any] = {
    "model": {"uri": "configmap://model/model.onnx"},
    "input": {"uri": "pvc://data/in/"},
    "output": {"uri": "pvc://data/out/"},
    "parallelism": 4,
    "retries": 9,
}
STATUS: dict[str, Any] = {
    "run": "weekly-12345678",
    "image": "server:1",
    "workers": 3,
    "attempt": 1,
    "model": {"uri": "configmap://model/model.onnx"},
}


def a_batch(spec: dict[str, Any] | None = None, **status: Any) -> BatchPrediction:
    metadata = {"name": "weekly", "namespace": "shop", "uid": "u-1", "generation": 1}
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return BatchPrediction.from_body({"metadata": metadata, "spec": SPEC | (spec or {}), "status": STATUS | status})


def job_of(stage: Stage = Stage.WORK, *, batch: BatchPrediction | None = None) -> dict[str, Any]:
    return build_job(batch or a_batch(), stage, image_pull_policy="IfNotPresent")


def test_workers_are_an_indexed_job_whose_indexes_are_tried_again_on_their_own() -> None:
    spec = job_of()["spec"]

    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"]) == (9, 0)
    assert "backoffLimit" not in spec


@pytest.mark.parametrize("stage", [Stage.PLAN, Stage.FINISH])
def test_planning_and_finishing_is_one_pod(stage: Stage) -> None:
    spec = job_of(stage)["spec"]

    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 9)
    assert "completionMode" not in spec and "backoffLimitPerIndex" not in spec


@pytest.mark.parametrize("stage", Stage)
def test_a_permanent_error_fails_the_job_and_a_lost_node_costs_no_try(stage: Stage) -> None:
    first, second = job_of(stage)["spec"]["podFailurePolicy"]["rules"]

    assert first["action"] == "FailJob"
    assert first["onExitCodes"] == {"containerName": "worker", "operator": "In", "values": [PERMANENT]}
    assert second == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


@pytest.mark.parametrize(
    ("stage", "attempt", "name"),
    [(Stage.PLAN, 1, "weekly-plan"), (Stage.WORK, 1, "weekly-work"), (Stage.FINISH, 3, "weekly-finish-3")],
)
def test_a_job_is_named_and_labelled_by_its_stage_and_attempt(stage: Stage, attempt: int, name: str) -> None:
    job = job_of(stage, batch=a_batch(attempt=attempt))
    labels = job["metadata"]["labels"]

    assert job["metadata"]["name"] == name
    assert (labels[names.LABEL_BATCH], labels[names.LABEL_BATCH_STAGE]) == ("weekly", stage)
    assert labels[names.LABEL_BATCH_ATTEMPT] == str(attempt)
    assert job["spec"]["template"]["metadata"]["labels"] == labels
    assert job["metadata"]["ownerReferences"][0]["uid"] == "u-1"


def test_the_longest_name_leaves_room_for_the_hosts_of_the_workers() -> None:
    assert len(names.batch_job_name("a" * 50, Stage.FINISH, 99)) <= 63
    assert len(f"{names.batch_job_name('a' * 50, Stage.WORK, 99)}-999") <= 63
    assert len(names.scheduled_run_name("a" * 40, 29_000_000)) <= 50


@pytest.mark.parametrize("stage", Stage)
def test_pods_keep_to_the_restricted_pod_security_standard(stage: Stage) -> None:
    pod = job_of(stage)["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False


def test_a_claim_that_is_read_and_written_is_mounted_once_and_writable() -> None:
    pod = job_of()["spec"]["template"]["spec"]
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}

    assert sorted(mounts) == ["/mnt/configmap/model", "/mnt/pvc/data", names.MODEL_DIR]
    assert "readOnly" not in mounts["/mnt/pvc/data"]
    assert mounts["/mnt/configmap/model"]["readOnly"] is True
    claims = [volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    assert claims == [{"claimName": "data"}]


def test_an_input_claim_is_read_only() -> None:
    pod = job_of(batch=a_batch({"output": {"uri": "s3://out/x/"}}))["spec"]["template"]["spec"]
    (claim,) = [volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume]

    assert claim == {"claimName": "data", "readOnly": True}


def test_a_run_of_a_schedule_keeps_all_but_the_schedule() -> None:
    schedule = {"schedule": {"cron": "0 6 * * MON"}, "suspend": True, "ttlSecondsAfterFinished": 60}
    batch = a_batch({**schedule, "output": {"uri": "s3://out/{{ .ScheduledDate }}/"}})
    run = build_run(batch, name="weekly-1", scheduled_at="2026-01-01T00:00:00Z", uris={"output": "s3://out/d/"})

    assert run["spec"]["output"] == {"uri": "s3://out/d/", "partitioning": []}
    assert run["spec"]["input"] == {"uri": "pvc://data/in/"}
    assert (run["spec"]["parallelism"], run["spec"]["retries"], run["spec"]["ttlSecondsAfterFinished"]) == (4, 9, 60)
    assert not {"schedule", "suspend", "endpointRef"} & set(run["spec"])
    child = BatchPrediction.from_body(
        {**run, "metadata": {**run["metadata"], "uid": "u", "generation": 1, "creationTimestamp": ""}}
    )
    assert child.spec.resources == batch.spec.resources
