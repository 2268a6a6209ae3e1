"""Files that change under a watcher."""

import os
from pathlib import Path

import pytest

from modelendpoint.local.watching import FileWatcher


class Watched:
    """A folder with a file and a folder in it, a watcher of both, and how often it has called back."""

    def __init__(self, folder: Path) -> None:
        self.file, self.below = folder / "endpoint.yaml", folder / "model"
        self.file.write_text("1")
        self.below.mkdir()
        self.calls = 0
        self.watcher = FileWatcher(lambda: [self.file, self.below], self._count)

    def _count(self) -> None:
        self.calls += 1

    def looks(self, count: int) -> int:
        """Look so often; tell how often it has called back because of that."""
        before = self.calls
        for _ in range(count):
            self.watcher.look()
        return self.calls - before


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path)
    assert watched.looks(5) == 1, "once for what may have changed since the files were read"
    return watched


def test_without_a_change_nothing_happens(watched: Watched) -> None:
    assert watched.looks(5) == 0


def test_a_change_counts_when_it_is_the_same_at_two_looks(watched: Watched) -> None:
    watched.file.write_text("22")
    assert watched.looks(1) == 0
    watched.file.write_text("333")
    assert watched.looks(1) == 0
    assert watched.looks(1) == 1
    assert watched.looks(3) == 0


def test_the_same_size_at_another_time_is_a_change(watched: Watched) -> None:
    os.utime(watched.file, (1, 1))
    assert watched.looks(2) == 1


def test_what_is_replaced_removed_or_new_in_a_folder_is_a_change(watched: Watched, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.write_text("1")
    fresh.replace(watched.file)
    assert watched.looks(2) == 1
    (watched.below / "weights").write_text("1")
    assert watched.looks(2) == 1
    watched.file.unlink()
    assert watched.looks(2) == 1


def test_what_changes_while_it_is_applied_is_another_change(tmp_path: Path) -> None:
    file = tmp_path / "endpoint.yaml"
    file.write_text("1")
    applied: list[str] = []

    def apply() -> None:
        applied.append(file.read_text())
        if len(applied) == 1:
            file.write_text("22")

    watcher = FileWatcher(lambda: [file], apply)
    for _ in range(8):
        watcher.look()
    assert applied == ["1", "22"]
