"""Profiles of real files and models: what a sample of the same rows is called there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest

from modelendpoint.errors import CliError
from modelendpoint.models.opened import OpenModel, open_model
from modelendpoint.models.profile_data import ProfiledData, profile_data
from modelendpoint_server.inference import Call
from modelendpoint_server.monitor.columns import columns_of_inputs, columns_of_outputs
from modelendpoint_server.monitor.reference import Categories, Numbers, Profile
from modelendpoint_server.monitor.series import series_of
from modelendpoint_server.monitor.sketches import fits
from support import model_zoo
from support.onnx_models import failing_model, linear_model, some_rows

Open = Callable[[bytes], OpenModel]


def write(path: Path, columns: dict[str, object]) -> str:
    pyarrow.parquet.write_table(pa.table(columns), path)
    return str(path)


def profiled(model: OpenModel, data: str, *features: str) -> ProfiledData:
    return profile_data(model, data, features=features)


@pytest.mark.parametrize(
    ("model", "inputs", "columns"),
    [
        (
            linear_model([0.1, 0.2]).data,
            {"features": np.random.default_rng(1).random((60, 2), dtype=np.float32)},
            {"features": [[0.5, 1.0]] * 60},
        ),
        (
            model_zoo.classifier(features=2, zipmap=True),
            {"x": np.random.default_rng(1).random((60, 2), dtype=np.float32)},
            {"x": [[0.5, 1.0]] * 60},
        ),
        (
            model_zoo.identity("BYTES", (None, 1)),
            {"x": np.array([["a"], ["ü"]], dtype=object)},
            {"x": ["a", "ü"]},
        ),
        (
            model_zoo.echo([("a", "INT64", (None, 1)), ("b", "FP64", (None, 1))]),
            {"a": np.array([[1], [2]], dtype=np.int64), "b": np.array([[0.1], [0.2]])},
            {"a": [1, 2], "b": [0.1, 0.2]},
        ),
        (
            model_zoo.identity("FP32", (None, 2, 3)),
            {"x": np.ones((4, 2, 3), np.float32)},
            {"x": [[[1, 2, 3], [4, 5, 6]]] * 4},
        ),
    ],
    ids=["numbers", "maps", "texts", "several inputs", "tensors"],
)
def test_the_columns_of_a_profile_are_called_as_those_of_samples(
    opened: Open, tmp_path: Path, model: bytes, inputs: dict[str, object], columns: dict[str, object]
) -> None:
    loaded = opened(model)
    profile = profiled(loaded, write(tmp_path / "rows.parquet", columns)).profile
    call = Call(inputs)  # type: ignore[arg-type]
    outputs = loaded.predictor.predict(call).outputs
    rows = loaded.signature.count_rows(call.inputs)
    sampled = {
        "inputs": series_of(columns_of_inputs(call.inputs, loaded.signature, rows), profile.summarised),
        "outputs": series_of(columns_of_outputs(outputs, loaded.signature, rows), profile.summarised),
    }
    for known, series in ((profile.inputs, sampled["inputs"]), (profile.outputs, sampled["outputs"])):
        assert {column.name for column in known} == set(series)
        assert all(fits(column, series[column.name]) for column in known)


def test_csv_parquet_and_json_lines_of_the_same_rows_have_the_same_profile(opened: Open, tmp_path: Path) -> None:
    rows = np.array(some_rows(500, features=2))
    table = pa.table({"age": rows[:, 0], "income": rows[:, 1], "label": ["yes"] * 500})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    lines = table.to_pylist()
    (tmp_path / "rows.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    text = "".join(f"{line['age']},{line['income']},yes\n" for line in lines)
    (tmp_path / "rows.csv").write_text("age,income,label\n" + text)
    model = opened(linear_model([0.1, 0.2]).data)
    made = [profiled(model, str(path), "age", "income").profile.as_json() for path in tmp_path.glob("rows.*")]
    assert len(made) == 3 and len(set(made)) == 1
    profile = Profile.from_json(made[0])
    assert list(profile.by_name) == ["features[0]", "features[1]", "score"]
    first = profile.by_name["features[0]"]
    assert isinstance(first, Numbers)
    assert first.mean == pytest.approx(rows[:, 0].mean(), rel=1e-5)
    assert profile.model_sha256 == model.artifact.sha256


def test_missing_numbers_are_counted_and_a_row_that_the_model_refuses_is_told(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,\n2,3\nx,4\n5,\n")
    with open_model(str(_saved(tmp_path, linear_model([0.1, 0.2]).data)), allow_non_finite=True) as model:
        made = profiled(model, str(tmp_path / "rows.csv"), "a", "b")
    column = made.profile.by_name["features[1]"]
    assert isinstance(column, Categories)
    assert (made.profile.rows, column.missing, column.values) == (3, 2, (3.0,))
    assert made.rejected_rows == 1
    assert made.first_rejected.startswith(f"{tmp_path}/rows.csv, row 3, a: The value is 'x'")


def test_a_row_that_the_model_fails_at_has_no_output_and_is_told(opened: Open, tmp_path: Path) -> None:
    model = opened(failing_model([1.0, 1.0], above=2.0).data)
    made = profiled(model, write(tmp_path / "rows.parquet", {"features": [[1.0, 1.0], [3.0, 1.0], [1.5, 0.0]]}))
    assert made.rejected_rows == 1
    assert "row 2" in made.first_rejected
    assert [column.rows for column in made.profile.outputs] == [2]


def test_a_column_that_is_empty_in_all_rows_is_left_out_and_told(tmp_path: Path) -> None:
    data = write(tmp_path / "rows.parquet", {"a": [1.0, 2.0], "b": pa.array([None, None], pa.float64())})
    with open_model(str(_saved(tmp_path, linear_model([0.1, 0.2]).data)), allow_non_finite=True) as model:
        made = profiled(model, data, "a", "b")
    assert made.empty_columns == ("features[1]", "score")


def _saved(folder: Path, model: bytes) -> Path:
    (folder / "model.onnx").write_bytes(model)
    return folder / "model.onnx"


@pytest.mark.parametrize(
    ("name", "content", "features", "words"),
    [
        ("rows.csv", "a\n1\n", ("a", "b"), "Column 'b' is not in .*rows.csv, which has a. .*--features"),
        ("rows.csv", "a,b,c\n1,2,3\n", (), "takes 2 values a row .*--features, in the model's order"),
        (
            "rows.csv",
            "a,b\n1,2\n",
            ("a",),
            "a cell of .*rows.csv holds one .column 'a'.. Name all columns that it takes in --features",
        ),
        ("rows.csv", "a,b\nx,2\n", (), "No row of .*rows.csv fits the model. .* row 1, a: The value is 'x'"),
        ("rows.csv", "a,b\n", (), "has no rows"),
        ("rows.json", "{}", (), "Name it with an ending: .csv, .jsonl or .parquet"),
        ("rows.parquet", "PAR1", (), "rows.parquet"),
    ],
)
def test_data_that_do_not_fit_are_refused_with_the_column_and_the_next_step(
    opened: Open, tmp_path: Path, name: str, content: str, features: tuple[str, ...], words: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(CliError, match=words) as refused:
        profiled(opened(linear_model([0.1, 0.2]).data), str(tmp_path / name), *features)
    assert not any(field in str(refused.value) for field in ("columns.features", "input.", "file://"))


def test_data_that_are_not_there_are_told(opened: Open) -> None:
    with pytest.raises(CliError, match=r"There is no nowhere\.csv\. Name a file of rows"):
        profiled(opened(linear_model([0.1]).data), "nowhere.csv")
