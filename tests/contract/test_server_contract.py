"""What the operator sets, mounts, probes and reads is what the model server takes, finds, answers and reports."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.adapters.reduction import parse_report
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.revision import RevisionTemplate
from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_operator.manifests.envoy import CHECK_SECONDS, build_clusters
from modelendpoint_operator.manifests.model_server import build_model_server
from modelendpoint_operator.observation import PodReport, RevisionRecord
from modelendpoint_operator.planning.pokes import MAY_BE_MOUNTED_LATER
from modelendpoint_server import errors
from modelendpoint_server.app import create_app
from modelendpoint_server.artifact.credentials import read_credentials
from modelendpoint_server.artifact.local import LocalSource
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.artifact.uri import SCHEMES, parse_uri
from modelendpoint_server.management import create_management_app
from modelendpoint_server.report import State
from modelendpoint_server.service import Service
from modelendpoint_server.settings import Settings
from modelendpoint_server.worker import build_service
from support.onnx_models import linear_model
from support.served import service_for, settings_for

LINEAR = linear_model([1.0, 2.0], intercept=0.5)

MODELS = {
    "s3": {"uri": "s3://models/churn/3/model.onnx", "version": "3", "sha256": "ab" * 32},
    "unnamed": {"uri": "https://models.example/churn.onnx"},
    "with-credentials": {"uri": "gs://models/churn.onnx", "credentialsSecretRef": {"name": "models"}},
    "pvc": {"uri": "pvc://claim/churn/v3/model.onnx"},
    "configmap": {"uri": "configmap://churn-model/model.onnx"},
}


def an_endpoint(model: Mapping[str, Any]) -> ModelEndpoint:
    return ModelEndpoint.from_body(
        {
            "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"model": model},
        }
    )


def pod_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """Build the pod of revision 7 of an endpoint."""
    endpoint = an_endpoint(model)
    template = RevisionTemplate.from_spec(endpoint.spec, server_image="server:1")
    record = RevisionRecord(number=7, template=template, sha256=None)
    manifests = build_model_server(endpoint, record, replicas=1, image_pull_policy="Always", drain_seconds=15)
    pod: dict[str, Any] = manifests[-1]["spec"]["template"]["spec"]
    return pod


def settings_of(pod: Mapping[str, Any]) -> Settings:
    """Read the settings as the server in the pod does."""
    (container,) = pod["containers"]
    return Settings.from_environment({item["name"]: item["value"] for item in container["env"]})


def mounts_of(pod: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    (container,) = pod["containers"]
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_server_takes_the_environment_that_the_operator_sets(model: dict[str, Any]) -> None:
    settings = settings_of(pod_of(model))

    assert (settings.name, settings.namespace, settings.revision) == ("churn", "shop", "7")
    assert settings.model_uri == model["uri"]
    assert settings.model_version == model.get("version", "")
    assert settings.model_sha256 == model.get("sha256", "")


def test_ports_of_the_container_are_those_that_the_server_listens_on() -> None:
    pod = pod_of(MODELS["s3"])
    settings = settings_of(pod)
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}

    assert ports == {"http": settings.port, "management": settings.management_port}
    assert settings.port == names.SERVER_PORT


def test_the_server_answers_longer_than_any_router_waits() -> None:
    pod = pod_of(MODELS["s3"])

    longest = ModelEndpoint.from_body(
        {
            "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"model": MODELS["s3"], "routing": {"timeoutSeconds": 600}},
        }
    ).spec.routing.timeout_seconds
    assert settings_of(pod).request_timeout_seconds >= longest
    assert pod["terminationGracePeriodSeconds"] >= 15 + longest


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_server_writes_only_where_it_may(model: dict[str, Any]) -> None:
    pod = pod_of(model)
    settings = settings_of(pod)
    environment = {item["name"]: item["value"] for item in pod["containers"][0]["env"]}
    writable = [path for path, mount in mounts_of(pod).items() if not mount.get("readOnly")]

    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    assert writable == [str(settings.model_dir)]
    assert environment["HOME"] == environment["TMPDIR"] == str(settings.model_dir)


def test_the_digest_is_mounted_where_the_server_looks() -> None:
    pod = pod_of(MODELS["s3"])
    settings = settings_of(pod)
    mount = mounts_of(pod)[str(settings.revision_dir)]
    volume = next(volume for volume in pod["volumes"] if volume["name"] == mount["name"])

    assert volume["configMap"] == {"name": "churn-r7", "optional": True}
    assert "subPath" not in mount, "a sub path never changes, and the digest is learned later"
    assert names.DIGEST_KEY == "sha256"


def test_credentials_are_mounted_where_the_server_looks(tmp_path: Path) -> None:
    pod = pod_of(MODELS["with-credentials"])
    settings = settings_of(pod)
    mount = mounts_of(pod)[str(settings.credentials_dir)]
    volume = next(volume for volume in pod["volumes"] if volume["name"] == mount["name"])
    assert volume["secret"] == {"secretName": "models", "optional": True}
    assert all("valueFrom" not in item for item in pod["containers"][0]["env"])

    # As a kubelet mounts a Secret.
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "AWS_REGION").write_text("eu-central-1\n")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "AWS_REGION").symlink_to("..data/AWS_REGION")
    assert read_credentials(tmp_path) == {"AWS_REGION": "eu-central-1"}


@pytest.mark.parametrize("kind", ["pvc", "configmap"])
def test_the_server_finds_a_mounted_model(kind: str, tmp_path: Path) -> None:
    pod = pod_of(MODELS[kind])
    settings = settings_of(pod)
    uri = parse_uri(settings.model_uri)
    (mounted,) = [path for path in mounts_of(pod) if path.startswith("/mnt/")]

    # The same paths below a folder of this machine.
    file = tmp_path / mounted.lstrip("/") / uri.path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"model")
    access = Access(
        credentials={},
        pvc_dir=tmp_path / str(settings.pvc_dir).lstrip("/"),
        configmap_dir=tmp_path / str(settings.configmap_dir).lstrip("/"),
        stall_seconds=1,
        timeout_seconds=1,
    )
    (found,) = LocalSource(uri, access).files()
    assert found.size == 5


def test_the_server_knows_every_scheme_that_the_api_takes() -> None:
    pattern = ModelEndpointSpec.model_json_schema()["$defs"]["Model"]["properties"]["uri"]["pattern"]
    taken = re.findall(r"[a-z0-9]+", pattern.partition("://")[0])

    assert {"s3", "pvc", "configmap"} <= set(taken) <= set(SCHEMES)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return service_for(LINEAR.data, tmp_path_factory.mktemp("model"))


def test_the_probes_ask_what_the_server_answers(service: Service) -> None:
    (container,) = pod_of(MODELS["s3"])["containers"]
    client = create_management_app(service).test_client()
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "management"
        assert client.get(container[probe]["httpGet"]["path"]).status_code == 200


def test_a_router_knows_the_server_by_the_name_that_the_operator_gave_it(service: Service) -> None:
    cluster = build_clusters(an_endpoint(MODELS["s3"]), [7])["resources"][0]
    (check,) = cluster["health_checks"]
    (host,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    server = build_service(settings_of(pod_of(MODELS["s3"])), cores=2, memory=2**30)

    told = create_management_app(server).test_client().get(check["http_health_check"]["path"])

    assert told.headers["x-envoy-upstream-healthchecked-cluster"] == "shop/churn-r7"
    assert check["http_health_check"]["service_name_matcher"] == {"exact": "shop/churn-r7"}
    assert host["endpoint"]["health_check_config"] == {"port_value": Settings(model_uri="").management_port}


def test_a_server_that_was_told_to_end_answers_until_every_router_knows() -> None:
    assert settings_of(pod_of(MODELS["s3"])).drain_seconds >= 2 * CHECK_SECONDS


def test_the_operator_understands_the_report_of_a_ready_server(service: Service) -> None:
    document = create_management_app(service).test_client().get(names.PATH_REPORT).get_json()

    assert parse_report(document) == PodReport(state="Ready", sha256=LINEAR.sha256)


def test_the_operator_understands_the_report_of_a_server_without_a_model(tmp_path: Path) -> None:
    lacking = build_service(settings_for(f"file://{tmp_path}/none.onnx", tmp_path), cores=2, memory=2**30)
    document = create_management_app(lacking).test_client().get(names.PATH_REPORT).get_json()
    report = parse_report(document)

    assert report and (report.state, report.sha256) == ("Downloading", None)


def test_a_server_with_other_bytes_is_unready_for_the_reason_that_the_operator_pokes_for(tmp_path: Path) -> None:
    service = service_for(LINEAR.data, tmp_path)
    (tmp_path / "revision").mkdir()
    (tmp_path / "revision" / names.DIGEST_KEY).write_text("ab" * 32)
    client = create_management_app(service).test_client()
    report = parse_report(client.get(names.PATH_REPORT).get_json())

    assert client.get(names.PATH_READY).status_code == 503
    assert report and (report.state, report.reason) == ("Failed", "DigestMismatch")
    assert report.reason in MAY_BE_MOUNTED_LATER


def test_an_empty_digest_file_takes_any_bytes(tmp_path: Path) -> None:
    """So it is mounted until the first pod of the revision has told the digest."""
    service = service_for(LINEAR.data, tmp_path)
    (tmp_path / "revision").mkdir()
    (tmp_path / "revision" / names.DIGEST_KEY).write_text("")

    assert create_management_app(service).test_client().get(names.PATH_READY).status_code == 200


def test_the_operator_decides_by_states_and_reasons_that_the_server_gives() -> None:
    assert {"Ready", "Failed"} <= set(State)
    reasons = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert set(MAY_BE_MOUNTED_LATER) <= reasons


def test_every_answer_says_who_made_it(service: Service) -> None:
    client = create_app(service).test_client()
    for path in ("/predict", "/nowhere"):
        answer = client.post(path, data=b"{}", headers={"x-request-id": "r-1", "content-type": "application/json"})
        told = {header: answer.headers.get(header) for header in ("x-model-revision", "x-model-sha256", "x-request-id")}
        assert told == {"x-model-revision": "7", "x-model-sha256": LINEAR.sha256, "x-request-id": "r-1"}
