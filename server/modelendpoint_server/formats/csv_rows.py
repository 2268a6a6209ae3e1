"""CSV (RFC 4180), with or without a header line, to a model's inputs, and outputs to CSV."""

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import Any

import orjson

from modelendpoint_server.errors import InvalidRequest, NotAcceptable
from modelendpoint_server.formats import json_body, quick, table
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.formats.values import read_back
from modelendpoint_server.inference import Call, Result
from modelendpoint_server.signature import Signature, TensorSpec

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII)
_LONGEST_WHOLE = 400
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def decode(body: bytes, signature: Signature, limits: Limits, *, header: bool | None = None) -> Call:
    """Decode rows; ``header`` is what the content type says, ``None``: the first line is one if it is no data."""
    spec = signature.only_input
    if header is not True and spec is not None and (tensor := quick.matrix_of_lines(body, spec)) is not None:
        return Call({spec.name: tensor}, is_checked=spec.accepts(tensor.shape))
    rows = _read(body)
    columns = None
    if rows and (header or (header is None and _is_header(rows[0], _specs(None, len(rows[0]), signature)))):
        columns, rows = [name.strip() for name in rows[0]], rows[1:]
    limits.check_rows(len(rows))
    cells = [_cells(number, row, _specs(columns, len(row), signature), limits) for number, row in enumerate(rows)]
    return Call(table.to_inputs(cells, signature, columns=columns, null_is_nan=limits.null_is_nan))


def encode(result: Result, *, header: bool = True) -> bytes:
    """Write one line a row, one column a value; a wide output's columns are numbered from 0."""
    columns: dict[str, list[Any]] = {}
    for name, value in result.outputs.items():
        columns.update(_columns(name, value, result.rows))
    out = io.StringIO()
    writer = csv.writer(out)
    if header:
        writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue().encode("utf-8", "replace")


def decode_answer(body: bytes, names: Sequence[str], signature: Signature, *, header: bool) -> dict[str, Any]:
    """Read what ``encode`` wrote of these outputs; raise ``InvalidRequest`` where widths leave open what is whose."""
    specs = {spec.name: spec for spec in signature.outputs}
    wanted = [specs[name] for name in names]
    lines = _read(body)[1 if header else 0 :]
    width = len(lines[0]) if lines else 0
    widths = [spec.row_width for spec in wanted]
    if len(wanted) == 1 and widths[0] == -1:
        widths = [width]
    if any(spec.kind != "tensor" for spec in wanted) or sum(widths) != width:
        raise InvalidRequest("CSV does not tell which of its columns belong to which output.")
    outputs, low = {}, 0
    for spec, own in zip(wanted, widths, strict=True):
        cells = [[_answered(text, spec) for text in line[low : low + own]] for line in lines]
        rest = spec.row_shape if -1 not in spec.row_shape else [own]
        outputs[spec.name] = read_back(cells, spec).reshape([len(lines), *rest])
        low += own
    return outputs


def _answered(text: str, spec: TensorSpec) -> Any:
    if spec.dtype.kind == "O":
        return text
    if spec.dtype.kind == "b":
        return _BOOLEANS[text.lower()]
    return (float(text) if text else None) if spec.is_float else int(text)


def _read(body: bytes) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The CSV is not UTF-8 at byte {error.start}.") from error
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise InvalidRequest(f"The body is not CSV as of RFC 4180: {error}.") from error


def _specs(columns: Sequence[str] | None, width: int, signature: Signature) -> list[TensorSpec]:
    """Find the tensor that each column of a line belongs to."""
    if not table.takes_columns(signature):
        return [table.the_only_input(signature)] * width
    if columns is not None:
        # Unknown names are refused later, with all their company.
        return [signature.by_name.get(name, signature.inputs[0]) for name in columns[:width]]
    return [signature.inputs[min(index, len(signature.inputs) - 1)] for index in range(width)]


def _is_header(row: list[str], specs: Sequence[TensorSpec]) -> bool:
    """Take a first line for a header when no cell of a column of numbers is one."""
    cells = [text.strip() for text, spec in zip(row, specs, strict=True) if spec.datatype != "BYTES"]
    return bool(cells) and not any(_is_data(text) for text in cells)


def _is_data(text: str) -> bool:
    return not text or text.lower() in _BOOLEANS or _NUMBER.fullmatch(text) is not None


def _cells(number: int, row: list[str], specs: list[TensorSpec], limits: Limits) -> list[Any]:
    # A row that is too long is reported with its length; its surplus cells belong to nothing.
    return [
        parse_cell(text, spec, f"Row {number}, column {column}", limits)
        for column, (text, spec) in enumerate(zip(row, specs, strict=False))
    ] + row[len(specs) :]


def parse_cell(text: str, spec: TensorSpec, place: str, limits: Limits) -> Any:
    """Read one cell; raise ``InvalidRequest`` with its place."""
    kind = spec.dtype.kind
    if kind == "O":
        return text
    text = text.strip()
    if not text and kind == "f" and limits.null_is_nan:
        return None
    if kind == "b" and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if kind in "iuf" and (kind == "f" or len(text) <= _LONGEST_WHOLE) and _NUMBER.fullmatch(text):
        return int(text) if kind in "iu" and text.lstrip("+-").isdigit() else float(text)
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    raise InvalidRequest(f"{place} is {shown!r}; input {spec.name!r} takes {spec.datatype}.", field=spec.name)


def _columns(name: str, value: Any, rows: int) -> dict[str, list[Any]]:
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return {f"{name}_{key}": [row.get(key) for row in value] for key in value[0]}
        return {name: value}
    if not hasattr(value, "shape") or value.shape[:1] != (rows,):
        raise NotAcceptable(
            f"Output {name!r} has no rows, so it can't be CSV. Accept application/json.", field="accept"
        )
    flat = value.reshape(rows, math.prod(value.shape[1:]))
    # By way of JSON a float32 gets its shortest text, not the 17 digits of the double that holds it.
    cells = orjson.loads(json_body.dump(flat.T))
    return {name: cells[0]} if len(cells) == 1 else {f"{name}_{index}": column for index, column in enumerate(cells)}
