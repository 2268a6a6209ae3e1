"""Tensors of many rows to predictions, in runs of a fixed size; rows that the model can't take are singled out.

A run that fails is halved until the rows that make it fail stand alone. Run sizes depend on nothing but the model, so that
the same rows give the same bytes whichever worker has them.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from modelendpoint_server.batch.errors import InvalidBatch
from modelendpoint_server.batch.rows import Numbers, Rejected
from modelendpoint_server.errors import RequestError
from modelendpoint_server.inference import Call, Result
from modelendpoint_server.signature import Signature, Tensor

_MOST_ROWS = 4096
_MOST_VALUES = 2**17
"""Values of one run's inputs: what fits into a core's cache. Larger runs are no faster, and need memory."""


class Predicting(Protocol):
    """Answers one call: the server's own predictor."""

    signature: Signature

    def predict(self, call: Call) -> Result:
        """Check the call and run the model."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """Predictions of the rows that have one."""

    columns: dict[str, pa.Array]
    good: Numbers
    """Positions of these rows among those that were asked for."""
    rejected: tuple[Rejected, ...]


class Scorer:
    """Runs one model over rows."""

    def __init__(self, predictor: Predicting) -> None:
        self._predictor = predictor
        self._signature = predictor.signature
        self._fixed = _fixed_rows(self._signature)
        self.run_rows = self._fixed or _run_rows(self._signature)

    def score(self, tensors: Mapping[str, Tensor], numbers: Numbers) -> Scored:
        """Predict all rows; ``numbers`` are their numbers in the chunk, for those that are rejected."""
        results: list[tuple[Numbers, dict[str, Any]]] = []
        rejected: list[Rejected] = []
        for low in range(0, len(numbers), self.run_rows):
            positions = np.arange(low, min(low + self.run_rows, len(numbers)))
            self._run(tensors, positions, numbers, results, rejected)
        good = np.concatenate([positions for positions, _ in results]) if results else np.empty(0, np.int64)
        columns: dict[str, pa.Array] = {}
        for name in self._signature.output_names if results else ():
            columns.update(_columns(name, [outputs[name] for _, outputs in results]))
        return Scored(columns, good, tuple(rejected))

    def _run(
        self,
        tensors: Mapping[str, Tensor],
        positions: Numbers,
        numbers: Numbers,
        results: list[tuple[Numbers, dict[str, Any]]],
        rejected: list[Rejected],
    ) -> None:
        try:
            results.append((positions, self._predict(tensors, positions)))
        except RequestError as error:
            if len(positions) == 1:
                number = int(numbers[positions[0]])
                rejected.append(Rejected(number, error.field, str(error), type(error).__name__))
                return
            half = len(positions) // 2
            for part in (positions[:half], positions[half:]):
                self._run(tensors, part, numbers, results, rejected)

    def _predict(self, tensors: Mapping[str, Tensor], positions: Numbers) -> dict[str, Any]:
        low, high = int(positions[0]), int(positions[-1]) + 1
        part = {name: tensor[low:high] for name, tensor in tensors.items()}
        if self._fixed and high - low < self._fixed:
            part = {name: _padded(tensor, self._fixed) for name, tensor in part.items()}
        result = self._predictor.predict(Call(part))
        return {name: _rows_of(name, value, high - low, self._fixed) for name, value in result.outputs.items()}


def _fixed_rows(signature: Signature) -> int | None:
    """Return the number of rows that the model always takes; ``None`` when it is free."""
    sizes = {spec.dimensions[0] for spec in signature.inputs if spec.dimensions and not spec.has_batch}
    if len(sizes) > 1 or any(not spec.dimensions for spec in signature.inputs):
        raise InvalidBatch(
            "The model's inputs have no common first dimension that counts rows, so it can't score rows."
        )
    size = sizes.pop() if sizes else None
    return size if isinstance(size, int) else None


def _run_rows(signature: Signature) -> int:
    if any(spec.row_width == -1 for spec in signature.inputs):
        # Rows of different sizes can't stand in one tensor.
        return 1
    values = sum(spec.row_width for spec in signature.inputs)
    return max(1, min(_MOST_ROWS, _MOST_VALUES // max(values, 1)))


def _padded(tensor: Tensor, rows: int) -> Tensor:
    return np.concatenate([tensor, np.repeat(tensor[-1:], rows - len(tensor), axis=0)])


def _rows_of(name: str, value: Any, rows: int, fixed: int | None) -> Any:
    """Return an output's own rows, without those that only filled up a fixed size."""
    expected = fixed or rows
    if (isinstance(value, np.ndarray) and value.ndim == 0) or len(value) != expected:
        raise InvalidBatch(f"Output {name!r} of the model does not have one entry a row, so it can't score rows.")
    return value[:rows]


def _columns(name: str, parts: Sequence[Any]) -> dict[str, pa.Array]:
    """Make an output's columns: one, or one for each key when the model gives maps."""
    if isinstance(parts[0], np.ndarray):
        return {name: _array(np.concatenate(parts) if len(parts) > 1 else parts[0])}
    values = [value for part in parts for value in part]
    if isinstance(values[0], dict):
        return {f"{name}_{key}": pa.array([row.get(key) for row in values]) for key in values[0]}
    return {name: pa.array(values)}


def _array(values: Tensor) -> pa.Array:
    rows, width = len(values), math.prod(values.shape[1:])
    flat = np.ascontiguousarray(values).reshape(-1)
    if values.dtype.kind == "O":
        array = pa.array([_text(value) for value in flat.tolist()], pa.string())
    else:
        array = pa.array(flat.astype(np.float32) if values.dtype == np.float16 else flat)
    return array if width == 1 and len(array) == rows else pa.FixedSizeListArray.from_arrays(array, width)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
