"""Unpacking archives: only plain files, only inside the folder, and never more than the bounds allow."""

import functools
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from modelendpoint_server.artifact.bounds import Bounds, safe_path
from modelendpoint_server.errors import ModelInvalid, ModelTooLarge, ModelUnsafe

_PIECE = 1024 * 1024
Entry = tuple[str, Callable[[], IO[bytes]]]
"""A file's name and how to open it."""


def is_archive(name: str) -> bool:
    """Tell by its name whether a file is an archive that is to be unpacked."""
    return name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def unpack(archive: Path, folder: Path, *, bounds: Bounds) -> list[str]:
    """Unpack all files and remove the archive; return their paths."""
    entries = _zip_entries if archive.name.lower().endswith(".zip") else _tar_entries
    budget = _Budget(bounds, packed=archive.stat().st_size)
    paths: list[str] = []
    try:
        for name, open_entry in entries(archive):
            path = safe_path(name)
            if path in paths:
                raise ModelUnsafe(f"The archive has {path} twice. Pack it anew.")
            budget.count_file()
            _write(open_entry, folder / path, budget)
            paths.append(path)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ModelInvalid(f"The archive is broken ({type(error).__name__}). Pack and upload it anew.") from error
    except OSError as error:
        raise ModelInvalid(f"The archive can't be unpacked ({error.strerror or error}).") from error
    archive.unlink()
    return paths


class _Budget:
    """What may still be unpacked."""

    def __init__(self, bounds: Bounds, *, packed: int) -> None:
        self._bytes = min(bounds.max_bytes, max(packed, 1) * bounds.max_unpack_ratio)
        self._files = bounds.max_files

    def count_file(self) -> None:
        self._files -= 1
        if self._files < 0:
            raise ModelTooLarge("The archive has too many files. Pack only what the model needs.")

    def count_bytes(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < 0:
            raise ModelTooLarge("The archive grows too much when it is unpacked. Upload the model unpacked.")


def _write(open_entry: Callable[[], IO[bytes]], target: Path, budget: _Budget) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_entry() as source, open(target, "xb") as out:
        while piece := source.read(_PIECE):
            budget.count_bytes(len(piece))
            out.write(piece)


def _tar_entries(archive: Path) -> Iterator[Entry]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise ModelUnsafe(f"{member.name[:100]} in the archive is no plain file. Pack the files themselves.")
            yield member.name.removeprefix("./"), functools.partial(_open_member, tar, member)


def _zip_entries(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise ModelUnsafe(f"{info.filename[:100]} in the archive is no plain file. Pack the files themselves.")
            yield info.filename, functools.partial(zipped.open, info)


def _open_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    if file is None:
        raise tarfile.ReadError("no data")
    return file
