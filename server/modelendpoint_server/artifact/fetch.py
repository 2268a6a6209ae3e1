"""One function from a URI to a verified model on disk."""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from modelendpoint_server.artifact.bounds import Bounds
from modelendpoint_server.artifact.download import Artifact, Download
from modelendpoint_server.artifact.hub import HubSource
from modelendpoint_server.artifact.local import LocalSource
from modelendpoint_server.artifact.object_store import ObjectStoreSource, is_azure
from modelendpoint_server.artifact.registry import RegistrySource
from modelendpoint_server.artifact.source import Access, RemoteFile, Source
from modelendpoint_server.artifact.uri import ModelUri, parse_uri
from modelendpoint_server.artifact.web import WebSource
from modelendpoint_server.errors import DigestMismatch, ModelError, ModelInvalid, ModelTooLarge, ModelUnsafe

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
    return ObjectStoreSource(uri, access) if is_azure(uri, access) else _SOURCES[uri.scheme](uri, access)


def fetch_bytes(text: str, *, access: Access, most: int) -> bytes:
    """Get a small file; raise a ``ModelError`` as for a model."""
    uri = parse_uri(text)
    data = bytearray()
    with contextlib.closing(open_source(uri, access)) as source:
        for piece in source.read(source.files()[0], offset=0):
            data += piece
            if len(data) > most:
                raise ModelTooLarge(f"{uri.shown} is larger than {most} bytes.")
    return bytes(data)


def fetch_model(text: str, *, access: Access, bounds: Bounds, model_dir: Path, sha256: str) -> Artifact:
    """Get the model at a URI; raise a ``ModelError`` that tells people what is wrong."""
    return ModelFetcher(text, bounds=bounds, model_dir=model_dir, sha256=sha256).fetch(access)


class ModelFetcher:
    """Gets the model at one URI as often as it is asked to, but its bytes only when the store has others."""

    def __init__(self, text: str, *, bounds: Bounds, model_dir: Path, sha256: str) -> None:
        self._text = text
        self._bounds = bounds
        self._model_dir = model_dir
        self._sha256 = sha256
        self._seen: Listing | None = None
        self._outcome: Artifact | ModelError | None = None

    def fetch(self, access: Access) -> Artifact:
        """Get the model; raise a ``ModelError``, the same one again for the same bytes."""
        uri = parse_uri(self._text)
        with contextlib.closing(open_source(uri, access)) as source:
            files = source.files()
            seen = listing_of(files)
            if self._outcome is None or seen is None or seen != self._seen:
                self._forget()
                download = Download(source, shown=uri.shown, bounds=self._bounds)
                self._outcome = self._try(download, files)
                self._seen = seen
        if isinstance(self._outcome, ModelError):
            raise self._outcome.with_traceback(None)
        return self._outcome

    def has_changed(self, access: Access) -> bool:
        """Tell, without getting it, whether the store has something else by now. No, if it does not tell."""
        if self._seen is None:
            return False
        with contextlib.closing(open_source(parse_uri(self._text), access)) as source:
            return listing_of(source.files()) != self._seen

    def _try(self, download: Download, files: Sequence[RemoteFile]) -> Artifact | ModelError:
        """Download; return, too, what nothing but the bytes is to blame for."""
        try:
            return download.into(self._model_dir, files, sha256=self._sha256)
        except (DigestMismatch, ModelInvalid, ModelUnsafe) as error:
            return error

    def _forget(self) -> None:
        """Make room: what was downloaded before is of no use any more."""
        if isinstance(self._outcome, Artifact):
            shutil.rmtree(self._model_dir / "sha256" / self._outcome.sha256, ignore_errors=True)
        self._outcome = self._seen = None


Listing = tuple[tuple[str, int | None, str], ...]


def listing_of(files: Sequence[RemoteFile]) -> Listing | None:
    """Say what the store has, as far as that tells whether it is the same; ``None`` when it does not."""
    listing = tuple((file.path, file.size, file.sha256 or file.version or "") for file in files)
    return listing if all(version for _, _, version in listing) else None
