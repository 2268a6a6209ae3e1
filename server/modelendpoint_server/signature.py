"""What a model takes and gives, and the check of a request's arrays against it.

No ONNX Runtime and no wire format here.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelendpoint_server.errors import InvalidRequest

Tensor = NDArray[Any]
Dimension = int | str | None
"""A fixed size, the name of a free one, or a free one without a name."""

NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.float32),
    "BYTES": np.dtype(object),
}
"""The protocol's datatypes and the arrays they live in here. NumPy has no bfloat16: its values are kept as float32."""


def all_finite(tensor: Tensor) -> bool:
    """Tell whether no value of a float array is NaN or infinite."""
    # Half the time of looking at each value; a sum of squares that overflows is looked at again.
    if tensor.dtype.itemsize >= 4 and math.isfinite(np.vdot(tensor, tensor)):
        return True
    return bool(np.isfinite(tensor).all())


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """Name, datatype and shape of one input or output."""

    name: str
    datatype: str
    """A datatype of the Open Inference Protocol."""
    dimensions: tuple[Dimension, ...]
    kind: str = "tensor"
    """``tensor``, or ``sequence`` or ``map`` for outputs that are no tensors; then ``datatype`` is that of their values."""

    @functools.cached_property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy type of its values."""
        return NUMPY_TYPES[self.datatype]

    @functools.cached_property
    def is_float(self) -> bool:
        """Whether its values may be NaN or infinite."""
        return self.dtype.kind == "f"

    @functools.cached_property
    def shape(self) -> list[int]:
        """The shape as the protocols write it: -1 for a free dimension."""
        return [size if isinstance(size, int) else -1 for size in self.dimensions]

    @functools.cached_property
    def has_batch(self) -> bool:
        """Whether the first dimension is free, so that it counts rows."""
        return bool(self.dimensions) and not isinstance(self.dimensions[0], int)

    @functools.cached_property
    def row_shape(self) -> list[int]:
        """The shape of one row: all but the first dimension."""
        return self.shape[1:]

    @functools.cached_property
    def row_width(self) -> int:
        """The number of values in one row; -1 when that is free."""
        return -1 if -1 in self.row_shape else math.prod(self.row_shape)

    @functools.cached_property
    def _fixed_row(self) -> tuple[int, ...] | None:
        """The shape of one row, if the number of rows is all that is free."""
        return tuple(self.row_shape) if self.has_batch and -1 not in self.row_shape else None

    def accepts(self, shape: Sequence[int]) -> bool:
        """Tell whether an array of this shape fits."""
        if shape[1:] == self._fixed_row and shape:
            return True
        return len(shape) == len(self.shape) and all(
            want in (-1, got) for want, got in zip(self.shape, shape, strict=True)
        )

    def check(self, tensor: Tensor) -> None:
        """Raise ``InvalidRequest`` unless the array has this datatype and shape."""
        if tensor.dtype != self.dtype:
            raise InvalidRequest(
                f"Input {self.name!r} is {tensor.dtype}; the model takes {self.datatype}.", field=self.name
            )
        if not self.accepts(tensor.shape):
            raise InvalidRequest(
                f"Input {self.name!r} has shape {list(tensor.shape)}; the model takes {self.shape} (-1: any size).",
                field=self.name,
            )

    def check_finite(self, tensor: Tensor) -> None:
        """Raise ``InvalidRequest`` for the first value that is NaN or infinite."""
        if self.is_float and not all_finite(tensor):
            where = np.argwhere(~np.isfinite(tensor))[0].tolist()
            raise InvalidRequest(
                f"Input {self.name!r} has {tensor[tuple(where)]} at {where}; only finite numbers are taken"
                " (MODELENDPOINT_NON_FINITE=Allow passes NaN on to the model).",
                field=self.name,
            )


@dataclasses.dataclass(frozen=True)
class Signature:
    """All inputs and outputs of a model, in the model's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    columns: tuple[str, ...] = ()
    """Names of the columns of the only input, when the model's metadata tells them (key ``feature_names``)."""

    @functools.cached_property
    def by_name(self) -> dict[str, TensorSpec]:
        """Inputs by name."""
        return {spec.name: spec for spec in self.inputs}

    @functools.cached_property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the model's order."""
        return tuple(spec.name for spec in self.outputs)

    @functools.cached_property
    def only_input(self) -> TensorSpec | None:
        """The input, when the model has exactly one."""
        return self.inputs[0] if len(self.inputs) == 1 else None

    def check_names(self, names: Mapping[str, object]) -> None:
        """Raise ``InvalidRequest`` unless exactly the model's inputs are there."""
        if names.keys() == self.by_name.keys():
            return
        for name in names:
            if name not in self.by_name:
                raise InvalidRequest(f"The model has no input {name!r}; its inputs are {self._listed()}.", field=name)
        if missing := self.by_name.keys() - names.keys():
            name = min(missing)
            raise InvalidRequest(f"Input {name!r} is missing; the model's inputs are {self._listed()}.", field=name)

    def check_outputs(self, names: Sequence[str]) -> None:
        """Raise ``InvalidRequest`` for an output that the model does not have."""
        for name in names:
            if name not in self.output_names:
                raise InvalidRequest(
                    f"The model has no output {name!r}; its outputs are {', '.join(self.output_names)}.", field=name
                )

    def count_rows(self, inputs: Mapping[str, Tensor]) -> int:
        """Count the rows of a request: the common size of the inputs' free first dimension, else 1."""
        rows = -1
        for name, tensor in inputs.items():
            if not self.by_name[name].has_batch or not tensor.ndim:
                continue
            if rows not in (-1, tensor.shape[0]):
                # Models may well take inputs of different lengths; ONNX Runtime has the last word then.
                return max(rows, len(tensor))
            rows = tensor.shape[0]
        return rows if rows >= 0 else 1

    def _listed(self) -> str:
        return ", ".join(f"{spec.name} {spec.datatype}{spec.shape}" for spec in self.inputs)
