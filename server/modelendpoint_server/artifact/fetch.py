"""One function from a URI to a verified model on disk."""

from collections.abc import Callable
from pathlib import Path

from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.download import Artifact, Download
from modelendpoint_server.artifact.hub import HubSource
from modelendpoint_server.artifact.local import LocalSource
from modelendpoint_server.artifact.object_store import ObjectStoreSource
from modelendpoint_server.artifact.registry import RegistrySource
from modelendpoint_server.artifact.source import Access, Source
from modelendpoint_server.artifact.uri import ModelUri, parse_uri
from modelendpoint_server.artifact.web import WebSource
from modelendpoint_server.errors import ModelTooLarge

_SOURCES: dict[str, Callable[[ModelUri, Access], Source]] = {
    "s3": ObjectStoreSource,
    "gs": ObjectStoreSource,
    "az": ObjectStoreSource,
    "http": WebSource,
    "https": WebSource,
    "hf": HubSource,
    "oci": RegistrySource,
    "pvc": LocalSource,
    "configmap": LocalSource,
    "file": LocalSource,
}


def open_source(uri: ModelUri, access: Access) -> Source:
    """Open the store that a URI names."""
    return _SOURCES[uri.scheme](uri, access)


def fetch_bytes(text: str, *, access: Access, most: int) -> bytes:
    """Get a small file; raise a ``ModelError`` as for a model."""
    uri = parse_uri(text)
    source = open_source(uri, access)
    files = source.files()
    data = bytearray()
    for piece in source.read(files[0], offset=0):
        data += piece
        if len(data) > most:
            raise ModelTooLarge(f"{uri.shown} is larger than {most} bytes.")
    return bytes(data)


def fetch_model(text: str, *, access: Access, bounds: Bounds, model_dir: Path, sha256: str) -> Artifact:
    """Get the model at a URI; raise a ``ModelError`` that tells people what is wrong."""
    uri = parse_uri(text)
    source = open_source(uri, access)
    return Download(source, shown=uri.shown, bounds=bounds).into(model_dir, sha256=sha256)
