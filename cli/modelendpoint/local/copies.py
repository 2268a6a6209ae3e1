"""Copies of model files, so that a revision keeps its bytes when the file it came from changes.

A changed file is a new revision here, as a new object in a store is on a cluster. Choosing what to serve must not be here.
"""

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from modelendpoint.local.relocation import COPIES, FILES
from modelendpoint_server.artifact.download import digest_of

_ORIGIN = "origin"
_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]")
_FILES_URI = re.compile(re.escape(FILES) + r"([!-~]*)")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A model that the API accepts in place of a file."""

    uri: str
    sha256: str | None
    """The digest that its bytes have; None where only the server can tell."""


class Copies:
    """The copies of one instance."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._origins = {path.parent.name: path.read_text() for path in folder.glob(f"*/{_ORIGIN}")}

    def take(self, path: Path, *, written: str) -> Taken:
        """Copy a file or folder as it is now; one that is not there is left for the server to report.

        ``written`` is the URI by which people know it.
        """
        if not path.exists():
            return Taken(uri=FILES + quote(str(path).lstrip("/")), sha256=None)
        digest = _digest(path)
        key = hashlib.sha256(f"{written}\n{digest}".encode()).hexdigest()[:16]
        name = _UNUSUAL.sub("_", path.name)
        if not (self._folder / key / _ORIGIN).exists():
            self._copy(path, key, name, written)
        is_pinned = path.is_file() and path.suffix == ".onnx"
        return Taken(uri=f"{COPIES}{key}/{name}", sha256=digest if is_pinned else None)

    def as_written(self, text: str) -> str:
        """Put into a text the files that people know in place of their copies."""
        for key, origin in self._origins.items():
            name = _UNUSUAL.sub("_", origin.rpartition("/")[2])
            for start in (COPIES, f"file://{self._folder}/"):
                text = text.replace(f"{start}{key}/{name}", origin)
        return _FILES_URI.sub(lambda found: f"file:///{unquote(found[1])}", text)

    def _copy(self, path: Path, key: str, name: str, written: str) -> None:
        folder = self._folder / key
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if path.is_dir():
            shutil.copytree(path, folder / name)
        else:
            shutil.copyfile(path, folder / name)
        (folder / _ORIGIN).write_text(written)
        self._origins[key] = written


def _digest(path: Path) -> str:
    files = [path] if path.is_file() else [entry for entry in sorted(path.rglob("*")) if entry.is_file()]
    names = {entry: entry.name if entry == path else str(entry.relative_to(path)) for entry in files}
    return digest_of({name: _sha256(entry) for entry, name in names.items()})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
