"""What people write, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelendpoint.errors import CliError
from modelendpoint.local.copies import Copies
from modelendpoint.local.relocation import FILES
from modelendpoint.local.sources import Sources, read_sources
from support.onnx_models import linear_model

MODEL = linear_model([1.0, 2.0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "v1.onnx").write_bytes(MODEL.data)
    return tmp_path


def write(folder: Path, *documents: Any, file: str = "endpoint.yaml") -> Path:
    path = folder / file
    path.write_text(yaml.safe_dump_all(documents))
    return path


def an_endpoint(uri: str = "file://models/v1.onnx", *, name: str = "churn", **spec: Any) -> dict[str, Any]:
    body = {"apiVersion": "modelendpoint.dev/v1alpha1", "kind": "ModelEndpoint", "metadata": {"name": name}}
    return {**body, "spec": {"model": {"uri": uri}, **spec}}


def read(*paths: Path) -> Sources:
    return read_sources(paths, Copies(paths[0].parent / "state"))


@pytest.mark.parametrize("uri", ["file://models/v1.onnx", "file://./models/v1.onnx", "pvc://models/v1.onnx"])
def test_a_local_model_is_pinned_to_the_bytes_that_it_has_now(folder: Path, uri: str) -> None:
    sources = read(write(folder, an_endpoint(uri)))
    (manifest,) = sources.manifests
    assert manifest["spec"]["model"]["sha256"] == MODEL.sha256
    assert manifest["metadata"] == {"namespace": "default", "name": "churn"}
    assert folder / "models" / "v1.onnx" in sources.files


def test_other_bytes_in_the_same_file_are_another_model(folder: Path) -> None:
    path = write(folder, an_endpoint())
    before = read(path).manifests[0]["spec"]["model"]
    (folder / "models" / "v1.onnx").write_bytes(linear_model([3.0, 4.0]).data)
    after = read(path).manifests[0]["spec"]["model"]
    assert before["uri"] != after["uri"]
    kept = folder / "state" / before["uri"].removeprefix("pvc://local-copies/")
    assert kept.read_bytes() == MODEL.data


def test_golden_examples_are_copied_like_models(folder: Path) -> None:
    (folder / "golden.json").write_text('{"examples": []}')
    model = {"uri": "file://models/v1.onnx", "goldenExamples": {"uri": "file://golden.json"}}
    sources = read(write(folder, an_endpoint(model=model)))
    assert sources.manifests[0]["spec"]["model"]["goldenExamples"]["uri"].startswith("pvc://local-copies/")
    assert folder / "golden.json" in sources.files


def test_a_model_that_is_not_there_is_left_for_the_server_to_report(folder: Path) -> None:
    (manifest,) = read(write(folder, an_endpoint("file://models/v9.onnx"))).manifests
    assert manifest["spec"]["model"] == {"uri": f"{FILES}{str(folder).lstrip('/')}/models/v9.onnx"}


def test_models_in_stores_stay_as_they_are(folder: Path) -> None:
    sources = read(write(folder, an_endpoint("s3://models/churn.onnx")))
    assert sources.manifests[0]["spec"] == {"model": {"uri": "s3://models/churn.onnx"}}
    assert sources.notes == ()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (an_endpoint("ftp://models/churn.onnx"), "spec.model.uri"),
        (an_endpoint(replica=2), 'unknown field "spec.replica"'),
        (an_endpoint(rollout={"steps": [{"weight": 50}, {"weight": 10}]}), "spec.rollout"),
        ({**an_endpoint(), "apiVersion": "v1"}, 'no matches for kind "ModelEndpoint"'),
        ({**an_endpoint(), "spec": None}, "spec"),
        ({"kind": "ModelEndpoint"}, "apiVersion"),
        (["no object"], "is no Kubernetes object"),
    ],
)
def test_what_an_api_server_would_refuse_is_refused_with_its_place(folder: Path, document: Any, said: str) -> None:
    with pytest.raises(CliError) as refused:
        read(write(folder, document))
    assert said in str(refused.value)
    assert "endpoint.yaml:" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("kind: [", "is not YAML"), ("", "No ModelEndpoint"), ("kind: Pod\nmetadata: {name: p}", "No Mo")],
)
def test_a_file_without_an_endpoint_is_refused(folder: Path, text: str, said: str) -> None:
    (folder / "endpoint.yaml").write_text(text)
    with pytest.raises(CliError, match=said):
        read(folder / "endpoint.yaml")


def test_an_endpoint_that_is_there_twice_is_refused(folder: Path) -> None:
    with pytest.raises(CliError, match="churn is there twice"):
        read(write(folder, an_endpoint()), write(folder, an_endpoint(), file="again.yaml"))


REPLAY = {"name": "recorded", "input": {"uri": "file://rows/"}, "output": {"uri": "pvc://reports/"}}


def test_replay_gates_read_and_write_files_of_this_machine(folder: Path) -> None:
    path = write(folder, an_endpoint(rollout={"gates": {"errorRate": {}, "replay": [REPLAY]}}))
    sources = read(path)
    gates = sources.manifests[0]["spec"]["rollout"]["gates"]
    (gate,) = gates["replay"]

    assert gate["input"]["uri"] == f"{FILES}{str(folder).lstrip('/')}/rows/"
    assert gate["output"]["uri"] == f"{FILES}{str(folder).lstrip('/')}/reports/"
    assert gates["errorRate"] == {}
    assert any(note.startswith("pvc://<claim>") for note in sources.notes)
    assert any(note.startswith("file://...") for note in sources.notes)


@pytest.mark.parametrize("gate", [5, {**REPLAY, "input": 5}, {**REPLAY, "input": {"uri": 5}}, {"name": "recorded"}])
def test_a_replay_gate_that_is_none_is_refused(folder: Path, gate: Any) -> None:
    with pytest.raises(CliError, match="replay"):
        read(write(folder, an_endpoint(rollout={"gates": {"replay": [gate]}})))


def test_a_replay_gate_without_the_package_that_its_workers_need_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelendpoint.local.batch_files.find_spec", lambda name: None)
    with pytest.raises(CliError, match="A replay gate of ModelEndpoint churn needs the Python package pyarrow"):
        read(write(folder, an_endpoint(rollout={"gates": {"replay": [REPLAY]}})))


def test_what_means_nothing_here_is_said_once(folder: Path) -> None:
    spec: dict[str, Any] = {"server": {"resources": {"limits": {"memory": "1Gi"}}}, "routing": {"replicas": 3}}
    pod = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "other"}}
    sources = read(write(folder, an_endpoint(**spec), an_endpoint(name="upsell", **spec), pod))
    assert [note.partition(":")[0] for note in sources.notes] == [
        "spec.server.resources", "spec.routing.replicas", "file", "Deployment other",
    ]  # fmt: skip


def test_routers_speak_plain_http_here_and_it_is_said(folder: Path) -> None:
    tls = {"secretRef": {"name": "churn-tls"}}
    sources = read(write(folder, an_endpoint(routing={"timeoutSeconds": 5, "tls": tls})))
    assert sources.manifests[0]["spec"]["routing"] == {"timeoutSeconds": 5}
    assert "spec.routing.tls: routers here speak plain HTTP on loopback" in sources.notes
    with pytest.raises(CliError, match=r"spec.routing.tls.secretRef"):
        read(write(folder, an_endpoint(routing={"tls": {}})))


def test_there_is_no_monitor_here_and_it_is_said(folder: Path) -> None:
    sources = read(write(folder, an_endpoint(monitoring={"capture": {"uri": "s3://captures/churn"}})))
    assert "monitoring" not in sources.manifests[0]["spec"]
    assert "spec.monitoring: nothing of requests is kept here" in sources.notes
    with pytest.raises(CliError, match=r"spec.monitoring.capture.uri"):
        read(write(folder, an_endpoint(monitoring={"capture": {}})))


@pytest.mark.parametrize(
    ("written", "applied"),
    [
        ({"minReplicas": 0, "maxReplicas": 1}, None),
        (
            {"minReplicas": 0, "maxReplicas": 3, "targetRequestsPerSecond": 5},
            {"minReplicas": 1, "maxReplicas": 3, "targetRequestsPerSecond": 5},
        ),
    ],
)
def test_an_endpoint_that_may_sleep_is_kept_awake_here(folder: Path, written: Any, applied: Any) -> None:
    sources = read(write(folder, an_endpoint(autoscaling=written)))

    assert sources.manifests[0]["spec"].get("autoscaling") == applied
    assert any("minReplicas" in note for note in sources.notes)


def test_missing_credentials_are_said_to_come_from_the_environment(folder: Path) -> None:
    model = {"uri": "s3://models/churn.onnx", "credentialsSecretRef": {"name": "models"}}
    (note,) = read(write(folder, an_endpoint(model=model))).notes
    assert "Secret models" in note and "AWS_ACCESS_KEY_ID" in note


def test_configmaps_and_secrets_come_along(folder: Path) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "models"}, "data": {"a": "b"}}
    sources = read(write(folder, config, an_endpoint("configmap://models/a")))
    assert sources.manifests[0] == {**config, "metadata": {"name": "models", "namespace": "default"}}
    assert sources.endpoints == [("default", "churn")]
