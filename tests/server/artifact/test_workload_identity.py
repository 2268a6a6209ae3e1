"""A store that is reached by the pod's identity: what each cloud injects into a pod is what the client takes up."""

import dataclasses
import functools
import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_server.artifact import object_store
from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.download import Artifact
from modelendpoint_server.artifact.fetch import fetch_model, open_source
from modelendpoint_server.artifact.object_store import ObjectStoreSource
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.artifact.uri import parse_uri
from modelendpoint_server.artifact.web import WebSource
from support.onnx_models import linear_model

LINEAR = linear_model([1.0, 2.0])
STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><SessionToken>t</SessionToken><SecretAccessKey>s</SecretAccessKey>
<Expiration>2090-01-01T00:00:00Z</Expiration><AccessKeyId>ROLE</AccessKeyId></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
POD = {"AccessKeyId": "POD", "SecretAccessKey": "s", "Token": "t", "Expiration": "2090-01-01T00:00:00Z"}


@dataclasses.dataclass
class Cloud:
    """A store and the service that gives tokens, and what they were asked."""

    url: str
    asked: list[tuple[str, str, str]]
    """Path, Authorization and body of each request."""

    def authorization(self) -> str:
        """What the store itself was sent."""
        return self.asked[-1][1]


def answer_of(path: str, body: str) -> bytes:
    if "AssumeRoleWithWebIdentity" in path + body:
        return STS.encode()
    if path.startswith("/pod-identity"):
        return json.dumps(POD).encode()
    if path.endswith("/oauth2/v2.0/token"):
        return json.dumps({"access_token": "AZURE", "expires_in": 3600, "token_type": "Bearer"}).encode()
    if path.startswith("/computeMetadata"):
        return json.dumps({"access_token": "GOOGLE", "expires_in": 3600, "token_type": "Bearer"}).encode()
    return LINEAR.data


@pytest.fixture
def cloud(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    asked: list[tuple[str, str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            asked.append((self.path, self.headers.get("Authorization", ""), body))
            data = answer_of(self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_POST = do_HEAD = handle_any

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = getattr(request, "param", "http")
    if scheme == "https":
        server.socket = _trusted_by_nobody(tmp_path).wrap_socket(server.socket, server_side=True)
        monkeypatch.setattr(object_store, "_client", functools.partial(_trusting, object_store._client))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Cloud(f"{scheme}://127.0.0.1:{server.server_port}", asked)
    server.shutdown()
    thread.join()
    server.server_close()


def _trusted_by_nobody(folder: Path) -> ssl.SSLContext:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out cert -subj /CN=a"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context


def _trusting(client: Any, access: Access, **options: Any) -> Any:
    return {**client(access, **options), "allow_invalid_certificates": True}


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text("the pod's token")
    return str(path)


def fetch(uri: str, folder: Path, credentials: Mapping[str, str]) -> Artifact:
    access = Access(
        credentials=credentials,
        pvc_dir=folder,
        configmap_dir=folder,
        stall_seconds=2,
        timeout_seconds=10,
        service_account="models",
        refused_networks=(),
    )
    bounds = Bounds(max_bytes=10**6, max_files=9, max_unpack_ratio=9, timeout_seconds=10, min_bytes_per_second=0)
    return fetch_model(uri, access=access, bounds=bounds, model_dir=folder / "models", sha256="")


def inject(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Set what a cloud's webhook would."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("cloud", ["https"], indirect=True)
def test_aws_roles_for_service_accounts(
    cloud: Cloud, tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(
        monkeypatch,
        AWS_ROLE_ARN="arn:aws:iam::1:role/models",
        AWS_WEB_IDENTITY_TOKEN_FILE=token,
        AWS_REGION="eu-west-3",
        AWS_ENDPOINT_URL_STS=cloud.url,
    )
    assert fetch("s3://models/m.onnx", tmp_path, {"AWS_ENDPOINT_URL": cloud.url}).sha256 == LINEAR.sha256
    assert "WebIdentityToken=the+pod%27s+token" in cloud.asked[0][0]
    # In the region that was injected, and not in one of ours.
    assert "Credential=ROLE/" in cloud.authorization() and "/eu-west-3/s3/" in cloud.authorization()


def test_eks_pod_identity(cloud: Cloud, tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inject(
        monkeypatch,
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{cloud.url}/pod-identity",
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=token,
        AWS_REGION="eu-west-3",
    )
    assert fetch("s3://models/m.onnx", tmp_path, {"AWS_ENDPOINT_URL": cloud.url}).sha256 == LINEAR.sha256
    assert cloud.asked[0][:2] == ("/pod-identity", "the pod's token")
    assert "Credential=POD/" in cloud.authorization()


def test_azure_workload_identity(cloud: Cloud, tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inject(
        monkeypatch,
        AZURE_CLIENT_ID="client",
        AZURE_TENANT_ID="tenant",
        AZURE_FEDERATED_TOKEN_FILE=token,
        AZURE_AUTHORITY_HOST=f"{cloud.url}/",
    )
    uri = "https://account.blob.core.windows.net/models/churn/m%20x.onnx"
    assert fetch(uri, tmp_path, {"AZURE_ENDPOINT": f"{cloud.url}/account"}).sha256 == LINEAR.sha256
    assert cloud.asked[0][0] == "/tenant/oauth2/v2.0/token" and "client_id=client" in cloud.asked[0][2]
    assert cloud.asked[-1][:2] == ("/account/models/churn/m%20x.onnx", "Bearer AZURE")


def test_google_metadata_server(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inject(monkeypatch, GCE_METADATA_HOST=cloud.url.removeprefix("http://"), HOME=str(tmp_path))
    credentials = {"GOOGLE_BASE_URL": cloud.url, "GOOGLE_ALLOW_HTTP": "true"}
    assert fetch("gs://models/m.onnx", tmp_path, credentials).sha256 == LINEAR.sha256
    assert cloud.asked[0][0].startswith("/computeMetadata/v1/instance/service-accounts/default/token")
    assert cloud.authorization() == "Bearer GOOGLE"


@pytest.mark.parametrize(
    ("uri", "credentials", "service_account", "kind"),
    [
        ("https://account.blob.core.windows.net/c/m.onnx", {}, "", WebSource),
        ("https://account.blob.core.windows.net/c/m.onnx", {}, "models", ObjectStoreSource),
        (
            "https://account.blob.core.windows.net/c/m.onnx",
            {"AZURE_STORAGE_ACCOUNT_KEY": "YQ=="},
            "",
            ObjectStoreSource,
        ),
        ("https://account.blob.core.windows.net/c/m.onnx?sig=a", {}, "models", WebSource),
        ("https://account.blob.core.windows.net.example/c/m.onnx", {}, "models", WebSource),
        ("https://models.example/m.onnx", {"AZURE_STORAGE_ACCOUNT_KEY": "YQ=="}, "models", WebSource),
    ],
)
def test_azures_urls_are_asked_for_with_an_identity_if_there_is_one(
    uri: str, credentials: Mapping[str, str], service_account: str, kind: type, tmp_path: Path
) -> None:
    access = Access(
        credentials=credentials,
        pvc_dir=tmp_path,
        configmap_dir=tmp_path,
        stall_seconds=1,
        timeout_seconds=1,
        service_account=service_account,
    )
    assert type(open_source(parse_uri(uri), access)) is kind
