"""Made-up inputs that fit a signature: for the first run of a model, and as the example that people start from."""

import math
from typing import Any

import numpy as np

from modelendpoint_server.formats.table import takes_columns
from modelendpoint_server.signature import Signature, Tensor, TensorSpec

_FREE_SIZE = 1
"""Size that free dimensions get."""


def made_up_inputs(signature: Signature) -> dict[str, Tensor]:
    """Make one row of zeros, false or empty strings for each input."""
    return {spec.name: _made_up(spec) for spec in signature.inputs}


def count_values(signature: Signature) -> int:
    """Count the values of the made-up inputs."""
    return sum(math.prod(_sizes(spec)) for spec in signature.inputs)


def example_request(signature: Signature) -> dict[str, Any]:
    """Make a request for the plain path: named columns if the model has them, else rows, else tensors by name."""
    inputs = made_up_inputs(signature)
    if takes_columns(signature):
        return {
            "instances": [
                {
                    name: tensor.reshape(-1)[0].item() if tensor.dtype != object else ""
                    for name, tensor in inputs.items()
                }
            ]
        }
    spec = signature.only_input
    if spec is None or not spec.has_batch:
        return {"inputs": {name: tensor.tolist() for name, tensor in inputs.items()}}
    if signature.columns and spec.row_width == len(signature.columns):
        return {"instances": [dict(zip(signature.columns, inputs[spec.name].reshape(-1).tolist(), strict=True))]}
    return {"instances": inputs[spec.name].tolist()}


def example_csv(signature: Signature) -> str | None:
    """Make the same request as CSV; ``None`` when the model's rows are no lines of cells."""
    spec = signature.only_input
    if takes_columns(signature):
        names = [spec.name for spec in signature.inputs]
        return ",".join(names) + "\n" + ",".join(_cell(spec) for spec in signature.inputs) + "\n"
    if spec is None or len(spec.dimensions) != 2 or not spec.has_batch or spec.row_width < 1:
        return None
    header = ",".join(signature.columns) + "\n" if len(signature.columns) == spec.row_width else ""
    return header + ",".join([_cell(spec)] * spec.row_width) + "\n"


def example_v2(signature: Signature) -> dict[str, Any]:
    """Make the same request for the Open Inference Protocol."""
    return {
        "inputs": [
            {
                "name": name,
                "datatype": signature.by_name[name].datatype,
                "shape": list(tensor.shape),
                "data": tensor.reshape(-1).tolist(),
            }
            for name, tensor in made_up_inputs(signature).items()
        ]
    }


def _cell(spec: TensorSpec) -> str:
    return {"O": "text", "b": "false", "f": "0.0"}.get(spec.dtype.kind, "0")


def _made_up(spec: TensorSpec) -> Tensor:
    sizes = _sizes(spec)
    return np.full(sizes, "", dtype=object) if spec.datatype == "BYTES" else np.zeros(sizes, dtype=spec.dtype)


def _sizes(spec: TensorSpec) -> list[int]:
    return [_FREE_SIZE if size == -1 else size for size in spec.shape]
