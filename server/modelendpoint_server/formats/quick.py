"""The usual requests without one Python object for each number: simdjson reads them straight into arrays.

Every function returns ``None`` for whatever is not plain: the strict decoder then reads the same bytes again and either
understands them or says what is wrong. So nothing is refused here, and nothing is accepted that the strict one refuses.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import simdjson

from modelendpoint_server.signature import Tensor, TensorSpec, all_finite

_BUFFER_TYPES = {"f": ("d", np.float64), "i": ("i", np.int64), "u": ("u", np.uint64)}
_NUMBER_BYTES = b"0123456789.eE+- \t\r\n"
_WIDE_EXACT = ("FP64", "INT64", "UINT64")
_ROWS_KEY = b'{"instances":'.translate(None, delete=_NUMBER_BYTES)


class _Parsers(threading.local):
    """One parser a thread: it keeps its memory from one document to the next."""

    def __init__(self) -> None:
        self.parser = simdjson.Parser()


_PARSERS = _Parsers()


def parse(body: bytes) -> Any:
    """Parse a JSON object; ``None`` if simdjson does not like it. No result may outlive the request."""
    try:
        document = _PARSERS.parser.parse(body)
    except (ValueError, RuntimeError):
        return None
    return document if isinstance(document, simdjson.Object) else None


def instances(body: bytes, spec: TensorSpec) -> Tensor | None:
    """Read ``{"instances": [...]}`` with nothing beside it into the tensor."""
    if spec.dtype.kind not in _BUFFER_TYPES or not spec.has_batch:
        return None
    document = parse(body)
    if document is None or len(document) != 1:
        return None
    rows = document.get("instances")
    if not isinstance(rows, simdjson.Array) or len(rows) == 0:
        return None
    if len(spec.dimensions) == 2:
        return _matrix(rows, body.count(b"["), spec)
    return _nested(rows, body, spec) if len(spec.dimensions) > 2 else None


def matrix_of_lines(text: bytes, spec: TensorSpec) -> Tensor | None:
    """Read lines of numbers with commas between, as CSV without header, quotes or gaps has them."""
    if spec.dtype.kind not in _BUFFER_TYPES or len(spec.dimensions) != 2 or not spec.has_batch:
        return None
    lines = text.replace(b"\r\n", b"\n").strip(b"\n")
    # Brackets in the text would be taken for ours, and a carriage return, which ends a line in CSV, for a space.
    if not lines or b"[" in lines or b"{" in lines or b"\r" in lines:
        return None
    document = parse(b'{"instances":[[' + lines.replace(b"\n", b"],[") + b"]]}")
    return None if document is None else _matrix(document["instances"], lines.count(b"\n") + 2, spec)


def flat(data: Any, shape: Sequence[int], spec: TensorSpec) -> Tensor | None:
    """Read a flat list of numbers into a tensor of the given shape; the caller makes sure that no list is in it."""
    if spec.dtype.kind not in _BUFFER_TYPES or not isinstance(data, simdjson.Array) or not len(data):
        return None
    count = 1
    for size in shape:
        count *= size
    if len(data) != count or len(shape) != len(spec.dimensions):
        return None
    values = _values(data, spec)
    return None if values is None or values.size != count else _narrow(values.reshape(shape), spec)


def _matrix(rows: Any, brackets: int, spec: TensorSpec) -> Tensor | None:
    """Read rows of equal length; the number of brackets tells that no row holds further lists."""
    try:
        width = len(rows[0])
        for row in rows:
            if len(row) != width:
                return None
    except TypeError:
        return None
    values = _values(rows, spec)
    if values is None or brackets != len(rows) + 1 or values.size != len(rows) * width:
        return None
    return _narrow(values.reshape(len(rows), width), spec)


def _nested(rows: Any, body: bytes, spec: TensorSpec) -> Tensor | None:
    """Read deeper nesting; what is left of the text without its numbers tells that all lists are of equal length."""
    shape = [len(rows)]
    inner = rows[0]
    while isinstance(inner, simdjson.Array) and len(inner) and len(shape) < len(spec.dimensions):
        shape.append(len(inner))
        inner = inner[0]
    if body.translate(None, delete=_NUMBER_BYTES) != _ROWS_KEY + _skeleton(shape) + b"}":
        return None
    values = _values(rows, spec)
    # Without their numbers, lists of one look like empty ones; the count tells.
    return _narrow(values.reshape(shape), spec) if values is not None and values.size == math.prod(shape) else None


def _skeleton(shape: Sequence[int]) -> bytes:
    """Write nested lists of this shape without their numbers, as in ``[[,],[,]]``."""
    text = b""
    for size in reversed(shape):
        text = b"[" + b",".join([text] * size) + b"]"
    return text


def _values(array: Any, spec: TensorSpec) -> Tensor | None:
    kind, dtype = _BUFFER_TYPES[spec.dtype.kind]
    try:
        return np.frombuffer(array.as_buffer(of_type=kind), dtype=dtype)
    except (TypeError, ValueError, RuntimeError):
        return None


def _narrow(values: Tensor, spec: TensorSpec) -> Tensor | None:
    """Convert to the tensor's type; ``None`` where a number does not fit."""
    if spec.datatype in _WIDE_EXACT:
        return values
    try:
        narrowed = values.astype(spec.dtype)
    except RuntimeWarning:
        # NumPy warns of an overflow; where warnings are no errors, the look below finds it.
        return None
    fits = all_finite(narrowed) if spec.is_float else bool((narrowed == values).all())
    return narrowed if fits else None
