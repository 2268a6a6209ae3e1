"""What a pod of the operator's own manifests gets on this machine."""

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelendpoint.local.containers import Containers, Folders, files_of
from modelendpoint.local.objects import ObjectStore
from modelendpoint.local.pods import Pod, new_body
from modelendpoint_operator import names
from modelendpoint_operator.adapters.batch_reduction import INDEX_ANNOTATION
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.revision import RevisionTemplate
from modelendpoint_operator.batch.manifests import build_job
from modelendpoint_operator.batch.observation import Stage
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.manifests.model_server import build_model_server
from modelendpoint_operator.manifests.router import build_router
from modelendpoint_operator.observation import Leg, RevisionRecord
from modelendpoint_operator.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENVIRONMENT = {
    "PATH": "/bin",
    "AWS_ACCESS_KEY_ID": "from the shell",
    "MODELENDPOINT_CACHE": "/cache",
    "PYTHONPATH": "/mine",
    "HTTPS_PROXY": "http://proxy",
}


class Bench:
    """A store, and containers that take from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ObjectStore(folder / "objects")
        folders = Folders(pods=folder / "pods", hosts=folder / "hosts", copies=folder / "copies")
        self.containers = Containers(
            self.store, folders, environment=ENVIRONMENT, traffic_port=lambda namespace, endpoint: 8080
        )

    def a_pod(self, **model: Any) -> Pod:
        """Make a server's pod that does not run."""
        endpoint = an_endpoint(**model)
        template = RevisionTemplate.from_spec(endpoint.spec, server_image="server:1")
        record = RevisionRecord(number=1, template=template, sha256=None)
        manifests = build_model_server(endpoint, record, replicas=1, image_pull_policy="IfNotPresent", drain_seconds=1)
        return self._pod_of("churn-r1", manifests)

    def a_router(self) -> Pod:
        """Make a router's pod that does not run."""
        endpoint = an_endpoint()
        documents = build_documents(endpoint, [Leg(revision=1, weight=100)], [1])
        return self._pod_of("churn-router", build_router(endpoint, documents, settings=Settings()))

    def a_worker(self, index: str, **spec: Any) -> Pod:
        """Make a worker's pod that does not run."""
        model = {"uri": "s3://models/churn.onnx"}
        metadata = {"name": "weekly", "namespace": "default", "uid": "u", "generation": 1}
        body = {
            "metadata": {**metadata, "creationTimestamp": NOW.isoformat()},
            "spec": {"model": model, "output": {"uri": "s3://out/a/"}, **spec},
            "status": {"model": model, "run": "weekly-u", "workers": 2},
        }
        job = build_job(BatchPrediction.from_body(body), Stage.WORK, image_pull_policy="IfNotPresent")
        return self.pod_of(self.store.apply(job, now=NOW), "weekly-work-a", **{INDEX_ANNOTATION: index})

    def _pod_of(self, name: str, manifests: Sequence[Mapping[str, Any]]) -> Pod:
        for manifest in manifests:
            self.store.apply(manifest, now=NOW)
        deployment = self.store.get("Deployment", "default", name)
        assert deployment is not None
        return self.pod_of(deployment, f"{name}-a")

    def pod_of(self, parent: Mapping[str, Any], name: str, **annotations: str) -> Pod:
        """Make a pod of a Deployment or a Job, which does not run."""
        return Pod(
            new_body(name, parent=parent, now=NOW, annotations=annotations),
            folder=self.folder / "pods" / name,
            prepare=self.containers.prepare,
            changed=_ignore,
            clock=lambda: NOW,
        )

    def mounted(self, path: str, *, pod: str = "churn-r1-a") -> Mapping[str, str]:
        """Read the files that the pod sees in a folder of its container."""
        folder = self.folder / "pods" / pod / "mounts" / path.strip("/")
        return {entry.name: entry.read_text() for entry in folder.iterdir() if not entry.name.startswith("..")}

    def put(self, kind: str, name: str, **content: Any) -> None:
        """Write a ConfigMap or a Secret."""
        self.store.apply({"kind": kind, "metadata": {"namespace": "default", "name": name}, **content}, now=NOW)


def an_endpoint(**model: Any) -> ModelEndpoint:
    metadata = {"name": "churn", "namespace": "default", "uid": "u", "generation": 1}
    spec = {"model": {"uri": "s3://models/churn.onnx", **model}}
    return ModelEndpoint.from_body({"metadata": metadata, "spec": spec})


def _ignore(pod: Pod) -> None:
    pass


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_server_inherits_the_shell_but_for_what_it_would_take_for_its_own(bench: Bench) -> None:
    launch = bench.containers.prepare(bench.a_pod())
    assert launch.environment["HTTPS_PROXY"] == "http://proxy"
    assert "MODELENDPOINT_CACHE" not in launch.environment
    assert launch.environment["PYTHONPATH"] != "/mine"
    assert launch.environment["MODELENDPOINT_PORT"] == str(launch.ports[8080])
    assert launch.command[-2:] == ["-m", "modelendpoint_server"]
    assert launch.pause_before_end == 1


def test_every_start_has_ports_of_its_own(bench: Bench) -> None:
    pod = bench.a_pod()
    one, other = bench.containers.prepare(pod), bench.containers.prepare(pod)
    assert set(one.ports) == {names.SERVER_PORT, names.MANAGEMENT_PORT}
    assert not set(one.ports.values()) & set(other.ports.values())


def test_credentials_come_from_the_shell_until_a_secret_is_there(bench: Bench) -> None:
    pod = bench.a_pod(credentialsSecretRef={"name": "models"})
    bench.containers.prepare(pod)
    assert bench.mounted(names.CREDENTIALS_DIR) == {"AWS_ACCESS_KEY_ID": "from the shell"}
    bench.put("Secret", "models", data={"AWS_REGION": base64.b64encode(b"here").decode()}, stringData={"HF_TOKEN": "t"})
    bench.containers.refresh(pod)
    assert bench.mounted(names.CREDENTIALS_DIR) == {"AWS_REGION": "here", "HF_TOKEN": "t"}


def test_no_credentials_are_mounted_where_none_are_asked_for(bench: Bench) -> None:
    bench.containers.prepare(bench.a_pod())
    assert not (bench.folder / "pods" / "churn-r1-a" / "mounts" / names.CREDENTIALS_DIR.strip("/")).exists()


def test_a_changed_configmap_is_seen_at_once(bench: Bench) -> None:
    pod = bench.a_pod()
    bench.containers.prepare(pod)
    assert bench.mounted(names.DIGEST_DIR) == {"sha256": ""}
    bench.put("ConfigMap", "churn-r1", data={"sha256": "ab"})
    bench.containers.refresh(pod)
    assert bench.mounted(names.DIGEST_DIR) == {"sha256": "ab"}


def test_a_pod_that_is_gone_gets_no_files_any_more(bench: Bench) -> None:
    pod = bench.a_pod()
    bench.containers.prepare(pod)
    bench.containers.forget(pod)
    bench.put("ConfigMap", "churn-r1", data={"sha256": "ab"})
    bench.containers.refresh(pod)
    assert bench.mounted(names.DIGEST_DIR) == {"sha256": ""}


@pytest.mark.parametrize(("platform", "listeners"), [("linux", 0), ("darwin", 1)])
def test_a_router_that_shares_its_port_listens_no_more_when_it_is_to_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, platform: str, listeners: int
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    pod = bench.a_router()
    assert bench.containers.prepare(pod).ports[names.ROUTER_PORT] == 8080
    before = bench.mounted(names.ROUTER_CONFIG_DIR, pod=pod.name)
    bench.containers.retire(pod)
    after = bench.mounted(names.ROUTER_CONFIG_DIR, pod=pod.name)
    assert len(json.loads(after[names.LISTENERS_FILE])["resources"]) == listeners
    assert {**after, names.LISTENERS_FILE: ""} == {**before, names.LISTENERS_FILE: ""}


def test_a_worker_is_started_as_its_job_says_and_inherits_the_shell(bench: Bench) -> None:
    bench.put("Secret", "rows", stringData={"AWS_REGION": "here"})
    spec = {"input": {"uri": "s3://rows/a/", "credentialsSecretRef": {"name": "rows"}}, "parallelism": 2}
    pod = bench.a_worker("1", **spec)
    launch = bench.containers.prepare(pod)
    assert launch.command == [sys.executable, "-P", "-m", "modelendpoint_server", "batch", "work"]
    assert (launch.environment["HTTPS_PROXY"], launch.environment["JOB_COMPLETION_INDEX"]) == ("http://proxy", "1")
    assert set(launch.ports) == {names.MANAGEMENT_PORT}
    assert launch.last_words.parent == pod.folder
    assert bench.mounted(names.INPUT_CREDENTIALS_DIR, pod=pod.name) == {"AWS_REGION": "here"}


def test_texts_and_bytes_become_files() -> None:
    packed = base64.b64encode(b"\x00\x01").decode()
    config = {"kind": "ConfigMap", "data": {"a": "text"}, "binaryData": {"b": packed}}
    secret = {"kind": "Secret", "stringData": {"a": "text"}, "data": {"b": packed}}
    assert files_of(config) == files_of(secret) == {"a": b"text", "b": b"\x00\x01"}
    assert files_of(None) == {}
