"""The tiny models compute what their oracle says, and the broken ones are broken."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from support import onnx_models
from support.onnx_models import TinyModel


def run(data: bytes, rows: list[list[float]]) -> list[list[float]]:
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {onnx_models.INPUT: np.asarray(rows, dtype=np.float32)})
    return [[float(value) for value in row] for row in scores]


MODELS = {
    "linear": onnx_models.linear_model([1.5, -2.0, 0.25], intercept=3.0),
    "constant": onnx_models.constant_model(42.0, features=3),
    "slow": onnx_models.slow_model([1.0, 2.0, 3.0], turns=50),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_a_model_computes_what_its_oracle_says(model: TinyModel) -> None:
    rows = onnx_models.some_rows(20, features=3)
    assert np.allclose(run(model.data, rows), model.expected(rows), rtol=1e-5, atol=1e-6)


def test_the_same_model_is_the_same_bytes() -> None:
    assert onnx_models.linear_model([1.0]).sha256 == onnx_models.linear_model([1.0]).sha256
    assert onnx_models.linear_model([1.0]).sha256 != onnx_models.linear_model([2.0]).sha256


def test_a_constant_model_ignores_its_input() -> None:
    assert MODELS["constant"].expected([[1, 2, 3], [9, 9, 9]]) == [[42.0], [42.0]]


@pytest.mark.parametrize(
    "data",
    [onnx_models.corrupt(MODELS["linear"]), onnx_models.truncated(MODELS["linear"]), onnx_models.NO_MODEL],
    ids=["corrupt", "truncated", "no model"],
)
def test_broken_bytes_do_not_load(data: bytes) -> None:
    with pytest.raises(Exception, match=r"(?i)(protobuf|invalid|fail)"):
        ort.InferenceSession(data, providers=["CPUExecutionProvider"])


def test_the_example_holds_the_model_that_its_page_describes() -> None:
    example = Path(__file__).parents[2] / "examples" / "02-model-in-a-configmap"
    model = onnx_models.linear_model([0.5, -1.5, 2.0], intercept=1.0)
    assert (example / "model.onnx").read_bytes() == model.data
    assert f"sha256: {model.sha256}" in (example / "endpoint.yaml").read_text()
    assert model.expected([[1, 2, 3]]) == [[4.5]]
