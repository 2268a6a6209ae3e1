"""Arrow columns to a model's inputs, whole columns at a time, with the same rules as for requests.

A value that does not fit costs its row, not the others.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from modelendpoint_server.batch.columns import Binding
from modelendpoint_server.batch.rows import Numbers, Rejected
from modelendpoint_server.signature import Tensor, TensorSpec, all_finite

_KINDS = {"b": "true or false", "i": "a whole number", "u": "a whole number", "f": "a number", "O": "a string"}
Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Tensors of the rows that fit."""

    tensors: dict[str, Tensor]
    numbers: Numbers
    good: Mask | None
    """Which rows of the table they are; ``None``: all."""
    rejected: tuple[Rejected, ...]


def takes_type(binding: Binding, kind: pa.DataType) -> bool:
    """Tell whether a column of this type can hold values of the input."""
    return _fits(binding.spec.dtype.kind, kind, is_whole=binding.is_whole)


def _fits(target: str, kind: pa.DataType, *, is_whole: bool) -> bool:
    if pa.types.is_dictionary(kind):
        return _fits(target, kind.value_type, is_whole=is_whole)
    if pa.types.is_null(kind):
        return True
    if _is_list(kind):
        return is_whole and _fits(target, kind.value_type, is_whole=True)
    if is_whole and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)):
        return target in "fiub"
    if target == "O":
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
    if target == "b":
        return bool(pa.types.is_boolean(kind))
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def to_inputs(table: pa.Table, bindings: Sequence[Binding], numbers: Numbers, *, null_is_nan: bool) -> Inputs:
    """Convert; rows with a value that does not fit are left out and told."""
    tensors: dict[str, Tensor] = {}
    bad = np.zeros(len(table), bool)
    reasons: dict[int, Rejected] = {}
    for binding in bindings:
        make = _whole if binding.is_whole else _stacked
        tensors[binding.spec.name] = make(table, binding, _Complaints(bad, reasons, numbers), null_is_nan=null_is_nan)
    if not bad.any():
        return Inputs(tensors, numbers, None, ())
    good = ~bad
    rejected = tuple(reasons[row] for row in np.flatnonzero(bad).tolist())
    return Inputs({name: tensor[good] for name, tensor in tensors.items()}, numbers[good], good, rejected)


class _Complaints:
    """Collects bad rows, with the first reason of each."""

    def __init__(self, bad: Mask, reasons: dict[int, Rejected], numbers: Numbers) -> None:
        self._bad = bad
        self.reasons = reasons
        self._numbers = numbers

    def add(self, rows: NDArray[np.intp], column: str, reasons: Sequence[str]) -> None:
        for row, reason in zip(rows.tolist(), reasons, strict=True):
            if not self._bad[row]:
                self._bad[row] = True
                self.reasons[row] = Rejected(int(self._numbers[row]), column, reason, "InvalidRequest")


def _stacked(table: pa.Table, binding: Binding, complaints: _Complaints, *, null_is_nan: bool) -> Tensor:
    """Put one column beside the other."""
    spec = binding.spec
    tensor = np.empty((len(table), len(binding.columns)), dtype=spec.dtype)
    wide: list[tuple[int, NDArray[Any]]] = []
    for index, name in enumerate(binding.columns):
        values = _values(table.column(name), spec, name, complaints, null_is_nan=null_is_nan)
        with np.errstate(over="ignore", invalid="ignore"):
            tensor[:, index] = values
        wide.append((index, values))
    if spec.is_float and not all_finite(tensor):
        for index, values in wide:
            _look_for_non_finite(tensor[:, index], values, binding.columns[index], spec, complaints, null_is_nan)
    return tensor.reshape([len(table), *spec.row_shape]) if -1 not in spec.row_shape else tensor


def _values(
    column: pa.ChunkedArray, spec: TensorSpec, name: str, complaints: _Complaints, *, null_is_nan: bool
) -> NDArray[Any]:
    """Return a column's values in a type that holds them all; where one is missing or does not fit, some value."""
    array = _combined(column)
    if array.null_count:
        array = _without_nulls(array, spec, name, complaints, null_is_nan=null_is_nan)
    kind = spec.dtype.kind
    if kind == "O":
        array = array.cast(pa.string())
    values: NDArray[Any] = (array.cast(pa.float64()) if pa.types.is_decimal(array.type) else array).to_numpy(
        zero_copy_only=False
    )
    if kind in "iu":
        _look_for_misfits(values, spec, name, complaints)
    return values


def _combined(column: pa.ChunkedArray) -> pa.Array:
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if isinstance(array, pa.DictionaryArray) else array


def _without_nulls(
    array: pa.Array, spec: TensorSpec, name: str, complaints: _Complaints, *, null_is_nan: bool
) -> pa.Array:
    if spec.is_float and null_is_nan:
        return array.cast(pa.float64()).fill_null(float("nan"))
    rows = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))
    complaints.add(rows, name, [f"is missing; {_expected(spec)}"] * len(rows))
    if pa.types.is_null(array.type):
        array = array.cast(pa.string() if spec.dtype.kind == "O" else pa.float64())
    filler: object = "" if spec.dtype.kind == "O" else (False if spec.dtype.kind == "b" else 0)
    return pc.fill_null(array, pa.scalar(filler).cast(array.type))


def _look_for_misfits(values: NDArray[Any], spec: TensorSpec, name: str, complaints: _Complaints) -> None:
    """Find numbers that are not whole or beyond the integer type."""
    limits = np.iinfo(spec.dtype)
    with np.errstate(invalid="ignore"):
        is_bad = (values < limits.min) | (values > limits.max)
        if values.dtype.kind == "f":
            # 2**63 as a float is one beyond the largest int64, yet compares equal to it.
            is_bad |= ~(np.floor(values) == values) | (values >= float(limits.max) + 1)
    rows = np.flatnonzero(is_bad)
    complaints.add(rows, name, [f"is {values[row]}; {_expected(spec)}" for row in rows])
    if len(rows) and values.flags.writeable:
        values[rows] = 0


def _look_for_non_finite(
    narrow: Tensor,
    values: NDArray[Any],
    name: str,
    spec: TensorSpec,
    complaints: _Complaints,
    null_is_nan: bool,
) -> None:
    is_bad = ~np.isfinite(narrow)
    if null_is_nan:
        is_bad &= np.isfinite(values)
    rows = np.flatnonzero(is_bad)
    complaints.add(
        rows,
        name,
        [
            f"is {values[row]}, which {spec.datatype} can't hold"
            if np.isfinite(values[row])
            else f"is {values[row]};"
            " only finite numbers are taken (MODELENDPOINT_NON_FINITE=Allow passes NaN on to the model)"
            for row in rows
        ],
    )


def _whole(table: pa.Table, binding: Binding, complaints: _Complaints, *, null_is_nan: bool) -> Tensor:
    """Take a column that holds a row of the tensor in each cell: a list, lists of lists, or raw bytes."""
    spec, name = binding.spec, binding.columns[0]
    array = _combined(table.column(name))
    if not _is_list(array.type) and spec.dtype.kind != "O":
        return _raw(array, spec, name, complaints)
    widths = _widths(array)
    width = spec.row_width if spec.row_width != -1 else (int(widths[0]) if len(widths) else 0)
    is_bad = widths != width
    rows = np.flatnonzero(is_bad)
    complaints.add(
        rows, name, [f"has {int(widths[row])} values; the model takes {spec.row_shape} of a row" for row in rows]
    )
    good = np.flatnonzero(~is_bad)
    flat = array if not len(rows) else array.take(pa.array(good))
    while _is_list(flat.type):
        flat = flat.flatten()
    inner = _Complaints(np.zeros(len(flat), bool), {}, np.arange(len(flat)))
    values = _values(pa.chunked_array([flat]), spec, name, inner, null_is_nan=null_is_nan)
    tensor = np.empty(len(values), dtype=spec.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        tensor[:] = values
    if spec.is_float and not all_finite(tensor):
        _look_for_non_finite(tensor, values, name, spec, inner, null_is_nan)
    for position, rejected in sorted(inner.reasons.items()):
        complaints.add(good[[position // max(width, 1)]], name, [rejected.reason])
    shape = spec.row_shape if -1 not in spec.row_shape else [width]
    result = np.zeros((len(table), *shape), dtype=spec.dtype)
    result[good] = tensor.reshape(len(good), *shape)
    return result


def _widths(array: pa.Array) -> NDArray[np.int64]:
    """Count the values of each cell, whatever the nesting; -1 for an empty cell."""
    lengths = np.asarray(pc.list_value_length(array).fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    inner = array.flatten()
    if not _is_list(inner.type):
        return lengths
    sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(_widths(inner))])
    ends = np.cumsum(np.maximum(lengths, 0))
    counted = sums[ends] - sums[ends - np.maximum(lengths, 0)]
    return np.where(lengths < 0, -1, counted)


def _raw(array: pa.Array, spec: TensorSpec, name: str, complaints: _Complaints) -> Tensor:
    """Take cells that hold the bytes of a row, little-endian in the tensor's own type."""
    size = spec.row_width * spec.dtype.itemsize
    lengths = np.asarray(pc.binary_length(array).fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    rows = np.flatnonzero(lengths != size)
    complaints.add(
        rows,
        name,
        [f"has {int(lengths[row])} bytes; {size} are a row of {spec.datatype}{spec.row_shape}" for row in rows],
    )
    good = np.flatnonzero(lengths == size)
    result = np.zeros((len(array), *spec.row_shape), dtype=spec.dtype)
    if len(good):
        data = b"".join(array.take(pa.array(good)).to_pylist())
        result[good] = np.frombuffer(data, spec.dtype).reshape(len(good), *spec.row_shape)
    return result


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _expected(spec: TensorSpec) -> str:
    return f"{_KINDS[spec.dtype.kind]} is expected ({spec.datatype})"
