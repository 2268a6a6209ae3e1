"""Folders that change as the kubelet changes a mounted ConfigMap."""

import os
from pathlib import Path

from modelendpoint.local.mounts import Mount, write_whole


def content(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if not entry.name.startswith("..")}


def test_files_change_together_by_one_swap_of_a_link(tmp_path: Path) -> None:
    mount = Mount(tmp_path)
    mount.write({"a": b"1", "b": b"1"})
    before = os.readlink(tmp_path / "..data")
    held = (tmp_path / "a").open("rb")
    mount.write({"a": b"2", "b": b"2"})
    assert os.readlink(tmp_path / "..data") != before
    assert content(tmp_path) == {"a": b"2", "b": b"2"}
    with held:
        assert held.read() == b"1"
    assert len([entry for entry in tmp_path.iterdir() if entry.is_dir() and not entry.is_symlink()]) == 1


def test_files_that_are_gone_leave_no_link(tmp_path: Path) -> None:
    mount = Mount(tmp_path)
    mount.write({"a": b"1", "b": b"1"})
    mount.write({"b": b"1", "c": b"1"})
    assert content(tmp_path) == {"b": b"1", "c": b"1"}


def test_the_same_files_again_change_nothing(tmp_path: Path) -> None:
    mount = Mount(tmp_path)
    mount.write({"a": b"1"})
    before = os.readlink(tmp_path / "..data")
    mount.write({"a": b"1"})
    assert os.readlink(tmp_path / "..data") == before


def test_a_missing_configmap_is_an_empty_folder(tmp_path: Path) -> None:
    Mount(tmp_path / "mounted").write({})
    assert content(tmp_path / "mounted") == {}


def test_a_file_is_written_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with path.open("rb") as held:
        write_whole(path, b"new")
        assert held.read() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
