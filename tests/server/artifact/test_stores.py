"""Models from real stores: each scheme, with right and wrong credentials, present and missing, file and folder."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelendpoint_server import errors
from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.download import Artifact
from modelendpoint_server.artifact.fetch import fetch_model
from modelendpoint_server.artifact.source import Access
from support import stores
from support.emulators import find_go_tool, free_port, running
from support.onnx_models import linear_model

pytestmark = pytest.mark.emulator
LINEAR = linear_model([1.0, 2.0])
FILES = {"churn/3/model.onnx": LINEAR.data, "churn/3/notes.txt": b"about the model", "churn/30/model.onnx": b"other"}


@dataclass(frozen=True)
class Place:
    """A store with models in it."""

    scheme: str
    container: str
    right: Mapping[str, str]
    wrong: Mapping[str, str]

    def uri(self, path: str) -> str:
        return f"{self.scheme}://{self.container}/{path}"


def fetch(uri: str, folder: Path, credentials: Mapping[str, str], *, sha256: str = "") -> Artifact:
    return fetch_model(
        uri,
        access=Access(
            credentials=credentials,
            pvc_dir=folder,
            configmap_dir=folder,
            stall_seconds=3,
            timeout_seconds=30,
            refused_networks=(),
        ),
        bounds=Bounds(
            max_bytes=10_000_000, max_files=10, max_unpack_ratio=10, timeout_seconds=30, min_bytes_per_second=0
        ),
        model_dir=folder / "models",
        sha256=sha256,
    )


WRONG = {
    "s3": {"AWS_SECRET_ACCESS_KEY": "wrong"},
    # fake-gcs-server takes every credential, so the wrong ones are ones that can't be read.
    "gs": {"GOOGLE_APPLICATION_CREDENTIALS_JSON": "{"},
    "az": {"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="},
}


@contextlib.contextmanager
def place_in(kind: str, folder: Path) -> Iterator[Place]:
    store = stores.KINDS[kind](folder)
    with store.serve():
        for path, data in FILES.items():
            store.put(path, data)
        yield Place(kind, stores.CONTAINER, store.credentials, {**store.credentials, **WRONG[kind]})


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place_in("s3", tmp_path_factory.mktemp("s3")) as place:
        yield place


@pytest.fixture(scope="module")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place_in("gs", tmp_path_factory.mktemp("gs")) as place:
        yield place


@pytest.fixture(scope="module")
def az(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place_in("az", tmp_path_factory.mktemp("az")) as place:
        yield place


@pytest.fixture(params=["s3", "gs", "az"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each of the three clouds."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Place)
    return found


def test_a_file_is_fetched(place: Place, tmp_path: Path) -> None:
    artifact = fetch(place.uri("churn/3/model.onnx"), tmp_path, place.right, sha256=LINEAR.sha256)
    assert artifact.model_path.read_bytes() == LINEAR.data


@pytest.mark.parametrize("path", ["churn/3", "churn/3/"])
def test_a_folder_is_fetched_without_its_namesakes(place: Place, tmp_path: Path, path: str) -> None:
    artifact = fetch(place.uri(path), tmp_path, place.right)
    assert sorted(p.name for p in artifact.model_path.parent.iterdir()) == ["model.onnx", "notes.txt"]
    assert artifact.sha256 != LINEAR.sha256


@pytest.mark.parametrize("path", ["churn/4/model.onnx", "nothing/"])
def test_a_missing_model_is_not_found(place: Place, tmp_path: Path, path: str) -> None:
    with pytest.raises(errors.ModelNotFound, match="Upload the model or correct"):
        fetch(place.uri(path), tmp_path, place.right)


def test_a_missing_bucket_is_not_found(place: Place, tmp_path: Path) -> None:
    # fake-gcs-server answers 500 where Google answers 404.
    kind = errors.StoreUnavailable if place.scheme == "gs" else errors.ModelNotFound
    with pytest.raises(kind):
        fetch(f"{place.scheme}://no-such-bucket/model.onnx", tmp_path, place.right)


def test_wrong_credentials_are_forbidden_and_not_shown(place: Place, tmp_path: Path) -> None:
    with pytest.raises(errors.ModelForbidden) as caught:
        fetch(place.uri("churn/3/model.onnx"), tmp_path, place.wrong)
    assert "credentialsSecretRef" in str(caught.value)
    for secret in place.wrong.values():
        assert len(secret) < 4 or secret not in str(caught.value)


def test_a_store_that_is_down_is_unavailable(place: Place, tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    down = {key: value for key, value in place.right.items()}
    if place.scheme == "gs":
        key = {**json.loads(down["GOOGLE_APPLICATION_CREDENTIALS_JSON"]), "gcs_base_url": f"http://{nowhere}"}
        down["GOOGLE_APPLICATION_CREDENTIALS_JSON"] = json.dumps(key)
    else:
        down["AWS_ENDPOINT_URL" if place.scheme == "s3" else "AZURE_ENDPOINT"] = f"http://{nowhere}/x"
    with pytest.raises(errors.StoreUnavailable, match="tried again"):
        fetch(place.uri("churn/3/model.onnx"), tmp_path, down)


# ── container registry ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The CNCF's registry with a password, filled by the oras client."""
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    # htpasswd of "user" and "secret"
    (folder / "htpasswd").write_text("user:$2b$05$.GC6V6MAqiFQM5qNWOyR.Od1fqVfjDPf3Sr0rCeSS.0Nv6KYn6B06\n")
    (folder / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
        f"auth: {{htpasswd: {{realm: models, path: {folder / 'htpasswd'}}}}}\n"
    )
    (folder / "model.onnx").write_bytes(LINEAR.data)
    (folder / "files").mkdir()
    for path, data in FILES.items():
        if path.startswith("churn/3/"):
            (folder / "files" / path.rpartition("/")[2]).write_bytes(data)
    oras, name = str(find_go_tool("oras")), f"127.0.0.1:{port}/models/churn"
    with running([str(find_go_tool("registry")), "serve", str(folder / "config.yml")], port, log=folder / "log"):
        for tag, file in (("3", "model.onnx"), ("folder", "files")):
            login = ["--plain-http", "--username", "user", "--password-stdin"]
            subprocess.run(
                [oras, "push", *login, f"{name}:{tag}", file],
                cwd=folder,
                input=b"secret",
                check=True,
                capture_output=True,
            )
        yield name


LOGIN = {"REGISTRY_USERNAME": "user", "REGISTRY_PASSWORD": "secret"}


def test_a_file_is_fetched_from_a_registry(registry: str, tmp_path: Path) -> None:
    artifact = fetch(f"oci://{registry}:3", tmp_path, LOGIN)
    assert artifact.sha256 == LINEAR.sha256


def test_a_docker_configuration_is_understood(registry: str, tmp_path: Path) -> None:
    host = registry.partition("/")[0]
    config = {"auths": {host: {"username": "user", "password": "secret"}}}
    assert fetch(f"oci://{registry}:3", tmp_path, {".dockerconfigjson": json.dumps(config)}).sha256 == LINEAR.sha256


def test_a_folder_is_fetched_from_a_registry(registry: str, tmp_path: Path) -> None:
    artifact = fetch(f"oci://{registry}:folder", tmp_path, LOGIN)
    assert sorted(p.name for p in artifact.model_path.parent.iterdir()) == ["model.onnx", "notes.txt"]


@pytest.mark.parametrize("login", [{}, {**LOGIN, "REGISTRY_PASSWORD": "wrong"}])
def test_a_registry_refuses_the_wrong_password(registry: str, tmp_path: Path, login: Mapping[str, str]) -> None:
    with pytest.raises(errors.ModelForbidden):
        fetch(f"oci://{registry}:3", tmp_path, login)


def test_a_tag_that_does_not_exist_is_not_found(registry: str, tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFound):
        fetch(f"oci://{registry}:99", tmp_path, LOGIN)
