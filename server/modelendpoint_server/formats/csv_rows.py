"""CSV (RFC 4180), with or without a header line, to a model's inputs, and outputs to CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from modelendpoint_server.errors import InvalidRequest
from modelendpoint_server.formats import table
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.inference import Call, Result
from modelendpoint_server.signature import Signature, TensorSpec


def decode(body: bytes, signature: Signature, limits: Limits, *, header: bool | None = None) -> Call:
    """Decode rows; ``header`` is what the content type says, ``None``: the first line is one if it is no data."""
    rows = _read(body)
    specs = _column_specs(signature)
    columns = None
    if rows and (header or (header is None and _is_header(rows[0], specs))):
        columns, rows = [name.strip() for name in rows[0]], rows[1:]
    limits.check_rows(len(rows))
    names = columns if columns is not None and table.known_columns(signature) else None
    by_position = [_spec_at(specs, names, index, signature) for index in range(len(rows[0]) if rows else 0)]
    cells = [
        [_cell(text, by_position[min(i, len(by_position) - 1)], number, i, limits) for i, text in enumerate(row)]
        for number, row in enumerate(rows)
    ]
    return Call(table.to_inputs(cells, signature, columns=columns, null_is_nan=limits.null_is_nan))


def _read(body: bytes) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The CSV is not UTF-8 at byte {error.start}.") from error
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise InvalidRequest(f"The body is not CSV as of RFC 4180: {error}.") from error


def _column_specs(signature: Signature) -> Sequence[TensorSpec]:
    if table.takes_columns(signature):
        return signature.inputs
    return (table.the_only_input(signature),)


def _spec_at(specs: Sequence[TensorSpec], names: Sequence[str] | None, index: int, signature: Signature) -> TensorSpec:
    if names is not None and index < len(names):
        return signature.by_name.get(names[index], specs[0])
    return specs[min(index, len(specs) - 1)]


def _is_header(row: list[str], specs: Sequence[TensorSpec]) -> bool:
    """A first line is a header when no cell of a numeric column is a number."""
    numeric = [text for index, text in enumerate(row) if specs[min(index, len(specs) - 1)].datatype != "BYTES"]
    return bool(numeric) and not any(_is_number(text) for text in numeric)


def _is_number(text: str) -> bool:
    if not text.strip() or text.strip().lower() in ("true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cell(text: str, spec: TensorSpec, row: int, column: int, limits: Limits) -> Any:
    kind = spec.dtype.kind
    if kind == "O":
        return text
    stripped = text.strip()
    if not stripped and kind == "f" and limits.null_is_nan:
        return None
    if kind == "b" and stripped.lower() in ("true", "false", "0", "1"):
        return stripped.lower() in ("true", "1")
    try:
        return int(stripped) if kind in "iu" else float(stripped)
    except ValueError as error:
        shown = stripped if len(stripped) <= 40 else f"{stripped[:40]}…"
        raise InvalidRequest(
            f"Row {row}, column {column} is {shown!r}; input {spec.name!r} takes {spec.datatype}.", field=spec.name
        ) from error


def encode(result: Result, *, header: bool = True) -> str:
    """Write one line a row, one column a value; a wide output's columns are numbered from 0."""
    columns: dict[str, list[Any]] = {}
    for name, value in result.outputs.items():
        columns.update(_columns(name, value, result.rows))
    out = io.StringIO()
    writer = csv.writer(out)
    if header:
        writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()


def _columns(name: str, value: Any, rows: int) -> dict[str, list[Any]]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {f"{name}_{key}": [row.get(key) for row in value] for key in value[0]}
    flat = value if isinstance(value, list) else value.reshape(rows, -1) if value.shape[:1] == (rows,) else None
    if flat is None:
        raise InvalidRequest(f"Output {name!r} has no rows, so it can't be CSV. Accept application/json instead.")
    if isinstance(flat, list):
        return {name: flat}
    if flat.shape[1] == 1:
        return {name: flat[:, 0].tolist()}
    return {f"{name}_{index}": flat[:, index].tolist() for index in range(flat.shape[1])}
