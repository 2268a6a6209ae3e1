"""The S3 store of ``hack/store/`` in a namespace of a test cluster: start it, put files into it.

Signs its requests itself (AWS Signature Version 4, body unsigned), so that no client library stands between a test
and the bytes that it wants stored.
"""

import hashlib
import hmac
import http.client
import secrets
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from support.load_run import Kubectl

MANIFEST = Path(__file__).parents[2] / "hack" / "store" / "store.yaml"
SECRET = "models"  # noqa: S105  (the Secret's name)
BUCKET = "models"
PORT = 7070
REGION = "us-east-1"

PortForward = Callable[[str, str, int], AbstractContextManager[int]]
"""Forward a local port to ``(namespace, service or pod, port)``; the block gets the local port."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """A store that is reached through a port of this machine."""

    port: int
    access_key: str
    secret_key: str

    def create_bucket(self, bucket: str = BUCKET) -> None:
        """Create a bucket, if it is not there."""
        self._send("PUT", f"/{bucket}", accepted=(200, 409))

    def put(self, key: str, data: bytes, *, bucket: str = BUCKET) -> str:
        """Store a file, and return its URI for ``spec.model.uri``."""
        self._send("PUT", f"/{bucket}/{key}", data)
        return f"s3://{bucket}/{key}"

    def get(self, key: str, *, bucket: str = BUCKET) -> bytes:
        """Read a file."""
        return self._send("GET", f"/{bucket}/{key}")

    def delete(self, key: str, *, bucket: str = BUCKET) -> None:
        """Remove a file."""
        self._send("DELETE", f"/{bucket}/{key}", accepted=(204,))

    def _send(self, method: str, path: str, body: bytes = b"", *, accepted: tuple[int, ...] = (200,)) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, urllib.parse.quote(path), body, self._signed_headers(method, path))
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status not in accepted:
            raise OSError(f"The store answered {response.status} to {method} {path}: {data[:500]!r}")
        return data

    def _signed_headers(self, method: str, path: str) -> dict[str, str]:
        return sign(
            method,
            path,
            {"host": f"127.0.0.1:{self.port}"},
            keys=(self.access_key, self.secret_key),
            now=datetime.now(UTC),
        )


def sign(method: str, path: str, headers: dict[str, str], *, keys: tuple[str, str], now: datetime) -> dict[str, str]:
    """Add what AWS Signature Version 4 asks for to the headers of an S3 request without a query."""
    access_key, secret_key = keys
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD", **headers, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    lines = [method, urllib.parse.quote(path), "", *(f"{name}:{headers[name]}" for name in sorted(headers)), ""]
    canonical = "\n".join([*lines, names, headers["x-amz-content-sha256"]])
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    credential = f"{access_key}/{scope}"
    return {
        **headers,
        "authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}",
    }


@contextmanager
def store_in(namespace: str, kubectl: Kubectl, forward: PortForward) -> Iterator[Store]:
    """Start the store and its Secret ``models`` in a namespace; the block may put files into its bucket ``models``.

    The store stays when the block ends, so that endpoints still find their models; it goes with the namespace.
    """
    store = Store(port=0, access_key="models", secret_key=secrets.token_hex(16))
    entries = {
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key,
        "AWS_ENDPOINT_URL": f"http://store.{namespace}.svc:{PORT}",
        "AWS_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
    }
    literals = [f"--from-literal={key}={value}" for key, value in entries.items()]
    kubectl("--namespace", namespace, "create", "secret", "generic", SECRET, *literals)
    kubectl("--namespace", namespace, "apply", "--filename", str(MANIFEST))
    kubectl("--namespace", namespace, "rollout", "status", "deployment/store", "--timeout=60s")
    with forward(namespace, "service/store", PORT) as port:
        store = Store(port=port, access_key=store.access_key, secret_key=store.secret_key)
        store.create_bucket()
        yield store
