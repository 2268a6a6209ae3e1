"""Every choice that the author of an endpoint has about the server reaches it, and what he leaves out is its own."""

from typing import Any

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.revision import RevisionTemplate
from modelendpoint_operator.manifests.model_server import build_model_server
from modelendpoint_operator.observation import RevisionRecord
from modelendpoint_server.settings import Settings

MODEL = {"uri": "configmap://models/churn.onnx"}
GOLDEN = {"uri": "configmap://golden/churn.json", "absoluteTolerance": 0.5, "relativeTolerance": 0.25}
SERVER = {
    "executionProviders": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "batching": {"maxSize": 16, "maxDelayMilliseconds": 7},
    "limits": {"maxBodyBytes": 4096, "maxRows": 12, "maxConcurrency": 3, "maxWaiting": 9},
}


def pod_of(spec: dict[str, Any]) -> dict[str, Any]:
    body = {"metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1}, "spec": spec}
    endpoint = ModelEndpoint.from_body(body)
    template = RevisionTemplate.from_spec(endpoint.spec, server_image="server:1")
    record = RevisionRecord(number=7, template=template, sha256=None)
    manifests = build_model_server(endpoint, record, replicas=1, image_pull_policy="Always", drain_seconds=15)
    pod: dict[str, Any] = manifests[-1]["spec"]["template"]["spec"]
    return pod


def settings_of(spec: dict[str, Any]) -> Settings:
    (container,) = pod_of(spec)["containers"]
    return Settings.from_environment({variable["name"]: variable["value"] for variable in container["env"]})


def test_all_choices_reach_the_server() -> None:
    model = {"uri": "s3://models/churn.onnx", "serviceAccountName": "models", "goldenExamples": GOLDEN}
    settings = settings_of({"model": model, "server": SERVER})

    assert settings.service_account == "models"
    assert settings.golden_examples_uri == GOLDEN["uri"]
    assert (settings.golden_absolute_tolerance, settings.golden_relative_tolerance) == (0.5, 0.25)
    assert settings.execution_providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert (settings.batch_max_size, settings.batch_max_delay_milliseconds) == (16, 7)
    assert (settings.max_body_bytes, settings.max_rows) == (4096, 12)
    assert (settings.max_concurrency, settings.max_waiting) == (3, 9)


def test_what_is_left_out_is_the_servers_own() -> None:
    given, own = settings_of({"model": MODEL}), Settings(model_uri=MODEL["uri"])

    for name in (
        "service_account",
        "golden_examples_uri",
        "execution_providers",
        "batch_max_size",
        "max_body_bytes",
        "max_waiting",
    ):
        assert getattr(given, name) == getattr(own, name)


def test_golden_examples_are_mounted_like_a_model_and_one_source_only_once() -> None:
    apart = pod_of({"model": {**MODEL, "goldenExamples": GOLDEN}})
    together = pod_of({"model": {**MODEL, "goldenExamples": {"uri": "configmap://models/golden.json"}}})

    assert {"/mnt/configmap/models", "/mnt/configmap/golden"} <= mounts_of(apart)
    assert sorted(path for path in mounts_of(together) if path.startswith("/mnt/")) == ["/mnt/configmap/models"]
    assert len({volume["name"] for volume in apart["volumes"]}) == len(apart["volumes"])


def mounts_of(pod: dict[str, Any]) -> set[str]:
    (container,) = pod["containers"]
    return {mount["mountPath"] for mount in container["volumeMounts"]}
