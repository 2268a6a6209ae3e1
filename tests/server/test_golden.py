"""Golden examples: what passes, what fails, and what is said about it."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_server.errors import GoldenExamplesFailed
from support import model_zoo
from support.onnx_models import linear_model
from support.served import service_for

LINEAR = linear_model([1.0, 2.0], intercept=0.5)


def serve(folder: Path, examples: Any, data: bytes = LINEAR.data, **changes: Any) -> Any:
    path = folder / "golden.json"
    path.write_text(json.dumps(examples) if not isinstance(examples, str) else examples)
    service = service_for(data, folder, golden_examples_file=str(path), **changes)
    return service.lifecycle.report().as_json()["golden"]


V2 = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"instances": [[1, 2]]}, {"predictions": [[5.5]]}),
        ({"instances": [[1, 2], [0, 0]]}, {"score": [[5.5], [0.5]]}),
        (V2, {"outputs": [{"name": "score", "datatype": "FP32", "shape": [1, 1], "data": [5.5]}]}),
        ({"inputs": [[1, 2]]}, {"predictions": [[5.500001]]}),
    ],
)
def test_examples_that_are_reproduced_are_reported(tmp_path: Path, inputs: Any, outputs: Any) -> None:
    golden = serve(tmp_path, {"examples": [{"inputs": inputs, "outputs": outputs}]})
    assert (golden["examples"], golden["failed"], golden["worst"]) == (1, 0, [])


def test_maps_and_labels_are_compared(tmp_path: Path) -> None:
    row = {"label": 1, "probabilities": {"0": 0.09535, "1": 0.90465}}
    examples = [{"inputs": {"instances": [[1, 1]]}, "outputs": {"predictions": [row]}}]
    golden = serve(tmp_path, {"examples": examples}, model_zoo.classifier(features=2, zipmap=True))
    assert golden["failed"] == 0


def test_an_example_that_is_not_reproduced_keeps_the_model_away(tmp_path: Path) -> None:
    examples = [
        {"inputs": {"instances": [[1, 2]]}, "outputs": {"predictions": [[5.5]]}},
        {"inputs": {"instances": [[1, 2], [0, 0]]}, "outputs": {"predictions": [[5.5], [7]]}},
    ]
    with pytest.raises(GoldenExamplesFailed, match=r"1 of 2 .* example 1, predictions\.1\.0: 7 is expected.* 0\.5"):
        serve(tmp_path, {"examples": examples})


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"predictions": [[5.5], [1]]}, "a list of 2 is expected"),
        ({"other": [[5.5]]}, "is expected"),
        ({"predictions": [["5.5"]]}, r"5\.5 is expected"),
        ({"predictions": [[None]]}, "None is expected"),
    ],
)
def test_another_form_is_a_difference(tmp_path: Path, outputs: Any, words: str) -> None:
    with pytest.raises(GoldenExamplesFailed, match=words):
        serve(tmp_path, {"examples": [{"inputs": {"instances": [[1, 2]]}, "outputs": outputs}]})


def test_the_tolerance_is_a_setting(tmp_path: Path) -> None:
    examples = {"examples": [{"inputs": {"instances": [[1, 2]]}, "outputs": {"predictions": [[5.6]]}}]}
    with pytest.raises(GoldenExamplesFailed):
        serve(tmp_path, examples)
    golden = serve(tmp_path, examples, golden_absolute_tolerance=0.2)
    assert golden["largestDifference"] == pytest.approx(0.1)


def test_an_example_that_can_not_be_asked_says_why(tmp_path: Path) -> None:
    examples = {"examples": [{"inputs": {"instances": [[1]]}, "outputs": {"predictions": []}}]}
    with pytest.raises(GoldenExamplesFailed, match=r"example 0 can't be asked: .* the model takes \[-1, 2\]"):
        serve(tmp_path, examples)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"examples": []}', '{"examples": [{"inputs": 1}]}'])
def test_what_is_no_list_of_examples_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(GoldenExamplesFailed, match="Correct"):
        serve(tmp_path, text)
