"""Models from real stores: each scheme, with right and wrong credentials, present and missing, file and folder."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import AzureStore, S3Store

from modelendpoint_server import errors
from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.download import Artifact
from modelendpoint_server.artifact.fetch import fetch_model
from modelendpoint_server.artifact.source import Access
from support.emulators import find_go_tool, find_npm_tool, free_port, running
from support.onnx_models import linear_model

pytestmark = pytest.mark.emulator
LINEAR = linear_model([1.0, 2.0])
FILES = {"churn/3/model.onnx": LINEAR.data, "churn/3/notes.txt": b"about the model", "churn/30/model.onnx": b"other"}
RETRIES = {"max_retries": 1, "retry_timeout": timedelta(seconds=2)}


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


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """versitygw: an S3 server over a folder."""
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    (folder / "data").mkdir()
    command = [find_go_tool("versitygw"), "--port", f"127.0.0.1:{port}", "--access", "key", "--secret", "secret"]
    with running([*map(str, command), "posix", str(folder / "data")], port, log=folder / "log"):
        right = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }
        (folder / "data" / "models").mkdir()
        store = S3Store(
            "models",
            endpoint=right["AWS_ENDPOINT_URL"],
            access_key_id="key",
            secret_access_key="secret",
            region="us-east-1",
            client_options={"allow_http": True},
        )
        for path, data in FILES.items():
            obstore.put(store, path, data)
        yield Place("s3", "models", right, {**right, "AWS_SECRET_ACCESS_KEY": "wrong"})


@pytest.fixture(scope="module")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """fake-gcs-server; it takes every credential, so the wrong ones are ones that can't be read."""
    folder, port = tmp_path_factory.mktemp("gs"), free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(find_go_tool("fake-gcs-server")), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-external-url", url, "-public-host", f"127.0.0.1:{port}"]
    key = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    with running(command, port, log=folder / "log"):
        request = urllib.request.Request(
            f"{url}/storage/v1/b", json.dumps({"name": "models"}).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()
        for path, data in FILES.items():
            upload = f"{url}/upload/storage/v1/b/models/o?uploadType=media&name={urllib.parse.quote(path, safe='')}"
            urllib.request.urlopen(urllib.request.Request(upload, data, method="POST"), timeout=10).close()
        right = {"GOOGLE_APPLICATION_CREDENTIALS_JSON": json.dumps(key), "GOOGLE_ALLOW_HTTP": "true"}
        yield Place("gs", "models", right, {**right, "GOOGLE_APPLICATION_CREDENTIALS_JSON": "{"})


@pytest.fixture(scope="module")
def az(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Azurite, with the account that its documentation names."""
    folder, port = tmp_path_factory.mktemp("az"), free_port()
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    command = [str(find_npm_tool("azurite-blob")), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--location", str(folder), "--skipApiVersionCheck", "--silent"]
    with running(command, port, log=folder / "log"):
        right = {
            "AZURE_STORAGE_ACCOUNT_NAME": account,
            "AZURE_STORAGE_ACCOUNT_KEY": key,
            "AZURE_ENDPOINT": f"http://127.0.0.1:{port}/{account}",
        }
        store = AzureStore(
            "models",
            config={"account_name": account, "account_key": key, "endpoint": right["AZURE_ENDPOINT"]},
            client_options={"allow_http": True},
        )
        _create_container(right["AZURE_ENDPOINT"], account, key)
        for path, data in FILES.items():
            obstore.put(store, path, data)
        yield Place("az", "models", right, {**right, "AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="})


def _create_container(endpoint: str, account: str, key: str) -> None:
    """Send the one request that obstore has no function for, signed by hand (Azure's Shared Key)."""
    import base64
    import hashlib
    import hmac
    from email.utils import formatdate

    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    text = f"PUT\n{chr(10) * 11}{lines}/{account}/{account}/models\nrestype:container"
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    request = urllib.request.Request(f"{endpoint}/models?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(request, timeout=10).close()


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
