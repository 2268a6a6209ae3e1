"""Folders of files that change all at once, as the kubelet changes a mounted ConfigMap. Their content must not be here."""

import shutil
from collections.abc import Mapping
from pathlib import Path

_CURRENT = "..data"


class Mount:
    """A folder whose files are links into ``..data``, which is itself a link that is swapped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: Mapping[str, bytes] | None = None
        self._turn = 0

    def write(self, files: Mapping[str, bytes]) -> None:
        """Make these the files, and the only ones; nothing happens when they are that already."""
        if files == self._written:
            return
        self._turn += 1
        fresh = self._folder / f"..{self._turn}"
        fresh.mkdir(parents=True, mode=0o700)
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        before = self._current()
        link = self._folder / "..data_tmp"
        link.symlink_to(fresh.name)
        link.rename(self._folder / _CURRENT)
        self._link(files)
        if before is not None:
            shutil.rmtree(before)
        self._written = dict(files)

    def _current(self) -> Path | None:
        link = self._folder / _CURRENT
        return link.resolve() if link.is_symlink() else None

    def _link(self, files: Mapping[str, bytes]) -> None:
        links = {entry.name: entry for entry in self._folder.iterdir() if not entry.name.startswith("..")}
        for name in files.keys() - links.keys():
            (self._folder / name).symlink_to(f"{_CURRENT}/{name}")
        for name in links.keys() - files.keys():
            links[name].unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it sees the old content or the new, and nothing between."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(content)
    draft.replace(path)
