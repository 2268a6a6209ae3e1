"""What the operator sets, mounts and reads of batch pods is what the worker takes, finds and tells."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.adapters.batch_reduction import parse_word
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.api.batch_status import ComparisonStatus
from modelendpoint_operator.api.data import Compression, Format
from modelendpoint_operator.batch.manifests import GRACE_SECONDS, build_job
from modelendpoint_operator.batch.observation import PERMANENT, Stage
from modelendpoint_server.batch import command, specification
from modelendpoint_server.batch.progress import Status, write_last_words
from modelendpoint_server.batch.specification import BatchSettings

SPEC = {
    "endpointRef": {"name": "churn"},
    "input": {"uri": "pvc://data/in/", "format": "CSV", "compression": "Gzip"},
    "output": {
        "uri": "s3://reports/churn/",
        "format": "Parquet",
        "partitioning": ["country"],
        "credentialsSecretRef": {"name": "out"},
    },
    "columns": {"features": ["a", "b"], "passThrough": ["id"], "join": True},
    "errorThreshold": {"percent": 2.5},
    "compareWith": {"model": {"uri": "s3://m/other.onnx", "credentialsSecretRef": {"name": "other"}}},
    "serviceAccountName": "reports",
    "shardRows": 1000,
    "shardBytes": 65536,
    "parallelism": 3,
}
PINNED = {
    "uri": "s3://models/churn.onnx",
    "version": "3",
    "sha256": "ab" * 32,
    "endpoint": "churn",
    "revision": 7,
    "credentialsSecret": "models",
    "executionProviders": ["CPUExecutionProvider"],
}
STATUS = {
    "run": "weekly-12345678",
    "image": "server:1",
    "workers": 3,
    "model": PINNED,
    "comparedWith": {"uri": "s3://m/other.onnx", "version": "4", "sha256": "cd" * 32, "credentialsSecret": "other"},
}
SMALLEST = {
    "model": {"uri": "s3://models/churn.onnx"},
    "input": {"uri": "s3://in/x.csv"},
    "output": {"uri": "s3://out/y/"},
}


def a_batch(spec: dict[str, Any], status: dict[str, Any]) -> BatchPrediction:
    metadata = {
        "name": "weekly",
        "namespace": "shop",
        "uid": "12345678-9",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return BatchPrediction.from_body({"metadata": metadata, "spec": spec, "status": status})


FULL = a_batch(SPEC, STATUS)
PLAIN = a_batch(SMALLEST, {"run": "weekly-12345678", "image": "server:1", "model": {"uri": "s3://models/churn.onnx"}})


def pod_of(batch: BatchPrediction, stage: Stage) -> dict[str, Any]:
    pod: dict[str, Any] = build_job(batch, stage, image_pull_policy="Always")["spec"]["template"]["spec"]
    return pod


def settings_of(batch: BatchPrediction, stage: Stage, **more: str) -> BatchSettings:
    (container,) = pod_of(batch, stage)["containers"]
    return BatchSettings.from_environment({item["name"]: item["value"] for item in container["env"]} | more)


@pytest.mark.parametrize("batch", [FULL, PLAIN], ids=["full", "plain"])
@pytest.mark.parametrize("stage", Stage)
def test_the_worker_takes_the_environment_that_the_operator_sets(batch: BatchPrediction, stage: Stage) -> None:
    settings = settings_of(batch, stage)

    assert settings.run.name == "weekly-12345678"
    assert settings.server.model_uri == "s3://models/churn.onnx"
    assert settings.server.management_port == names.MANAGEMENT_PORT
    assert settings.server.model_dir == Path(names.MODEL_DIR)
    assert pod_of(batch, stage).get("serviceAccountName") == batch.spec.service_account_name


def test_the_worker_understands_every_choice_of_the_author() -> None:
    settings = settings_of(FULL, Stage.WORK, JOB_COMPLETION_INDEX="2")
    run = settings.run

    assert (settings.workers, settings.index) == (3, 2)
    assert (settings.server.name, settings.server.revision, settings.server.model_sha256) == ("churn", "7", "ab" * 32)
    assert (run.input_uri, run.input_format, run.compression) == ("pvc://data/in/", "CSV", "gzip")
    assert (run.output_uri, run.output_format, run.partitioning) == ("s3://reports/churn/", "Parquet", ("country",))
    assert dataclasses.astuple(run.columns) == (("a", "b"), ("id",), True)
    assert (run.shard_rows, run.shard_bytes, run.threshold.percent) == (1000, 65536, 2.5)
    assert run.challenger is not None
    assert (run.challenger.uri, run.challenger.sha256, run.challenger.version) == ("s3://m/other.onnx", "cd" * 32, "4")


def test_both_know_the_same_formats_and_compressions() -> None:
    assert [str(kind) for kind in Format] == [str(kind) for kind in specification.Format]
    assert {kind.lower() for kind in Compression} == {str(kind) for kind in specification.Compression}


def test_credentials_are_mounted_where_the_worker_looks() -> None:
    (container,) = pod_of(FULL, Stage.WORK)["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    settings = settings_of(FULL, Stage.WORK)

    assert str(settings.server.credentials_dir) in mounts
    for kind in ("output", "compare"):
        assert mounts[str(settings.credentials_dir / f"{kind}-credentials")]["readOnly"] is True
    assert str(settings.credentials_dir / "input-credentials") not in mounts
    assert str(settings.server.pvc_dir / "data") in mounts


def test_the_operator_reads_what_a_worker_tells() -> None:
    told = Status(
        state="Done",
        reason="MissingColumn",
        message="no column",
        shards=4,
        shards_done=3,
        rows=100,
        rows_in=90,
        rows_out=80,
        rows_rejected=10,
        sha256="ab" * 32,
        manifest="s3://out/_MANIFEST.json",
        comparison={"rows": 80, "disagreeing": 2, "largestDifference": 0.5},
    )
    word = parse_word(json.loads(json.dumps(told.as_json())))

    assert word is not None
    assert dataclasses.asdict(word) == {
        **dataclasses.asdict(told),
        "comparison": ComparisonStatus(rows=80, disagreeing=2, largest_difference=0.5),
    }


def test_the_longest_last_words_still_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    write_last_words(file, Status(state="Failed", reason="MissingColumn", message='"é\n' * 5000, rows_in=7))
    word = parse_word(json.loads(file.read_bytes()))

    assert file.stat().st_size <= 4096
    assert word is not None and (word.reason, word.rows_in) == ("MissingColumn", 7)


def test_both_mean_the_same_by_the_exit_code_of_a_permanent_error() -> None:
    assert command.PERMANENT == PERMANENT
    assert command.MAY_HEAL not in (0, PERMANENT)


@pytest.mark.parametrize("stage", Stage)
def test_the_container_runs_a_command_of_the_server(stage: Stage) -> None:
    pod = pod_of(FULL, stage)
    (container,) = pod["containers"]
    python, *arguments = container["command"]

    assert (python, arguments[:3]) == ("python3", ["-m", "modelendpoint_server", "batch"])
    assert pod["terminationGracePeriodSeconds"] == GRACE_SECONDS
    assert pod["restartPolicy"] == "Never"
