"""From a source to a verified, content-addressed folder: ``<model dir>/sha256/<digest>/``.

Written beside and renamed, so that a half-written model never has its final name. Bounded in bytes, files and time.
"""

import contextlib
import dataclasses
import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from modelendpoint_server.artifact.archive import is_archive, unpack
from modelendpoint_server.artifact.bounds import Bounds, safe_path
from modelendpoint_server.artifact.external_data import check_external_data
from modelendpoint_server.artifact.source import RangeRefused, RemoteFile, Source
from modelendpoint_server.errors import DigestMismatch, ModelInvalid, ModelTooLarge, StoreUnavailable
from modelendpoint_server.onnx_file import read_onnx

_TRIES_WITHOUT_PROGRESS = 3
_SPEED_WINDOW_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A model on disk."""

    model_path: Path
    sha256: str
    size: int
    opset: int | None


class Download:
    """One try to get one model."""

    def __init__(self, source: Source, *, shown: str, bounds: Bounds) -> None:
        self._source = source
        self._shown = shown
        self._bounds = bounds
        self._deadline = time.monotonic() + bounds.timeout_seconds
        self._bytes = 0

    def into(self, model_dir: Path, files: Sequence[RemoteFile], *, sha256: str) -> Artifact:
        """Fetch the files, verify the digest if one is asked for, and give the folder its final name."""
        incoming = _new_folder(model_dir)
        _remove_abandoned(model_dir, incoming, older_than=self._bounds.timeout_seconds)
        try:
            digests = self._fetch_all(files, incoming)
            digest = digest_of(digests)
            if sha256 and digest != sha256:
                raise DigestMismatch(
                    f"The model at {self._shown} has the sha256 {digest}, but {sha256} is asked for. Upload the right"
                    " model or correct model.sha256."
                )
            model_path = model_file(digests)
            facts = read_onnx(incoming / model_path)
            check_external_data(facts, folder=incoming, model_path=model_path, listed=frozenset(digests))
            size = sum((incoming / path).stat().st_size for path in digests)
            folder = _keep(incoming, model_dir / "sha256" / digest)
            return Artifact(folder / model_path, sha256=digest, size=size, opset=facts.opset)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _fetch_all(self, files: Sequence[RemoteFile], folder: Path) -> dict[str, str]:
        """Fetch the files and unpack archives; return the sha256 of each file of the model by its path."""
        digests: dict[str, str] = {}
        for file in self._checked(files):
            digest = self._fetch(file, folder)
            if file.sha256 and digest != file.sha256:
                raise StoreUnavailable(f"The store sent other bytes for {file.path} than it lists. It is tried again.")
            if not is_archive(file.path):
                digests[file.path] = digest
                continue
            for path in unpack(folder / file.path, folder, bounds=self._bounds):
                digests[path] = _sha256(folder / path)
        return digests

    def _checked(self, files: Sequence[RemoteFile]) -> list[RemoteFile]:
        if len(files) > self._bounds.max_files:
            raise ModelTooLarge(f"{self._shown} has {len(files)} files; at most {self._bounds.max_files} are taken.")
        self._check_size(sum(file.size or 0 for file in files))
        return [dataclasses.replace(file, path=safe_path(file.path)) for file in files]

    def _fetch(self, file: RemoteFile, folder: Path) -> str:
        """Write one file and return its sha256; go on where a broken transfer stopped."""
        self._check_space(folder, file.size or 0)
        digest, written, tries = hashlib.sha256(), 0, 0
        with _new_file(folder / file.path, self._shown) as out:
            while True:
                before = written
                try:
                    for piece in self._in_time(self._source.read(file, offset=written)):
                        _write(out, piece, self._shown)
                        digest.update(piece)
                        written += len(piece)
                        self._bytes += len(piece)
                        self._check_size(self._bytes)
                    self._check_length(file, written)
                    break
                except RangeRefused:
                    out.seek(0)
                    out.truncate()
                    self._bytes -= written
                    digest, written = hashlib.sha256(), 0
                    tries += 1
                except StoreUnavailable:
                    tries = 0 if written > before else tries + 1
                    if tries >= _TRIES_WITHOUT_PROGRESS:
                        raise
            out.flush()
            os.fsync(out.fileno())
        return digest.hexdigest()

    def _in_time(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        since, count = time.monotonic(), 0
        for piece in pieces:
            yield piece
            count += len(piece)
            now = time.monotonic()
            if now > self._deadline:
                raise ModelTooLarge(
                    f"{self._shown} was not there after {self._bounds.timeout_seconds:.0f} s. Use a store that is"
                    " nearer, or allow more time."
                )
            if now - since >= _SPEED_WINDOW_SECONDS:
                if count / (now - since) < self._bounds.min_bytes_per_second:
                    raise StoreUnavailable(f"The store of {self._shown} sends too slowly. It is tried again.")
                since, count = now, 0

    def _check_length(self, file: RemoteFile, written: int) -> None:
        if file.size is not None and written != file.size:
            raise StoreUnavailable(
                f"The store sent {written} of the {file.size} bytes of {file.path} of {self._shown}. It is tried again."
            )

    def _check_size(self, size: int) -> None:
        if size > self._bounds.max_bytes:
            raise ModelTooLarge(f"{self._shown} is larger than {self._bounds.max_bytes} bytes. Use a smaller model.")

    def _check_space(self, folder: Path, size: int) -> None:
        free = shutil.disk_usage(folder).free
        if size > free:
            raise ModelTooLarge(
                f"{self._shown} needs {size} bytes, but the model folder has room for {free}. Give the pod more"
                " ephemeral storage."
            )


def digest_of(digests: dict[str, str]) -> str:
    """Return the identity of a model: the sha256 of its only file, or of its canonical manifest."""
    if len(digests) == 1 and next(iter(digests)).endswith(".onnx"):
        return next(iter(digests.values()))
    manifest = "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))
    return hashlib.sha256(manifest.encode()).hexdigest()


def model_file(paths: Collection[str]) -> str:
    """Choose the file to load: the only one, the only ``.onnx``, or ``model.onnx``."""
    if len(paths) == 1:
        return next(iter(paths))
    models = [path for path in paths if path.endswith(".onnx")]
    if len(models) == 1:
        return models[0]
    named = [path for path in models if path.rpartition("/")[2] == "model.onnx"]
    if len(named) == 1:
        return named[0]
    raise ModelInvalid(
        f"The model's folder has {len(models)} .onnx files, of which {len(named)} are named model.onnx. Name the one to load model.onnx."
    )


def _new_folder(model_dir: Path) -> Path:
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="incoming-", dir=model_dir))
    except OSError as error:
        raise ModelTooLarge(f"The model folder {model_dir} can't be written to ({error.strerror}).") from error


def _remove_abandoned(model_dir: Path, own: Path, *, older_than: float) -> None:
    """Remove what a process that was killed in mid-download left behind; its own time was over long ago."""
    now = own.stat().st_mtime
    for folder in model_dir.glob("incoming-*"):
        with contextlib.suppress(OSError):
            if now - folder.stat().st_mtime > older_than:
                shutil.rmtree(folder)


def _new_file(path: Path, shown: str) -> io.BufferedWriter:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "xb")
    except (FileExistsError, NotADirectoryError) as error:
        raise ModelInvalid(f"{shown} has two files named {path.name}, or a file where it has a folder.") from error


def _write(out: io.BufferedWriter, piece: bytes, shown: str) -> None:
    try:
        out.write(piece)
    except OSError as error:
        raise ModelTooLarge(
            f"{shown} can't be written to disk ({error.strerror}). Give the pod more storage."
        ) from error


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(incoming: Path, final: Path) -> Path:
    """Rename into place; if the same content is there already, it is replaced by what was just verified."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        shutil.rmtree(final)
    incoming.rename(final)
    return final
