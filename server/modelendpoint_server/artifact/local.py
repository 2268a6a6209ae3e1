"""Models in a mounted claim or ConfigMap, and, outside a cluster, in a plain file."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from modelendpoint_server.artifact.source import Access, RemoteFile, Source, forbidden, not_found
from modelendpoint_server.artifact.uri import ModelUri
from modelendpoint_server.errors import ModelNotFound, ModelUnsafe

_PIECE = 4 * 2**20
RETRY_SECONDS = 2.0
"""A look at a mounted folder costs nothing, and the kubelet fills it without telling."""


class LocalSource(Source):
    """A file or a folder of the file system."""

    def __init__(self, uri: ModelUri, access: Access) -> None:
        self._uri = uri
        roots = {"pvc": access.pvc_dir / uri.host, "configmap": access.configmap_dir / uri.host, "file": Path("/")}
        # Within a mount, links may lead anywhere inside it (ConfigMaps are made of links), but not out of it.
        self._root = roots[uri.scheme].resolve()
        self._path = self._root / uri.path

    def files(self) -> list[RemoteFile]:
        """Take the file itself, or all files below the folder."""
        if self._path.is_dir():
            found = [entry for entry in sorted(self._path.rglob("*")) if not entry.is_dir()]
            if not found:
                raise self._nothing_there()
            return [self._file(entry, str(entry.relative_to(self._path))) for entry in found]
        if not self._path.exists():
            raise self._nothing_there()
        return [self._file(self._path, self._path.name)]

    def _file(self, path: Path, name: str) -> RemoteFile:
        resolved = path.resolve()
        if not resolved.is_relative_to(self._root):
            raise ModelUnsafe(f"{name} of {self._uri.shown} is a link out of its volume. Copy the file itself there.")
        try:
            status = resolved.stat()
        except FileNotFoundError as error:
            raise self._nothing_there() from error
        if not stat.S_ISREG(status.st_mode):
            raise ModelUnsafe(f"{name} of {self._uri.shown} is no regular file. Copy the file itself there.")
        version = f"{status.st_ino}-{status.st_mtime_ns}"
        return RemoteFile(name, status.st_size, str(resolved), version)

    def _nothing_there(self) -> ModelNotFound:
        error = not_found(self._uri.shown)
        error.retry_after_seconds = RETRY_SECONDS
        return error

    def read(self, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """Read the file in pieces."""
        try:
            # Not to be held up by a pipe that took the file's place after the look at it.
            with os.fdopen(os.open(file.location, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as stream:
                stream.seek(offset)
                while piece := stream.read(_PIECE):
                    yield piece
        except FileNotFoundError as error:
            raise self._nothing_there() from error
        except OSError as error:
            raise forbidden(self._uri.shown, error.strerror or type(error).__name__) from error
