"""What can be opened, how it is read, and what is said when it can't be."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelendpoint.errors import CliError
from modelendpoint.models.opened import OpenModel, open_model, read_rows
from support import model_zoo
from support.onnx_models import corrupt, linear_model

Open = Callable[[bytes], OpenModel]


def test_a_files_identity_is_the_sha256_of_its_bytes(opened: Open) -> None:
    data = linear_model([1, 2]).data
    assert opened(data).artifact.sha256 == hashlib.sha256(data).hexdigest()


def test_a_folder_with_its_weights_beside_the_model_is_opened(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(model_zoo.with_external_data("weights.bin"))
    (tmp_path / "weights.bin").write_bytes(np.array([1, 2, 3], dtype=np.float32).tobytes())
    with open_model(str(tmp_path)) as model:
        assert model.artifact.size == sum(path.stat().st_size for path in tmp_path.iterdir())
        assert model.signature.inputs[0].shape == [-1, 3]


def test_a_model_that_the_server_refuses_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(corrupt(linear_model([1])))
    with pytest.raises(CliError, match=r"bad\.onnx: .+") as error, open_model(str(path)):
        pass
    assert "Traceback" not in str(error.value)


def test_a_path_where_nothing_is_leads_to_the_demo() -> None:
    with pytest.raises(CliError, match="mep demo"), open_model("nowhere.onnx"):
        pass


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "1,2\n3,4\n"),
        ("rows.json", '{"instances": [[1, 2], [3, 4]]}'),
        ("v2.json", '{"inputs": [{"name": "features", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}]}'),
    ],
)
def test_rows_are_read_in_every_form_that_the_server_reads(opened: Open, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    call = read_rows(tmp_path / name, opened(linear_model([1, 2]).data).signature)
    np.testing.assert_array_equal(call.inputs["features"], [[1, 2], [3, 4]])


def test_a_row_that_does_not_fit_is_named_with_its_file(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1,2\n3,x\n")
    with pytest.raises(CliError, match=r"rows\.csv does not fit the model: Row 1, column 1 is 'x'"):
        read_rows(tmp_path / "rows.csv", opened(linear_model([1, 2]).data).signature)


@pytest.mark.parametrize(("name", "text"), [("rows.csv", ""), ("rows.json", '{"instances": []}')])
def test_a_file_without_rows_is_told(opened: Open, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CliError, match=rf"{name} has no rows"):
        read_rows(tmp_path / name, opened(linear_model([1, 2]).data).signature)


def test_a_file_of_rows_that_is_not_there_is_named(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"rows\.csv can't be read \(No such file"):
        read_rows(tmp_path / "rows.csv", opened(linear_model([1]).data).signature)
