"""Stores of each kind on this machine, empty: S3 (versitygw), GCS (fake-gcs-server) and Azure (Azurite)."""

import base64
import contextlib
import functools
import hashlib
import hmac
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import obstore
from obstore.store import AzureStore, GCSStore, S3Store

from support.emulators import find_go_tool, find_npm_tool, free_port, running

CONTAINER = "models"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own account, as its documentation names it."""


@dataclass(frozen=True)
class LocalStore:
    """A store with one container, and how it is reached."""

    scheme: str
    credentials: Mapping[str, str]
    """What the Secret of its users holds."""
    client: S3Store | GCSStore | AzureStore
    upload: Callable[[str, bytes], object]
    serve: Callable[[], AbstractContextManager[None]]
    """Run the store as long as the block; what was stored before is there again."""

    def uri(self, path: str) -> str:
        """Name a file or a folder."""
        return f"{self.scheme}://{CONTAINER}/{path}"

    def put(self, path: str, data: bytes) -> None:
        """Store a file."""
        self.upload(path, data)

    def read(self, path: str) -> bytes:
        """Read a file."""
        return bytes(obstore.get(self.client, path).bytes())

    def list(self, prefix: str) -> list[str]:
        """List the files below a folder."""
        return sorted(meta["path"] for page in obstore.list(self.client, prefix) for meta in page)


def s3(folder: Path) -> LocalStore:
    """An S3 server over a folder."""
    port = free_port()
    (folder / "data" / CONTAINER).mkdir(parents=True)
    command = [find_go_tool("versitygw"), "--port", f"127.0.0.1:{port}", "--access", "key", "--secret", "secret"]
    credentials = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    client = S3Store(
        CONTAINER,
        endpoint=credentials["AWS_ENDPOINT_URL"],
        access_key_id="key",
        secret_access_key="secret",
        region="us-east-1",
        client_options={"allow_http": True},
    )
    words = [*map(str, command), "posix", str(folder / "data")]
    return LocalStore(
        "s3",
        credentials,
        client,
        functools.partial(obstore.put, client),
        lambda: running(words, port, log=folder / "log"),
    )


def gs(folder: Path) -> LocalStore:
    """A GCS server that keeps its files in a folder; it takes every credential."""
    port = free_port()
    (folder / "data").mkdir(parents=True)
    url = f"http://127.0.0.1:{port}"
    command = [str(find_go_tool("fake-gcs-server")), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "filesystem", "-filesystem-root", str(folder / "data"), "-external-url", url]
    command += ["-public-host", f"127.0.0.1:{port}"]
    key = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    credentials = {"GOOGLE_APPLICATION_CREDENTIALS_JSON": json.dumps(key), "GOOGLE_ALLOW_HTTP": "true"}
    client = GCSStore(CONTAINER, service_account_key=json.dumps(key), client_options={"allow_http": True})

    @contextlib.contextmanager
    def serve() -> Iterator[None]:
        with running(command, port, log=folder / "log"):
            body, kind = json.dumps({"name": CONTAINER}).encode(), {"Content-Type": "application/json"}
            with contextlib.suppress(urllib.error.HTTPError):  # it is there already
                urllib.request.urlopen(urllib.request.Request(f"{url}/storage/v1/b", body, kind), timeout=10).close()
            yield

    def upload(path: str, data: bytes) -> None:
        # The emulator does not know the requests with which obstore writes.
        target = f"{url}/upload/storage/v1/b/{CONTAINER}/o?uploadType=media&name={urllib.parse.quote(path, safe='')}"
        urllib.request.urlopen(urllib.request.Request(target, data, method="POST"), timeout=10).close()

    return LocalStore("gs", credentials, client, upload, serve)


def az(folder: Path) -> LocalStore:
    """Azurite over a folder."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    command = [str(find_npm_tool("azurite-blob")), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--location", str(folder), "--skipApiVersionCheck", "--silent"]
    credentials = {
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY,
        "AZURE_ENDPOINT": endpoint,
    }
    client = AzureStore(
        CONTAINER,
        config={"account_name": ACCOUNT, "account_key": ACCOUNT_KEY, "endpoint": endpoint},
        client_options={"allow_http": True},
    )

    @contextlib.contextmanager
    def serve() -> Iterator[None]:
        with running(command, port, log=folder / "log"):
            with contextlib.suppress(urllib.error.HTTPError):  # it is there already
                _create_container(endpoint)
            yield

    return LocalStore("az", credentials, client, functools.partial(obstore.put, client), serve)


def _create_container(endpoint: str) -> None:
    """Send the one request that obstore has no function for, signed by hand (Azure's Shared Key)."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    text = f"PUT\n{chr(10) * 11}{lines}/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    digest = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    request = urllib.request.Request(f"{endpoint}/{CONTAINER}?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(request, timeout=10).close()


KINDS = {"s3": s3, "gs": gs, "az": az}
