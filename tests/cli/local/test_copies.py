"""Copies of model files, and the names by which people know them."""

from pathlib import Path

from modelendpoint.local.copies import Copies
from support.onnx_models import linear_model

MODEL = linear_model([1.0, 2.0])


def test_people_read_the_name_that_they_wrote(tmp_path: Path) -> None:
    path = tmp_path / "my model.onnx"
    path.write_bytes(MODEL.data)
    copies = Copies(tmp_path / "copies")
    taken = copies.take(path, written=f"file://{path}")
    key = taken.uri.removeprefix("pvc://local-copies/")
    text = f"{taken.uri} and file://{tmp_path}/copies/{key} are one"
    assert copies.as_written(text) == f"file://{path} and file://{path} are one"
    assert Copies(tmp_path / "copies").as_written(taken.uri) == f"file://{path}", "also after a restart"


def test_the_same_bytes_are_copied_once(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL.data)
    copies = Copies(tmp_path / "copies")
    one = copies.take(path, written="pvc://models/model.onnx")
    assert copies.take(path, written="pvc://models/model.onnx") == one
    assert one.sha256 == MODEL.sha256
    assert len(list((tmp_path / "copies").iterdir())) == 1


def test_a_folder_is_copied_whole_and_its_digest_left_to_the_server(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "weights").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(MODEL.data)
    (folder / "weights" / "part").write_bytes(b"1")
    copies = Copies(tmp_path / "copies")
    taken = copies.take(folder, written="file:///model")
    copied = tmp_path / "copies" / taken.uri.removeprefix("pvc://local-copies/")
    assert (copied / "weights" / "part").read_bytes() == b"1"
    assert taken.sha256 is None
    (folder / "weights" / "part").write_bytes(b"2")
    assert copies.take(folder, written="file:///model").uri != taken.uri


def test_a_missing_file_is_called_by_its_path(tmp_path: Path) -> None:
    copies = Copies(tmp_path / "copies")
    taken = copies.take(tmp_path / "not there.onnx", written="pvc://models/not there.onnx")
    assert " " not in taken.uri
    assert copies.as_written(taken.uri) == f"file://{tmp_path}/not there.onnx"
