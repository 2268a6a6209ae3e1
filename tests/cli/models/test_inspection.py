"""What is told of a model is what is in it."""

from collections.abc import Callable

import numpy as np
import onnxruntime

from modelendpoint.models.inspection import FreeAxis, inspect_model
from modelendpoint.models.opened import OpenModel
from modelendpoint_server.inference import Call
from support import model_zoo
from support.onnx_models import OPSET, linear_model

Open = Callable[[bytes], OpenModel]


def test_the_facts_are_the_files(opened: Open) -> None:
    model = linear_model([1, 2, 3])
    found = inspect_model(opened(model.data))
    assert (found.sha256, found.size, found.opset) == (model.sha256, len(model.data), OPSET)
    assert found.producer == "modelendpoint-tests"
    assert found.providers == onnxruntime.get_available_providers()
    assert [spec.shape for spec in found.signature.inputs] == [[-1, 3]]


def test_one_row_and_a_hundred_are_measured(opened: Open) -> None:
    found = inspect_model(opened(linear_model([1, 2, 3]).data))
    assert [latency.rows for latency in found.latencies] == [1, 100]
    for latency in found.latencies:
        assert latency.runs > 10
        assert 0 < latency.median_milliseconds <= latency.p99_milliseconds < 1000


def test_free_axes_are_named(opened: Open) -> None:
    found = inspect_model(opened(model_zoo.identity("FP32", ("batch", 2, None))))
    assert found.free_axes == [
        FreeAxis(tensor="x", axis=0, name="batch"),
        FreeAxis(tensor="x", axis=2, name=None),
    ]


def test_a_model_of_one_row_is_measured_with_one(opened: Open) -> None:
    found = inspect_model(opened(model_zoo.identity("FP32", (1, 2))))
    assert ([latency.rows for latency in found.latencies], found.free_axes) == ([1], [])


def test_a_model_that_refuses_made_up_rows_is_measured_with_real_ones(opened: Open) -> None:
    model = opened(model_zoo.lookup([]))
    refused = inspect_model(model)
    assert (list(refused.latencies), refused.refusal is None) == ([], False)
    good = opened(model_zoo.lookup([5.0, 6.0]))
    found = inspect_model(good, Call({"x": np.array([1, 0, 1], dtype=np.int64)}))
    assert ([latency.rows for latency in found.latencies], found.refusal) == ([1, 100], None)


def test_the_document_has_everything(opened: Open) -> None:
    document = inspect_model(opened(linear_model([1]).data)).as_document()
    assert document["signature"] == {
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}],
        "columns": [],
    }
    assert document["freeAxes"] == [{"tensor": "features", "axis": 0, "name": None}]
