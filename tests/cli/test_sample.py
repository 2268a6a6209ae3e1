"""What ``mep demo`` writes is what the real training makes, and each file does what the demo says of it."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import yaml

from demo import models
from modelendpoint import sample
from modelendpoint.errors import CliError
from modelendpoint_operator.api.batch import BatchPredictionSpec
from modelendpoint_operator.api.spec import ModelEndpointSpec
from sample import FILES, build_files


def answers(folder: Path, version: int) -> list[list[float]]:
    rows = json.loads((folder / "rows.json").read_text())["instances"]
    return models.run_onnx((folder / f"models/v{version}.onnx").read_bytes(), rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sample.write_sample(tmp_path / "wine")
    return tmp_path / "wine"


def test_the_shipped_files_are_what_the_training_makes(folder: Path) -> None:
    """Bytes may differ in the last bit between machines; what the models compute may not."""
    rows = json.loads((folder / "rows.json").read_text())["instances"]
    for name, made in build_files().items():
        shipped = (FILES / name).read_bytes()
        if name.endswith(".onnx"):
            ours, theirs = models.run_onnx(shipped, rows), models.run_onnx(made, rows)
            np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=f"{name}: run `make sample`")
        else:
            assert shipped == made, f"{name}: run `make sample`"


def test_every_file_is_written_and_described(folder: Path) -> None:
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == set(sample.DESCRIPTIONS)


def test_the_versions_have_one_signature_and_different_answers(folder: Path) -> None:
    seen = set()
    for version in (1, 2, 3):
        session = onnxruntime.InferenceSession(folder / f"models/v{version}.onnx")
        seen.add(str([(node.name, node.type, node.shape) for node in (*session.get_inputs(), *session.get_outputs())]))
    assert len(seen) == 1
    flips = [
        sum(one[0] != other[0] for one, other in zip(answers(folder, 2), answers(folder, version), strict=True))
        for version in (1, 3)
    ]
    assert flips[0] < 10 and flips[1] > 20


def test_the_golden_examples_hold_for_the_good_versions_only(folder: Path) -> None:
    examples = json.loads((folder / "models/golden.json").read_text())["examples"]
    rows = [list(example["inputs"]["instances"][0].values()) for example in examples]
    expected = [example["outputs"]["label"][0] for example in examples]
    right = {
        version: [
            int(answer[0]) == label
            for answer, label in zip(
                models.run_onnx((folder / f"models/v{version}.onnx").read_bytes(), rows), expected, strict=True
            )
        ]
        for version in (1, 2, 3)
    }
    assert all(right[1]) and all(right[2])
    assert sum(right[3]) < len(expected)


def test_the_endpoint_names_files_that_are_there(folder: Path) -> None:
    document = yaml.safe_load((folder / "endpoint.yaml").read_text())
    model = ModelEndpointSpec.model_validate(document["spec"]).model
    assert model.golden_examples is not None
    for uri in (model.uri, model.golden_examples.uri):
        assert (folder / uri.removeprefix("pvc://")).is_file()


def test_the_batch_prediction_names_the_endpoint_and_rows_that_are_there(folder: Path) -> None:
    spec = BatchPredictionSpec.model_validate(yaml.safe_load((folder / "scores.yaml").read_text())["spec"])
    assert spec.endpoint_ref is not None
    assert spec.endpoint_ref.name == yaml.safe_load((folder / "endpoint.yaml").read_text())["metadata"]["name"]
    rows = (folder / spec.input.uri.removeprefix("pvc://")).read_text().splitlines()
    assert [row.partition(",")[2] for row in rows] == (folder / "rows.csv").read_text().splitlines()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(CliError, match="is there already"):
        sample.write_sample(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
