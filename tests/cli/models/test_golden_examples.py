"""Examples made here are ones that the server takes; it is asked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelendpoint.errors import CliError
from modelendpoint.models.golden_examples import make_examples
from modelendpoint.models.opened import OpenModel, open_model, read_rows
from modelendpoint_server.errors import GoldenExamplesFailed
from modelendpoint_server.golden import Tolerance
from modelendpoint_server.inference import Call
from support import model_zoo
from support.onnx_models import linear_model
from support.served import service_for

Open = Callable[[bytes], OpenModel]
TOLERANCE = Tolerance(absolute=1e-5, relative=1e-4)


@pytest.mark.parametrize(
    ("data", "inputs"),
    [
        (linear_model([0.1, 0.2]).data, {"features": np.array([[0.3, 1 / 3], [2, 3]], dtype=np.float32)}),
        (model_zoo.classifier(features=2, zipmap=True), {"x": np.array([[1, 2], [3, 4]], dtype=np.float32)}),
        (model_zoo.identity("BYTES", (None, 1)), {"x": np.array([["a"], ["ü"]], dtype=object)}),
        (
            model_zoo.echo([("a", "INT64", (None, 1)), ("b", "FP64", (None, 1))]),
            {"a": np.array([[1], [2]], dtype=np.int64), "b": np.array([[0.1], [0.2]])},
        ),
        (model_zoo.identity("FP32", (1, 2)), {"x": np.array([[1, 2]], dtype=np.float32)}),
    ],
    ids=["numbers", "maps", "texts", "several inputs", "one row"],
)
def test_the_server_takes_the_examples_of_a_model(opened: Open, tmp_path: Path, data: bytes, inputs: object) -> None:
    made = make_examples([opened(data)], Call(inputs), most=20, outputs=(), tolerance=TOLERANCE)  # type: ignore[arg-type]
    (tmp_path / "golden.json").write_bytes(made.as_json())
    service = service_for(data, tmp_path / "served", golden_examples_file=str(tmp_path / "golden.json"))
    golden = service.lifecycle.report().golden
    assert golden == {"examples": len(made.examples), "failed": 0, "largestDifference": 0.0, "worst": []}


def test_the_server_refuses_another_model_with_them(opened: Open, tmp_path: Path) -> None:
    call = Call({"features": np.array([[1.0]], dtype=np.float32)})
    made = make_examples([opened(linear_model([1.0]).data)], call, most=1, outputs=(), tolerance=TOLERANCE)
    (tmp_path / "golden.json").write_bytes(made.as_json())
    with pytest.raises(GoldenExamplesFailed):
        service_for(linear_model([1.1]).data, tmp_path / "served", golden_examples_file=str(tmp_path / "golden.json"))


def test_rows_on_which_the_models_differ_are_left_out(opened: Open) -> None:
    models = [opened(linear_model([1.0]).data), opened(linear_model([2.0]).data)]
    call = Call({"features": np.array([[1.0], [0.0], [3.0]], dtype=np.float32)})
    made = make_examples(models, call, most=20, outputs=(), tolerance=TOLERANCE)
    assert [example["inputs"] for example in made.examples] == [{"inputs": {"features": [[0.0]]}}]
    assert made.left_out == [0, 2]


def test_models_that_differ_everywhere_have_no_common_examples(opened: Open) -> None:
    models = [opened(linear_model([1.0]).data), opened(linear_model([2.0]).data)]
    call = Call({"features": np.array([[1.0]], dtype=np.float32)})
    with pytest.raises(CliError, match="mep diff"):
        make_examples(models, call, most=20, outputs=(), tolerance=TOLERANCE)


def test_columns_are_named_where_the_model_names_them(wine: Path) -> None:
    with open_model("models/v1.onnx") as model:
        call = read_rows(Path("rows.csv"), model.signature)
        made = make_examples([model], call, most=3, outputs=["label"], tolerance=TOLERANCE)
    assert len(made.examples) == 3
    (row,) = made.examples[0]["inputs"]["instances"]
    assert row["alcohol"] == 13.36
    assert made.examples[0]["outputs"] == {"label": [2]}


def test_an_output_that_the_model_does_not_have_is_named(opened: Open) -> None:
    call = Call({"features": np.array([[1.0]], dtype=np.float32)})
    with pytest.raises(CliError, match="no output 'label'; its outputs are score"):
        make_examples([opened(linear_model([1.0]).data)], call, most=1, outputs=["label"], tolerance=TOLERANCE)


def test_a_row_without_an_answer_is_named(opened: Open) -> None:
    call = Call({"x": np.array([0, 7], dtype=np.int64)})
    with pytest.raises(CliError, match=r"does not answer row 1: .+ out of data bounds"):
        make_examples([opened(model_zoo.lookup([1.0]))], call, most=20, outputs=(), tolerance=TOLERANCE)
