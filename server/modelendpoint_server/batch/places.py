"""Files of the input and the output in any store: list, read in ranges, write at once, create once.

The only module here that knows obstore. Trouble that passes is waited for, bounded; what stays is our own error.
"""

import contextlib
import dataclasses
import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore

from modelendpoint_server.artifact import web
from modelendpoint_server.artifact.object_store import detail_of, is_refusal, open_bucket
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.artifact.uri import ModelUri, parse_uri
from modelendpoint_server.batch.errors import (
    InputChanged,
    InputForbidden,
    InputNotFound,
    InvalidBatch,
    OutputForbidden,
    Stopped,
    StorageFull,
)
from modelendpoint_server.errors import InvalidUri, ModelForbidden, ModelNotFound, StoreUnavailable

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import AzureStore, GCSStore, S3Store

_T = TypeVar("_T")
_LOCAL = ("pvc", "configmap", "file")
_BUCKETS = ("s3", "gs", "az")
_WILD = re.compile(r"[*?]")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|status.{0,20}\b404\b")
_FULL = re.compile(r"No space left|StorageFull|QuotaExceeded|os error 28", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """One file as a store lists it."""

    path: str
    size: int | None
    """Bytes; ``None`` when the store does not tell, and the file can only be read from its beginning on."""
    version: str | None


class Patience:
    """Tries again what may heal, ever more slowly, until the time is over or the pod shall end."""

    def __init__(self, stop: threading.Event, *, seconds: float = 150.0) -> None:
        self._stop = stop
        self._seconds = seconds

    def insist(self, work: Callable[[], _T]) -> _T:
        """Do the work; raise its ``StoreUnavailable`` when waiting did not help."""
        waited, pause = 0.0, 0.5
        while True:
            try:
                return work()
            except StoreUnavailable:
                if waited >= self._seconds:
                    raise
                if self._stop.wait(pause):
                    raise Stopped("The pod was told to end while it waited for a store.") from None
                waited, pause = waited + pause, min(2 * pause, 15.0)


class Source(Protocol):
    """Where the input is."""

    shown: str

    def files(self) -> list[StoredFile]:
        """List the input's files in the order of their paths."""

    def read(self, file: StoredFile, start: int, end: int) -> bytes:
        """Read the bytes of a range."""

    def stream(self, file: StoredFile) -> Iterator[bytes]:
        """Read a file of unknown size from its beginning."""


def open_source(uri: str, access: Access, patience: Patience) -> Source:
    """Open the place of the input."""
    parsed = _parse(uri, "input.uri", (*_BUCKETS, *_LOCAL, "https", "http"))
    if parsed.scheme in ("https", "http"):
        return WebSource(parsed, access, patience)
    if parsed.scheme == "configmap":
        return ConfigMapSource(parsed, access, patience)
    return StoreSource(parsed, access, patience)


class _Bucket:
    """A client, and the translation of its errors."""

    def __init__(self, uri: ModelUri, access: Access, patience: Patience, *, field: str) -> None:
        self.shown = uri.shown
        self._patience = patience
        self._forbidden = InputForbidden if field == "input" else OutputForbidden
        self._field = field
        self._has_credentials = bool(access.credentials)
        self.root = _local_root(uri, access)
        self.client = self._call(lambda: self._open(uri, access))

    def _open(self, uri: ModelUri, access: Access) -> "S3Store | GCSStore | AzureStore | LocalStore":
        if self.root is None:
            return open_bucket(uri, access)
        if self._field != "input":
            self.root.mkdir(parents=True, exist_ok=True)
        return LocalStore(self.root)

    def call(self, work: Callable[[], _T]) -> _T:
        """Do something with the store, patiently; its errors become ours, ``FileNotFoundError`` stays."""
        return self._patience.insist(lambda: self._call(work))

    def _call(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except (FileNotFoundError, AlreadyExistsError, PreconditionError):
            raise
        except ModelForbidden as error:
            raise self._forbidden(str(error).replace("model.", f"{self._field}.")) from error
        except (BaseError, OSError, ValueError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        if _FULL.search(str(error)):
            return StorageFull(f"The store of {self.shown} has no more room. Make room in it.")
        if _NO_BUCKET.search(str(error)):
            return self.no_bucket()
        # The client's way to say that it looked for credentials everywhere is an error without words.
        has_none = not self._has_credentials and self.root is None and detail_of(error) == type(error).__name__
        if has_none or is_refusal(error) or isinstance(error, PermissionError | ValueError):
            return self._forbidden(
                f"The store refuses access to {self.shown} ({detail_of(error)}). Check {self._field}.credentialsSecretRef"
                " and the rights it gives."
            )
        return StoreUnavailable(
            f"The store of {self.shown} can't be reached or is in trouble ({detail_of(error)}). It is tried again."
        )

    def no_bucket(self) -> InvalidBatch:
        """Say that the bucket does not exist."""
        return InvalidBatch(f"The bucket of {self.shown} does not exist. Correct {self._field}.uri.")

    def list(self, prefix: str) -> list[StoredFile]:
        """List all files below a folder."""
        pages = self.call(lambda: [page for page in obstore.list(self.client, prefix or None)])
        files = [StoredFile(meta["path"], meta["size"], meta["e_tag"]) for page in pages for meta in page]
        return sorted((f for f in files if not f.path.endswith("/")), key=lambda file: file.path)

    def head(self, path: str) -> StoredFile | None:
        """Look at one file; ``None`` when it is not there."""
        try:
            meta = self.call(lambda: obstore.head(self.client, path))
        except FileNotFoundError:
            return None
        return StoredFile(path, meta["size"], meta["e_tag"])

    def stays_inside(self, path: str) -> bool:
        """Tell whether a file of a volume is no link out of it."""
        return self.root is None or (self.root / path).resolve().is_relative_to(self.root.resolve())


class StoreSource:
    """Input in a bucket, a claim, a ConfigMap or, outside a cluster, a folder."""

    def __init__(self, uri: ModelUri, access: Access, patience: Patience) -> None:
        self.shown = uri.shown
        self._path = uri.path
        self._bucket = _Bucket(uri, access, patience, field="input")

    def files(self) -> list[StoredFile]:
        """List the file itself, those below the folder, or those that the pattern meets."""
        found = self._matching() if _WILD.search(self._path) else self._file_or_folder()
        found = [file for file in found if file.size]
        if not found:
            raise InputNotFound(
                f"Nothing is at {self.shown}, or only empty files. Upload the input or correct input.uri."
            )
        for file in found:
            if not self._bucket.stays_inside(file.path):
                raise InputForbidden(f"{file.path} of {self.shown} is a link out of its volume. Copy the file there.")
        return found

    def _file_or_folder(self) -> list[StoredFile]:
        path = self._path.rstrip("/")
        if not self._path.endswith("/") and (file := self._bucket.head(path)) is not None:
            return [file]
        return [file for file in self._below(path) if not _is_hidden(file.path[len(path) + 1 :])]

    def _matching(self) -> list[StoredFile]:
        prefix = _WILD.split(self._path, maxsplit=1)[0].rpartition("/")[0]
        pattern = glob_pattern(self._path)
        return [file for file in self._below(prefix) if pattern.fullmatch(file.path)]

    def _below(self, prefix: str) -> list[StoredFile]:
        try:
            return self._bucket.list(prefix)
        except FileNotFoundError:
            return []

    def read(self, file: StoredFile, start: int, end: int) -> bytes:
        """Read a range; raise ``InputChanged`` if the file is not the one that was listed."""
        options: GetOptions = {"range": (start, end)}
        if file.version:
            options["if_match"] = file.version
        try:
            data = self._bucket.call(lambda: obstore.get(self._bucket.client, file.path, options=options).bytes())
        except (FileNotFoundError, PreconditionError) as error:
            raise _changed(file, self.shown) from error
        return memoryview(data).tobytes()

    def stream(self, file: StoredFile) -> Iterator[bytes]:
        """Not needed: every store here tells the size of its files."""
        yield self.read(file, 0, file.size or 0)


class ConfigMapSource(StoreSource):
    """Keys of a ConfigMap. Each pod has files of its own of them, so only what is in them tells whether they changed."""

    def files(self) -> list[StoredFile]:
        """List the keys, each with the digest of what is in it; there is no more than a megabyte."""
        return [dataclasses.replace(file, version=_sha256(self._content(file))) for file in super().files()]

    def read(self, file: StoredFile, start: int, end: int) -> bytes:
        """Read a range; raise ``InputChanged`` if there is something else in the key by now."""
        data = self._content(file)
        if _sha256(data) != file.version:
            raise _changed(file, self.shown)
        return data[start:end]

    def _content(self, file: StoredFile) -> bytes:
        try:
            data = self._bucket.call(lambda: obstore.get(self._bucket.client, file.path).bytes())
        except FileNotFoundError as error:
            raise _changed(file, self.shown) from error
        return memoryview(data).tobytes()


class WebSource:
    """The one file at a URL."""

    def __init__(self, uri: ModelUri, access: Access, patience: Patience) -> None:
        self.shown = uri.shown
        self._uri = uri
        self._access = access
        self._patience = patience
        authorization = access.credentials.get("AUTHORIZATION")
        self._headers = {"Authorization": authorization} if authorization else {}

    def files(self) -> list[StoredFile]:
        """Ask for the first byte: the answer tells the size, if the server can send ranges."""
        with self._get({"Range": "bytes=0-0"}) as answer:
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            size = int(total) if answer.status == 206 and total.isdecimal() else None
            return [StoredFile(self._uri.path, size, answer.headers.get("ETag"))]

    def read(self, file: StoredFile, start: int, end: int) -> bytes:
        """Read a range."""

        def attempt() -> bytes:
            with self._get({"Range": f"bytes={start}-{end - 1}"}) as answer:
                if answer.headers.get("ETag") != file.version:
                    raise _changed(file, self.shown)
                data = b"".join(web.read_pieces(answer, shown=self.shown))
            if len(data) != end - start:
                raise StoreUnavailable(f"{self.shown} sent {len(data)} of {end - start} bytes. It is tried again.")
            return data

        return self._patience.insist(attempt)

    def stream(self, file: StoredFile) -> Iterator[bytes]:
        """Read the whole file in one go; a break in it can't be healed here."""
        with self._get({}) as answer:
            yield from web.read_pieces(answer, shown=self.shown)

    def _get(self, headers: dict[str, str]) -> Any:
        def attempt() -> Any:
            try:
                return web.request(
                    self._uri.text, shown=self.shown, headers={**self._headers, **headers}, access=self._access
                )
            except ModelNotFound as error:
                raise InputNotFound(f"Nothing is at {self.shown}. Correct input.uri.") from error
            except ModelForbidden as error:
                raise InputForbidden(
                    f"The server refuses access to {self.shown}. Check input.credentialsSecretRef."
                ) from error

        return self._patience.insist(attempt)


class Target:
    """The folder of the output; all paths are relative to it."""

    def __init__(self, uri: str, access: Access, patience: Patience, *, field: str = "output") -> None:
        parsed = _parse(uri, f"{field}.uri", (*_BUCKETS, "pvc", "file"))
        self.shown = parsed.shown.rstrip("/")
        self._folder = parsed.path.strip("/")
        self._bucket = _Bucket(parsed, access, patience, field=field)

    def _at(self, path: str) -> str:
        return f"{self._folder}/{path}"

    def list(self, prefix: str) -> list[StoredFile]:
        """List the files below a folder of the output."""
        try:
            found = self._bucket.list(self._at(prefix).rstrip("/"))
        except FileNotFoundError:
            return []
        return [dataclasses.replace(file, path=file.path[len(self._folder) + 1 :]) for file in found]

    def head(self, path: str) -> StoredFile | None:
        """Look at one file; ``None`` when it is not there."""
        return self._bucket.head(self._at(path))

    def read(self, path: str) -> bytes | None:
        """Read a small file; ``None`` when it is not there."""
        try:
            data = self._bucket.call(lambda: obstore.get(self._bucket.client, self._at(path)).bytes())
        except FileNotFoundError:
            return None
        return memoryview(data).tobytes()

    def put(self, path: str, file: Path) -> None:
        """Store a file; nobody sees it before it is whole."""
        try:
            self._bucket.call(lambda: obstore.put(self._bucket.client, self._at(path), file))
        except FileNotFoundError as error:
            # Nothing need be there to write a file but the bucket.
            raise self._bucket.no_bucket() from error

    def create(self, path: str, data: bytes) -> bool:
        """Store a small file unless there is one already; tell whether it was stored."""
        try:
            self._bucket.call(lambda: obstore.put(self._bucket.client, self._at(path), data, mode="create"))
        except (AlreadyExistsError, PreconditionError):
            # Ours, if an answer got lost on the way and the request was sent again.
            return self.read(path) == data
        return True

    def move(self, path: str, to: str) -> None:
        """Give a file its final name; raise ``FileNotFoundError`` if it is not there."""
        self._bucket.call(lambda: obstore.rename(self._bucket.client, self._at(path), self._at(to)))

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._bucket.call(lambda: obstore.delete(self._bucket.client, self._at(path)))

    def clear(self, prefix: str) -> None:
        """Remove all below a folder; on a volume also what a killed writer left half written, which is in no list."""
        for file in self.list(prefix):
            self.delete(file.path)
        if self._bucket.root is not None:
            shutil.rmtree(self._bucket.root / self._at(prefix), ignore_errors=True)


def glob_pattern(path: str) -> re.Pattern[str]:
    """Translate a pattern: ``*`` and ``?`` stay within a folder, ``**`` does not."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(parts.get(token) or re.escape(token) for token in re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", path))
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_hidden(path: str) -> bool:
    return any(part.startswith(("_", ".")) for part in path.split("/"))


def _changed(file: StoredFile, shown: str) -> InputChanged:
    return InputChanged(
        f"{file.path} of {shown} was replaced or removed after the run was planned. Start a new run when the input is"
        " complete."
    )


def _local_root(uri: ModelUri, access: Access) -> Path | None:
    return {"pvc": access.pvc_dir / uri.host, "configmap": access.configmap_dir / uri.host, "file": Path("/")}.get(
        uri.scheme
    )


def _parse(uri: str, field: str, schemes: tuple[str, ...]) -> ModelUri:
    try:
        parsed = parse_uri(uri)
    except InvalidUri as error:
        raise InvalidBatch(str(error).replace("model.uri", field).replace("The model's URI", field)) from error
    if parsed.scheme not in schemes:
        raise InvalidBatch(f"{field} starts with {parsed.scheme}://; use one of {', '.join(schemes)}.")
    return parsed
