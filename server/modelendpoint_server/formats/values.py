"""JSON or CSV values to arrays of a tensor's type, strictly, with the place of the first value that does not fit."""

from collections.abc import Callable
from typing import Any

import numpy as np

from modelendpoint_server.errors import InvalidRequest
from modelendpoint_server.signature import Tensor, TensorSpec

_KINDS = {"b": "true or false", "i": "a whole number", "u": "a whole number", "f": "a number", "O": "a string"}


def to_tensor(values: Any, spec: TensorSpec, *, null_is_nan: bool = False) -> Tensor:
    """Convert nested lists; raise ``InvalidRequest`` with the path of the first value that does not fit."""
    fits = _fitting(spec, null_is_nan=null_is_nan)
    if (path := _first_misfit(values, fits)) is not None:
        raise InvalidRequest(
            f"Input {spec.name!r} has {_shown(_at(values, path))} at {list(path)}; {_KINDS[spec.dtype.kind]} is expected"
            f" ({spec.datatype}).",
            field=spec.name,
        )
    try:
        tensor = np.array(values, dtype=_wide(spec, null_is_nan=null_is_nan))
    except ValueError as error:
        raise _ragged(values, spec) from error
    except OverflowError as error:
        raise InvalidRequest(f"Input {spec.name!r} has a number beyond {spec.datatype}.", field=spec.name) from error
    if spec.datatype == "BYTES" and not _is_regular(values, tensor.shape):
        raise _ragged(values, spec)
    return narrow(tensor, spec)


def narrow(tensor: Tensor, spec: TensorSpec) -> Tensor:
    """Bring wide numbers into the tensor's own type; raise ``InvalidRequest`` where one does not fit."""
    if tensor.dtype == spec.dtype:
        return tensor
    with np.errstate(over="ignore", invalid="ignore"):
        narrowed = tensor.astype(spec.dtype)
    beyond = np.isfinite(tensor) & ~np.isfinite(narrowed) if spec.is_float else narrowed != tensor
    if beyond.any():
        where = np.argwhere(beyond)[0].tolist()
        raise InvalidRequest(
            f"Input {spec.name!r} has {tensor[tuple(where)]} at {where}, which {spec.datatype} can't hold.",
            field=spec.name,
        )
    return narrowed


def read_back(values: Any, spec: TensorSpec) -> Tensor:
    """Convert nested lists from an answer of our own, where null stands for what JSON has no word for."""
    wide = np.float64 if spec.is_float else spec.dtype
    with np.errstate(over="ignore"):
        return np.array(values, dtype=wide).astype(spec.dtype, copy=False)


def _wide(spec: TensorSpec, *, null_is_nan: bool) -> Any:
    if spec.is_float or null_is_nan:
        return np.float64 if spec.is_float else spec.dtype
    return {"i": np.int64, "u": np.uint64}.get(spec.dtype.kind, spec.dtype)


def _fitting(spec: TensorSpec, *, null_is_nan: bool) -> Callable[[Any], bool]:
    kind = spec.dtype.kind
    if kind == "f":
        return _number_or_null if null_is_nan else _number
    return {"b": _boolean, "O": _string}.get(kind, _whole)


def _number(value: Any) -> bool:
    return type(value) is float or type(value) is int


def _number_or_null(value: Any) -> bool:
    return value is None or type(value) is float or type(value) is int


def _whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _boolean(value: Any) -> bool:
    return type(value) is bool


def _string(value: Any) -> bool:
    return type(value) is str


def _first_misfit(values: Any, fits: Callable[[Any], bool]) -> tuple[int, ...] | None:
    if not isinstance(values, list):
        return None if fits(values) else ()
    for index, value in enumerate(values):
        if isinstance(value, list):
            if (path := _first_misfit(value, fits)) is not None:
                return (index, *path)
        elif not fits(value):
            return (index,)
    return None


def _at(values: Any, path: tuple[int, ...]) -> Any:
    for index in path:
        values = values[index]
    return values


def _shown(value: Any) -> str:
    """Show a value as JSON would, short; the client's own data, but not all of it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "an object"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _ragged(values: Any, spec: TensorSpec) -> InvalidRequest:
    if isinstance(values, list) and values:
        width = _width(values[0])
        for row, value in enumerate(values):
            if _width(value) != width:
                return InvalidRequest(
                    f"Input {spec.name!r}: row {row} has {_width(value)} values, row 0 has {width}; the model takes"
                    f" {spec.shape}.",
                    field=spec.name,
                )
    return InvalidRequest(
        f"Input {spec.name!r} has lists of different lengths inside its rows; the model takes {spec.shape}.",
        field=spec.name,
    )


def _width(value: Any) -> int:
    return len(value) if isinstance(value, list) else 1


def _is_regular(values: Any, shape: tuple[int, ...]) -> bool:
    """Tell whether nested lists have this shape throughout; NumPy keeps ragged lists of objects as they are."""
    if not shape:
        return not isinstance(values, list)
    return isinstance(values, list) and len(values) == shape[0] and all(_is_regular(v, shape[1:]) for v in values)
