"""What the operator tells a worker, as it is told on one machine."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelendpoint.local.relocation import COPIES, FILES, Place
from modelendpoint.local.worker import last_words, relocate_command, relocate_worker
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.batch.manifests import build_job
from modelendpoint_operator.batch.observation import Stage
from modelendpoint_server.batch.specification import BatchSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path / "pod", ports={8081: 18081}, hosts=tmp_path / "hosts", copies=tmp_path / "copies")


def a_container(**spec: Any) -> dict[str, Any]:
    """The container that the operator makes for a worker."""
    model = {"uri": f"{COPIES}abc/v1.onnx"}
    given = {
        "endpointRef": {"name": "churn"},
        "input": {"uri": f"{FILES}home/ann/my%20rows/"},
        "output": {"uri": f"{FILES}home/ann/out/"},
        **spec,
    }
    metadata = {"name": "weekly", "namespace": "default", "uid": "u", "generation": 1}
    status = {"model": model, "comparedWith": {"uri": f"{FILES}home/ann/v2.onnx"}, "run": "weekly-u", "workers": 3}
    body = {"metadata": {**metadata, "creationTimestamp": NOW.isoformat()}, "spec": given, "status": status}
    job = build_job(BatchPrediction.from_body(body), Stage.WORK, image_pull_policy="IfNotPresent")
    container: dict[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
    return container


def settings(place: Place, **spec: Any) -> BatchSettings:
    """What a worker makes of what it is told."""
    given = {entry["name"]: entry["value"] for entry in a_container(**spec)["env"]}
    return BatchSettings.from_environment(relocate_worker(given, place, index="2"))


def test_a_worker_reads_and_writes_where_people_have_said(place: Place) -> None:
    run = settings(place).run
    assert (run.input_uri, run.output_uri) == ("file:///home/ann/my rows/", "file:///home/ann/out/")
    assert settings(place).server.model_uri == f"file://{place.copies}/abc/v1.onnx"


def test_the_other_model_of_a_comparison_is_found_too(place: Place) -> None:
    found = settings(place, compareWith={"model": {"uri": f"{FILES}home/ann/v2.onnx"}}).run.challenger
    assert found is not None and found.uri == "file:///home/ann/v2.onnx"


def test_stores_stay_where_they_are(place: Place) -> None:
    run = settings(place, input={"uri": "s3://rows/a/"}, output={"uri": "s3://out/a/"}).run
    assert (run.input_uri, run.output_uri) == ("s3://rows/a/", "s3://out/a/")


def test_a_worker_has_an_index_a_port_and_folders_of_its_own(place: Place) -> None:
    found = settings(place)
    assert (found.index, found.workers) == (2, 3)
    assert (found.server.host, found.server.management_port) == ("127.0.0.1", 18081)
    assert found.credentials_dir == place.path("/etc/modelendpoint")
    assert found.termination_log == last_words(place) == place.folder / "last-words"


def test_the_run_is_otherwise_what_the_operator_said(place: Place) -> None:
    given = {entry["name"]: entry["value"] for entry in a_container()["env"]}
    before, after = (
        json.loads(told["MODELENDPOINT_BATCH"]) for told in (given, relocate_worker(given, place, index="0"))
    )
    for part in ("input", "output"):
        del before[part]["uri"], after[part]["uri"]
    assert before == after


def test_a_worker_runs_in_this_python() -> None:
    command = relocate_command(a_container()["command"], python="/venv/bin/python")
    assert command == ["/venv/bin/python", "-P", "-m", "modelendpoint_server", "batch", "work"]
