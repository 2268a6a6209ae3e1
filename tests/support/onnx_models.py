"""Tiny ONNX models for tests, the same bytes each time, with what they compute worked out by plain numpy.

Also bytes that are no model. No ONNX Runtime here: an oracle must not be the thing that it judges.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10
INPUT, OUTPUT = "features", "score"

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TinyModel:
    """A model and its own arithmetic."""

    data: bytes
    features: int
    compute: Callable[[Array], Array]

    @property
    def sha256(self) -> str:
        """The model's identity."""
        return hashlib.sha256(self.data).hexdigest()

    def expected(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Compute all values of each row, as the load rig's oracle wants them."""
        values = self.compute(np.asarray(rows, dtype=np.float32))
        return [[float(value) for value in row] for row in values]


def linear_model(coefficients: Sequence[float], *, intercept: float = 0.0) -> TinyModel:
    """Build ``score = features · coefficients + intercept``, one number a row."""
    weights = np.asarray(coefficients, dtype=np.float32).reshape(-1, 1)
    offset = np.asarray([intercept], dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", [INPUT, "weights"], ["product"]),
        helper.make_node("Add", ["product", "offset"], [OUTPUT]),
    ]
    constants = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(offset, "offset")]
    return TinyModel(
        data=_model_bytes(nodes, constants, features=len(weights)),
        features=len(weights),
        compute=lambda rows: rows @ weights + offset,
    )


def constant_model(value: float, *, features: int) -> TinyModel:
    """Build a model that answers ``value`` whatever it is asked: a zero row times anything, plus ``value``."""
    return linear_model([0.0] * features, intercept=value)


def slow_model(coefficients: Sequence[float], *, turns: int) -> TinyModel:
    """Build ``linear_model(coefficients)`` that first goes round a loop ``turns`` times.

    The loop takes its sum along, so that no optimiser can leave it out; the sum is zero. A turn takes two
    to ten microseconds: measure on the machine at hand when the time matters.
    """
    weights = np.asarray(coefficients, dtype=np.float32).reshape(-1, 1)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going_on"], ["still_going_on"]),
            helper.make_node("Sin", ["sum"], ["wave"]),
            helper.make_node("Mul", ["wave", "nothing"], ["step"]),
            helper.make_node("Add", ["sum", "step"], ["next_sum"]),
        ],
        "body",
        inputs=[
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [None, 1]),
        ],
        outputs=[
            helper.make_tensor_value_info("still_going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_sum", TensorProto.FLOAT, [None, 1]),
        ],
    )
    nodes = [
        helper.make_node("MatMul", [INPUT, "weights"], ["product"]),
        helper.make_node("Loop", ["turns", "yes", "product"], [OUTPUT], body=body),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.asarray(0.0, dtype=np.float32), "nothing"),
        numpy_helper.from_array(np.asarray(turns, dtype=np.int64), "turns"),
        numpy_helper.from_array(np.asarray(True), "yes"),
    ]
    return TinyModel(
        data=_model_bytes(nodes, constants, features=len(weights)),
        features=len(weights),
        compute=lambda rows: rows @ weights,
    )


def failing_model(coefficients: Sequence[float], *, above: float) -> TinyModel:
    """Build ``linear_model(coefficients)`` that fails while it runs for rows whose first feature is above a number.

    It looks for such rows far behind the end of a table of one zero. What it computes for the others is right.
    """
    weights = np.asarray(coefficients, dtype=np.float32).reshape(-1, 1)
    nodes = [
        helper.make_node("MatMul", [INPUT, "weights"], ["product"]),
        helper.make_node("Gather", [INPUT, "first"], ["first_feature"], axis=1),
        helper.make_node("Greater", ["first_feature", "limit"], ["is_above"]),
        helper.make_node("Cast", ["is_above"], ["as_number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["as_number", "far_behind"], ["place"]),
        helper.make_node("Gather", ["table", "place"], ["zero"], axis=0),
        helper.make_node("Add", ["product", "zero"], [OUTPUT]),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.asarray([0], dtype=np.int64), "first"),
        numpy_helper.from_array(np.asarray(above, dtype=np.float32), "limit"),
        numpy_helper.from_array(np.asarray(1_000_000, dtype=np.int64), "far_behind"),
        numpy_helper.from_array(np.zeros(1, dtype=np.float32), "table"),
    ]
    return TinyModel(
        data=_model_bytes(nodes, constants, features=len(weights)),
        features=len(weights),
        compute=lambda rows: rows @ weights,
    )


def corrupt(model: TinyModel) -> bytes:
    """Flip bits in the middle third of the bytes, so that neither parser nor digest can overlook it."""
    third = len(model.data) // 3
    middle = bytes(byte ^ 0xFF for byte in model.data[third : 2 * third])
    return model.data[:third] + middle + model.data[2 * third :]


def truncated(model: TinyModel) -> bytes:
    """Leave out the second half of the bytes, as an upload that broke off does."""
    return model.data[: len(model.data) // 2]


def as_config_map_data(files: Mapping[str, TinyModel]) -> dict[str, str]:
    """Encode models for the ``binaryData`` of a ConfigMap."""
    return {key: base64.b64encode(model.data).decode() for key, model in files.items()}


NO_MODEL = b"<html><body>Sign in to download this file.</body></html>"
"""What a store behind a login page answers with status 200."""


def some_rows(count: int, *, features: int, seed: int = 7) -> list[list[float]]:
    """Draw rows that are the same each time; four decimals, so that every format carries them exactly enough."""
    values = np.random.default_rng(seed).normal(size=(count, features)).round(4)
    return [[float(value) for value in row] for row in values]


def _model_bytes(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], *, features: int) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs=[helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, features])],
        outputs=[helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 1])],
        initializer=constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="modelendpoint-tests",
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
