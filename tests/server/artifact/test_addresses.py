"""No model, by whatever name or redirect, comes from this pod, its node or its cloud's metadata."""

import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_server import errors
from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.download import Artifact
from modelendpoint_server.artifact.fetch import fetch_bytes, fetch_model
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.settings import REFUSED_NETWORKS, Networks, Settings
from support.faulty_web import Request, faulty_web
from support.onnx_models import linear_model

LINEAR = linear_model([1.0, 2.0])


def access(folder: Path, credentials: Mapping[str, str], refused: Networks) -> Access:
    return Access(
        credentials=credentials,
        pvc_dir=folder,
        configmap_dir=folder,
        stall_seconds=1,
        timeout_seconds=1,
        refused_networks=refused,
    )


def fetch(
    uri: str, folder: Path, *, credentials: Mapping[str, str] | None = None, refused: Networks = REFUSED_NETWORKS
) -> Artifact:
    return fetch_model(
        uri,
        access=access(folder, credentials or {}, refused),
        bounds=Bounds(max_bytes=10**6, max_files=10, max_unpack_ratio=10, timeout_seconds=5, min_bytes_per_second=0),
        model_dir=folder / "models",
        sha256="",
    )


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names that resolve as the test says; addresses resolve as ever, and no name goes out to a resolver."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: Any, *rest: Any, **more: Any) -> Any:
        more = {key: value for key, value in more.items() if key == "type"}
        if host in known:
            return [entry for address in known[host] for entry in real(address, port, **more)]
        return real(host, port, flags=socket.AI_NUMERICHOST, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


@pytest.fixture(autouse=True)
def no_connection_but_to_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when something is connected to that must not be."""
    real = socket.socket.connect

    def connect(self: socket.socket, place: Any) -> None:
        assert place[0] == "127.0.0.1", f"connected to {place}"
        real(self, place)

    monkeypatch.setattr(socket.socket, "connect", connect)


METADATA_V4 = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192", "168.63.129.16"]
WAYS_TO_WRITE_LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
]
WAYS_TO_WRITE_METADATA = ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "0xa9.254.169.254"]
IN_IPV6 = [
    *("::1", "::", "0:0:0:0:0:0:0:1", "fe80::1", "febf::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "ff02::1"),
    *("::ffff:169.254.169.254", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::169.254.169.254"),
    *("64:ff9b::169.254.169.254", "64:ff9b::7f00:1", "2002:a9fe:a9fe::1", "2002:7f00:1::", "2001:0:7f00:1::5601:5601"),
]
OTHERS = ["224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "0.1.2.3"]
HOSTS = [
    *METADATA_V4,
    *WAYS_TO_WRITE_LOOPBACK,
    *WAYS_TO_WRITE_METADATA,
    *OTHERS,
    *(f"[{address}]" for address in IN_IPV6),
]
URLS = [f"http://{host}/latest/meta-data" for host in HOSTS]
URLS += [f"https://{host}/model.onnx" for host in HOSTS]
URLS += ["http://169.254.169.254:80/x", "HTTP://127.0.0.1/x"]


@pytest.mark.parametrize("url", URLS)
def test_an_address_of_the_pod_the_node_or_the_cloud_is_refused(url: str, tmp_path: Path, names: object) -> None:
    with pytest.raises(errors.ModelForbidden, match="that no model is fetched from"):
        fetch(url, tmp_path)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "10.96.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "fd12::1", "93.184.215.14"]
)
def test_a_store_in_the_cluster_or_outside_is_connected_to(
    address: str, tmp_path: Path, names: dict[str, list[str]]
) -> None:
    names["store.models.svc"] = [address]
    with pytest.raises(AssertionError, match="connected to"):
        fetch("http://store.models.svc/model.onnx", tmp_path)


@pytest.mark.parametrize("address", [*METADATA_V4, *IN_IPV6, "127.0.0.1"])
def test_a_name_counts_for_what_it_resolves_to(address: str, tmp_path: Path, names: dict[str, list[str]]) -> None:
    names["models.example"] = [address]
    for uri in ("https://models.example/model.onnx", "hf://org/repo/model.onnx", "oci://models.example/churn:1"):
        with pytest.raises(errors.ModelForbidden, match="that no model is fetched from"):
            fetch(uri, tmp_path, credentials={"HF_ENDPOINT": "https://models.example"})


def test_of_several_addresses_only_the_allowed_are_connected_to(tmp_path: Path, names: dict[str, list[str]]) -> None:
    names["models.example"] = ["169.254.169.254", "fe80::1", "127.0.0.1"]
    with faulty_web(lambda request: request.answer(LINEAR.data)) as web:
        refused = tuple(network for network in REFUSED_NETWORKS if str(network) != "127.0.0.0/8")
        url = web.url(host="models.example")
        assert fetch(url, tmp_path, refused=refused).sha256 == LINEAR.sha256


def test_a_name_that_changes_its_mind_gains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["127.0.0.1", "169.254.169.254"])
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **more: real(next(answers), port, **more))
    with faulty_web(lambda request: request.answer(LINEAR.data)) as web:
        refused = (ip_network("169.254.0.0/16"),)
        assert fetch(web.url(host="models.example"), tmp_path, refused=refused).sha256 == LINEAR.sha256


REDIRECTS: list[Callable[[int], str]] = [
    lambda port: "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    lambda port: f"http://evil.example:{port}/",
    lambda port: "http://[::ffff:169.254.169.254]/",
    lambda port: "//169.254.169.254/x",
    lambda port: "http://[fd00:ec2::254]/",
]


@pytest.mark.parametrize("target", REDIRECTS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_such_an_address_is_refused(
    tmp_path: Path, names: dict[str, list[str]], status: int, target: Callable[[int], str]
) -> None:
    names["evil.example"] = ["169.254.169.254"]
    refused = tuple(network for network in REFUSED_NETWORKS if str(network) != "127.0.0.0/8")

    def handle(request: Request) -> None:
        request.answer(b"", status=status, Location=target(80))

    with faulty_web(handle) as web, pytest.raises(errors.ModelForbidden, match="that no model is fetched from"):
        fetch(web.url(), tmp_path, refused=refused)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/model.onnx", "data:,x", "gopher://a/1"])
def test_a_redirect_leads_to_the_web_only(tmp_path: Path, location: str) -> None:
    def handle(request: Request) -> None:
        request.answer(b"", status=302, Location=location)

    with faulty_web(handle) as web, pytest.raises(errors.StoreUnavailable):
        fetch(web.url(), tmp_path, refused=())


def test_the_place_where_a_registry_gives_tokens_counts_too(tmp_path: Path) -> None:
    challenge = 'Bearer realm="https://169.254.169.254/token",service="x"'
    refused = tuple(network for network in REFUSED_NETWORKS if str(network) != "127.0.0.0/8")

    def handle(request: Request) -> None:
        request.answer(b"", status=401, **{"WWW-Authenticate": challenge})

    with faulty_web(handle) as web, pytest.raises(errors.ModelForbidden, match="that no model is fetched from"):
        fetch(f"oci://127.0.0.1:{web.port}/models/churn:1", tmp_path, refused=refused)


@pytest.mark.parametrize(
    ("uri", "credentials"),
    [
        ("s3://models/m.onnx", {"AWS_ENDPOINT_URL": "http://169.254.169.254"}),
        ("s3://models/m.onnx", {"AWS_ENDPOINT_URL": "http://models.example:80"}),
        ("s3://models/m.onnx", {"AWS_ENDPOINT": "http://[::ffff:127.0.0.1]:80"}),
        ("s3://models/m.onnx", {"AWS_METADATA_ENDPOINT": "http://127.0.0.1"}),
        ("s3://models/m.onnx", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}),
        ("az://models/m.onnx", {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_ENDPOINT": "http://localhost:10000/a"}),
        ("gs://models/m.onnx", {"GOOGLE_APPLICATION_CREDENTIALS_JSON": '{"gcs_base_url": "http://169.254.169.254"}'}),
    ],
)
def test_the_endpoint_of_an_object_store_counts(
    uri: str, credentials: Mapping[str, str], tmp_path: Path, names: dict[str, list[str]]
) -> None:
    names["models.example"] = ["169.254.169.254"]
    names["localhost"] = ["127.0.0.1"]
    with pytest.raises(errors.ModelForbidden, match="that no model is fetched from"):
        fetch(uri, tmp_path, credentials=credentials)


@pytest.mark.parametrize(
    ("uri", "credentials"),
    [
        ("s3://models/m.onnx", {"AWS_REGION": "x@169.254.169.254/"}),
        ("az://models/m.onnx", {"AZURE_STORAGE_ACCOUNT_NAME": "x@169.254.169.254/"}),
    ],
)
def test_what_becomes_part_of_a_host_is_a_name(uri: str, credentials: Mapping[str, str], tmp_path: Path) -> None:
    with pytest.raises(errors.ModelForbidden, match="is no name"):
        fetch(uri, tmp_path, credentials=credentials)


def test_golden_examples_come_from_no_such_address_either(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelForbidden, match="that no model is fetched from"):
        fetch_bytes("http://169.254.169.254/x", access=access(tmp_path, {}, REFUSED_NETWORKS), most=10)


def test_the_setting_decides() -> None:
    base = {"MODELENDPOINT_MODEL_URI": "https://a/b"}
    assert Settings.from_environment(base).refused_networks == REFUSED_NETWORKS
    none = Settings.from_environment({**base, "MODELENDPOINT_REFUSED_NETWORKS": ""})
    assert none.refused_networks == ()
    some = Settings.from_environment({**base, "MODELENDPOINT_REFUSED_NETWORKS": "10.0.0.0/8, fd00::/8"})
    assert some.refused_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    with pytest.raises(errors.InvalidSettings, match=r"a list of networks such as 10\.0\.0\.0/8"):
        Settings.from_environment({**base, "MODELENDPOINT_REFUSED_NETWORKS": "10.0.0.1/8"})
