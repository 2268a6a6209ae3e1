"""From a URI to a ready model, what is reported on the way, and what stands in the way."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_server import errors
from modelendpoint_server.app import create_app
from modelendpoint_server.management import create_management_app
from modelendpoint_server.report import State
from modelendpoint_server.service import Service
from modelendpoint_server.worker import build_service
from support import model_zoo
from support.onnx_models import NO_MODEL, corrupt, linear_model, truncated
from support.served import service_for, settings_for

LINEAR = linear_model([1.0, 2.0], intercept=0.5)


def unready(folder: Path, uri: str, **changes: Any) -> Service:
    return build_service(settings_for(uri, folder, **changes), cores=2, memory=2**30)


def get(service: Service, path: str) -> tuple[int, Any]:
    response = create_management_app(service).test_client().get(path)
    return response.status_code, response.get_json(silent=True)


def until_settled(service: Service) -> dict[str, Any]:
    """Run the background thread until the model is ready or has failed once; return the report."""
    service.lifecycle.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        _, report = get(service, "/report")
        if report["state"] in ("Ready", "Failed"):
            service.lifecycle.stop()
            return dict(report)
        time.sleep(0.01)
    raise AssertionError("neither ready nor failed in time")


def test_a_ready_model_is_reported_in_full(tmp_path: Path) -> None:
    service = service_for(LINEAR.data, tmp_path, model_version="3")
    status, report = get(service, "/report")
    timings = report.pop("timings")
    assert (status, report) == (
        200,
        {
            "state": "Ready",
            "reason": None,
            "message": None,
            "retryAfterSeconds": None,
            "model": {
                "uri": f"file://{tmp_path}/model.onnx",
                "version": "3",
                "sha256": LINEAR.sha256,
                "bytes": len(LINEAR.data),
                "opset": 20,
                "producer": "modelendpoint-tests",
            },
            "signature": {
                "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 2]}],
                "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}],
            },
            "golden": None,
        },
    )
    assert set(timings) == {"downloadSeconds", "loadSeconds", "warmUpSeconds"}
    assert get(service, "/readyz")[0] == 200


def test_before_the_model_is_there_nothing_is_ready_and_the_process_lives(tmp_path: Path) -> None:
    service = unready(tmp_path, "file:///nowhere/model.onnx")
    assert get(service, "/livez")[0] == 200
    assert get(service, "/readyz") == (
        503,
        {"state": "Downloading", "reason": "Downloading", "message": "The model is being fetched."},
    )
    response = create_app(service).test_client().post("/predict", data="{}")
    assert (response.status_code, response.get_json()["code"]) == (503, "ModelNotReady")
    assert response.headers["Retry-After"] == "5"
    assert response.headers["x-model-revision"] == "7"
    assert "x-model-sha256" not in response.headers


@pytest.mark.parametrize(
    ("data", "changes", "reason", "words"),
    [
        (None, {}, "ModelNotFound", "Nothing is at"),
        (NO_MODEL, {}, "ModelInvalid", "no ONNX model"),
        (corrupt(LINEAR), {}, "ModelInvalid", ""),
        (truncated(LINEAR), {}, "ModelInvalid", ""),
        (LINEAR.data, {"model_sha256": "0" * 64}, "DigestMismatch", "Upload the right model or correct model.sha256"),
        (LINEAR.data, {"max_model_bytes": 10}, "ModelTooLarge", "larger than 10 bytes"),
        (LINEAR.data, {"execution_providers": ("NoProvider",)}, "ModelInvalid", "NoProvider is not in this image"),
        (model_zoo.with_external_data("w.bin"), {}, "ModelInvalid", "set the URI of the folder"),
    ],
)
def test_a_failure_is_reported_with_reason_and_next_step(
    tmp_path: Path, data: bytes | None, changes: dict[str, Any], reason: str, words: str
) -> None:
    path = tmp_path / "model.onnx"
    if data is not None:
        path.write_bytes(data)
    service = unready(tmp_path, f"file://{path}", **changes)
    report = until_settled(service)
    assert (report["state"], report["reason"]) == ("Failed", reason)
    assert words in report["message"]
    assert report["retryAfterSeconds"] > 0
    assert get(service, "/livez")[0] == 200
    assert get(service, "/readyz")[0] == 503


def test_a_bug_is_reported_and_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(LINEAR.data)
    service = unready(tmp_path, f"file://{path}", model_dir=None)
    report = until_settled(service)
    assert (report["state"], report["reason"]) == ("Failed", "InternalError")
    assert get(service, "/livez")[0] == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"opset": 99}, "Opset 99"), ({"nodes": "custom"}, "my.domain")],
)
def test_what_this_runtime_does_not_know_is_invalid(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    from onnx import helper

    domain = "my.domain" if "nodes" in changes else ""
    node = helper.make_node("Identity", ["x"], ["y"], domain=domain)
    ports = [("x", "FP32", (1,))], [("y", "FP32", (1,))]
    data = model_zoo.build([node], *ports, opset=changes.get("opset", 20))
    with pytest.raises(errors.ModelInvalid, match=words):
        service_for(data, tmp_path)


def test_a_model_that_appears_later_is_found(tmp_path: Path) -> None:
    service = unready(tmp_path, f"file://{tmp_path}/model.onnx")
    service.lifecycle.start()
    deadline = time.monotonic() + 20
    while get(service, "/report")[1]["state"] != "Failed" and time.monotonic() < deadline:
        time.sleep(0.01)
    (tmp_path / "model.onnx").write_bytes(LINEAR.data)
    while get(service, "/readyz")[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert get(service, "/report")[1]["state"] == "Ready"


def write_digest(folder: Path, text: str) -> None:
    (folder / "revision").mkdir(exist_ok=True)
    (folder / "revision" / "sha256").write_text(text)


def test_the_right_digest_in_the_revision_is_ready(tmp_path: Path) -> None:
    write_digest(tmp_path, f"{LINEAR.sha256}\n")
    assert get(service_for(LINEAR.data, tmp_path), "/readyz")[0] == 200


def test_another_digest_in_the_revision_is_refused(tmp_path: Path) -> None:
    write_digest(tmp_path, "a" * 64)
    with pytest.raises(errors.DigestMismatch, match="was replaced"):
        service_for(LINEAR.data, tmp_path)


def test_a_digest_that_comes_later_is_looked_at_when_readiness_is_asked(tmp_path: Path) -> None:
    service = service_for(LINEAR.data, tmp_path)
    write_digest(tmp_path, "")
    assert get(service, "/readyz")[0] == 200
    write_digest(tmp_path, "b" * 64)
    status, body = get(service, "/readyz")
    assert (status, body["reason"]) == (503, "DigestMismatch")
    response = create_app(service).test_client().post("/predict", data='{"instances": [[1, 2]]}')
    assert response.status_code == 503


def test_a_refused_model_is_ready_again_with_its_own_digest(tmp_path: Path) -> None:
    service = service_for(LINEAR.data, tmp_path)
    write_digest(tmp_path, "b" * 64)
    assert get(service, "/readyz")[0] == 503
    write_digest(tmp_path, LINEAR.sha256)
    assert get(service, "/readyz")[0] == 200


def test_a_draining_server_is_not_ready_and_still_answers(tmp_path: Path) -> None:
    service = service_for(LINEAR.data, tmp_path)
    service.lifecycle.drain()
    assert get(service, "/report")[1]["state"] == State.DRAINING
    assert get(service, "/readyz")[0] == 503
    response = create_app(service).test_client().post("/predict", data='{"instances": [[1, 2]]}')
    assert (response.status_code, response.headers["Connection"]) == (200, "close")


def test_a_folder_of_a_mounted_claim_and_a_configmap_are_found(tmp_path: Path) -> None:
    for kind in ("pvc", "configmap"):
        folder = tmp_path / kind / "models"
        (folder / "..data").mkdir(parents=True)
        (folder / "..data" / "model.onnx").write_bytes(LINEAR.data)
        # As the kubelet lays out a ConfigMap: a link to a folder that is replaced as a whole.
        (folder / "model.onnx").symlink_to(folder / "..data" / "model.onnx")
        service = unready(tmp_path, f"{kind}://models/model.onnx")
        service.lifecycle.get_ready()
        assert service.lifecycle.report().state is State.READY


def test_metrics_tell_the_model_and_what_it_did(tmp_path: Path) -> None:
    service = service_for(LINEAR.data, tmp_path)
    client = create_app(service).test_client()
    for _ in range(3):
        client.post("/predict", data=json.dumps({"instances": [[1, 2], [3, 4]]}))
    text = create_management_app(service).test_client().get("/metrics").text
    labels = 'endpoint="churn",protocol="rest",revision="7"'
    assert f'modelserver_requests_total{{code="200",{labels}}} 3.0' in text
    assert 'modelserver_input_rows_total{endpoint="churn",revision="7"} 6.0' in text
    assert f'sha256="{LINEAR.sha256}"' in text
    assert 'modelserver_unchanged_outputs{endpoint="churn",output="score",revision="7"} 2.0' in text
    server = 'endpoint="churn",revision="7"'
    assert f"modelserver_ready{{{server}}} 1.0" in text
    assert f"modelserver_requests_running{{{server}}} 0.0" in text
    for figure in ("memory_bytes", "memory_limit_bytes", "cpu_cores", "cpu_seconds_total", "requests_waiting_limit"):
        assert float(text.split(f"modelserver_{figure}{{{server}}} ")[1].split()[0]) > 0
