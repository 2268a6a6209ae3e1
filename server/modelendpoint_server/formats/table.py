"""Rows of cells with or without column names, as CSV and data frames have them, to a model's inputs."""

from collections.abc import Sequence
from typing import Any

from modelendpoint_server.errors import InvalidRequest
from modelendpoint_server.formats.values import to_tensor
from modelendpoint_server.signature import Signature, Tensor, TensorSpec

Row = Sequence[Any]


def takes_columns(signature: Signature) -> bool:
    """Tell whether each input of the model is one column, as converters make them from a data frame."""
    return len(signature.inputs) > 1 and all(spec.row_width == 1 for spec in signature.inputs)


def known_columns(signature: Signature) -> tuple[str, ...]:
    """Name the columns in the model's order; empty when the model does not tell."""
    if takes_columns(signature):
        return tuple(spec.name for spec in signature.inputs)
    return signature.columns


def to_inputs(
    rows: Sequence[Row], signature: Signature, *, columns: Sequence[str] | None, null_is_nan: bool
) -> dict[str, Tensor]:
    """Convert rows; with column names, in the model's order whatever the order they came in."""
    _check_widths(rows, signature, columns=columns)
    order = _order(columns, known_columns(signature)) if columns is not None else None
    if order is not None:
        rows = [[row[index] for index in order] for row in rows]
    if takes_columns(signature):
        return {
            spec.name: _shaped(to_tensor([row[index] for row in rows], spec, null_is_nan=null_is_nan), spec)
            for index, spec in enumerate(signature.inputs)
        }
    spec = the_only_input(signature)
    return {spec.name: _shaped(to_tensor([list(row) for row in rows], spec, null_is_nan=null_is_nan), spec)}


def the_only_input(signature: Signature) -> TensorSpec:
    """Return the input that takes whole rows; raise ``InvalidRequest`` when there are several."""
    if signature.only_input is None:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise InvalidRequest(f"The model has several inputs ({names}); send each by name.")
    return signature.only_input


def _shaped(tensor: Tensor, spec: TensorSpec) -> Tensor:
    """Give rows of cells the shape of the input's rows, when the number of values allows it."""
    if len(spec.dimensions) != tensor.ndim and -1 not in spec.row_shape:
        return tensor.reshape([-1, *spec.row_shape]) if tensor.size else tensor.reshape([0, *spec.row_shape])
    return tensor


def _check_widths(rows: Sequence[Row], signature: Signature, *, columns: Sequence[str] | None) -> None:
    expected = _expected_width(signature)
    if columns is not None and (expected == -1 or known_columns(signature)):
        expected = len(columns)
    if columns is not None and len(columns) != expected:
        raise InvalidRequest(f"There are {len(columns)} column names for rows of {expected} values.", field="columns")
    for number, row in enumerate(rows):
        if expected == -1:
            expected = len(row)
        if len(row) != expected:
            raise InvalidRequest(f"Row {number} has {len(row)} values; {expected} are expected.")


def _expected_width(signature: Signature) -> int:
    if takes_columns(signature):
        return len(signature.inputs)
    return the_only_input(signature).row_width


def _order(columns: Sequence[str], known: Sequence[str]) -> list[int] | None:
    """Find each of the model's columns among those that came; ``None`` when the model does not name its own."""
    if not known:
        return None
    if len(set(columns)) != len(columns):
        twice = next(name for name in columns if list(columns).count(name) > 1)
        raise InvalidRequest(f"Column {twice!r} is there twice.", field=twice)
    for name in known:
        if name not in columns:
            raise InvalidRequest(f"Column {name!r} is missing; the model takes {', '.join(known)}.", field=name)
    for name in columns:
        if name not in known:
            raise InvalidRequest(f"Column {name!r} is unknown; the model takes {', '.join(known)}.", field=name)
    return [list(columns).index(name) for name in known]
