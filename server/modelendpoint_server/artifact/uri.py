"""Model URIs, taken apart and shown without secrets."""

import dataclasses
from urllib.parse import urlsplit

from modelendpoint_server.errors import InvalidUri

SCHEMES = ("s3", "gs", "az", "https", "http", "hf", "oci", "pvc", "configmap", "file")


@dataclasses.dataclass(frozen=True)
class ModelUri:
    """A parsed URI."""

    scheme: str
    host: str
    """Bucket, container, claim, ConfigMap, host with port, or hub organisation."""
    path: str
    """Without a leading slash; percent signs as they were."""
    query: str
    text: str
    """The whole URI; it may hold a signature, so only ``shown`` goes to logs and people."""

    @property
    def shown(self) -> str:
        """The URI without user, password, query and fragment."""
        return f"{self.scheme}://{self.host}/{self.path}"

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]


def parse_uri(text: str) -> ModelUri:
    """Parse a model's URI; raise ``InvalidUri`` with what to write instead."""
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        _ = parts.port
    except ValueError as error:
        raise InvalidUri(f"The model's URI can't be read: {error}. Correct model.uri.") from error
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise InvalidUri(f"The model's URI starts with {scheme or 'nothing'}://; use one of {', '.join(SCHEMES)}.")
    if "://" not in text or not text.isprintable():
        raise InvalidUri("The model's URI is none, or has characters that can't be seen. Correct model.uri.")
    # Only the web has queries; in a key or a file name "?" and "#" are characters like any other.
    web = scheme in ("http", "https")
    if web and "@" in parts.netloc:
        raise InvalidUri("The model's URI has a user in it. Put AUTHORIZATION into the Secret instead.")
    path = parts.path if web else text.split("://", 1)[1].partition("/")[2]
    if scheme == "hf":
        host = text.split("://", 1)[1].partition("/")[0]
    if scheme != "file" and not host:
        raise InvalidUri(f"The model's URI has nothing behind {scheme}://. Correct model.uri.")
    if not path.strip("/"):
        raise InvalidUri(f"{scheme}://{host} has no path. Write {scheme}://{host}/<path of the model>.")
    if any(part in ("..", ".") for part in path.split("/")):
        raise InvalidUri("The model's URI has a . or .. in its path. Write the path out.")
    return ModelUri(scheme, host, path.lstrip("/"), parts.query if web else "", text)
