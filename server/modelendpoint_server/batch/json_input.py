"""JSON Lines of the input: the columns that a sample has, and chunks to rows."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json

from modelendpoint_server.batch.columns import Binding, Selection
from modelendpoint_server.batch.decoding import RecordDecoder
from modelendpoint_server.batch.errors import InvalidInput
from modelendpoint_server.batch.rows import Decoded
from modelendpoint_server.batch.splitting import BYTE_ORDER_MARK, split_records
from modelendpoint_server.errors import InvalidRequest
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.formats.values import to_tensor

_ROOM = 1024
_SAMPLE = 1000
_TYPES = {"f": pa.float64(), "i": pa.int64(), "u": pa.uint64(), "b": pa.bool_(), "O": pa.string()}
_KEPT = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "json": pa.string()}
_BARE_NULL = re.compile(rb"(?:\A|\})\s*null")
_NO_NUMBER = re.compile(rb"[:,\[]\s*-?(?:NaN|Inf)")
JSON_TEXT = {b"json": b"1"}
"""Metadata of a column whose strings are JSON themselves."""


def sample_columns(beginning: bytes, *, shown: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the keys of a file's first rows and the type of each, ``json`` for mixed and nested ones."""
    names: dict[str, str] = {}
    lines = split_records(beginning, quotes=False)[:_SAMPLE]
    for line in lines:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        for name, value in row.items() if isinstance(row, dict) else ():
            names[name] = _merged(names.get(name, "null"), _type_name(value))
    if not names:
        raise InvalidInput(
            f"The first {len(lines)} lines of {shown} are no JSON objects. Each line must be an object of values by column"
            " name."
        )
    return tuple(names), {name: "string" if kind == "null" else kind for name, kind in names.items()}


def _type_name(value: Any) -> str:
    kinds = {bool: "bool", int: "int64", float: "float64", str: "string", type(None): "null"}
    kind = kinds.get(type(value), "json")
    return "float64" if kind == "int64" and not -(2**63) <= value < 2**63 else kind


def _merged(one: str, other: str) -> str:
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    return "float64" if {one, other} == {"int64", "float64"} else "json"


def json_decoder(types: Mapping[str, str], selection: Selection, limits: Limits) -> RecordDecoder:
    """Make the decoder of JSON Lines with these types of carried columns."""
    return _JsonLines(types, selection, limits).decoder()


class _JsonLines:
    def __init__(self, types: Mapping[str, str], selection: Selection, limits: Limits) -> None:
        self._limits = limits
        self._bindings = {name: binding for binding in selection.bindings for name in binding.columns}
        self._kept = {name: types.get(name, "string") for name in selection.kept if name not in self._bindings}
        self._schema = pa.schema(
            [
                *((name, _feature_type(binding)) for name, binding in self._bindings.items()),
                *(
                    pa.field(name, _KEPT[kind], metadata=JSON_TEXT if kind == "json" else None)
                    for name, kind in self._kept.items()
                ),
            ]
        )
        # The quick way can't carry nested values as they are.
        self._is_quick = "json" not in self._kept.values()

    def decoder(self) -> RecordDecoder:
        return RecordDecoder(self._quick, self._strict, functools.partial(split_records, quotes=False), self._schema)

    def _quick(self, chunk: bytes) -> Decoded | None:
        if not chunk.strip(b"\r\n"):
            return Decoded(0, np.empty(0, np.int64), self._schema.empty_table())
        if not self._is_quick or chunk.startswith(BYTE_ORDER_MARK) or _is_odd(chunk):
            return None
        try:
            table = pyarrow.json.read_json(
                pa.BufferReader(chunk),
                read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(chunk) + _ROOM),
                parse_options=pyarrow.json.ParseOptions(
                    explicit_schema=self._schema, unexpected_field_behavior="ignore"
                ),
            )
            table = table.select(self._schema.names)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError, UnicodeDecodeError):
            return None
        if not self._limits.null_is_nan and any(table.column(name).null_count for name in self._bindings):
            return None
        lines = chunk.count(b"\n") + (not chunk.endswith(b"\n"))
        # Fewer rows than lines: empty lines, or one row over several; more: several rows on one line.
        return Decoded(len(table), np.arange(len(table)), table) if len(table) == lines else None

    def _strict(self, record: bytes) -> dict[str, Any]:
        try:
            row = orjson.loads(record)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"The line is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise InvalidRequest("The line is JSON, but no object of values by column name.")
        features = {name: self._feature(row, name, binding) for name, binding in self._bindings.items()}
        return {**features, **{name: _kept_value(row.get(name), name, kind) for name, kind in self._kept.items()}}

    def _feature(self, row: Mapping[str, Any], name: str, binding: Binding) -> Any:
        if row.get(name) is None:
            if self._limits.null_is_nan and binding.spec.is_float and not binding.is_whole:
                return None
            raise InvalidRequest("The value is null or missing.", field=name)
        try:
            tensor = to_tensor(row[name], binding.spec, null_is_nan=self._limits.null_is_nan)
        except InvalidRequest as error:
            raise InvalidRequest(str(error), field=name) from error
        if not binding.is_whole:
            if tensor.ndim:
                raise InvalidRequest("The value is a list; one value is expected.", field=name)
            return tensor.item()
        if binding.spec.row_width not in (-1, tensor.size):
            raise InvalidRequest(
                f"The value has {tensor.size} numbers; the model takes {binding.spec.row_shape} of a row.", field=name
            )
        return tensor.reshape(binding.spec.row_shape if -1 not in binding.spec.row_shape else -1).tolist()


def _is_odd(chunk: bytes) -> bool:
    """Tell whether pyarrow must not see this: a ``null`` where an object should be ends its process, and NaN is no JSON."""
    if b"null" in chunk and _BARE_NULL.search(chunk):
        return True
    # Looking for one letter is quick; most files have neither.
    may_be = (b"N" in chunk and b"NaN" in chunk) or (b"I" in chunk and b"Inf" in chunk)
    return may_be and bool(_NO_NUMBER.search(chunk))


def _feature_type(binding: Binding) -> pa.DataType:
    kind = _TYPES[binding.spec.dtype.kind]
    if binding.is_whole:
        for _ in range(max(1, len(binding.spec.row_shape))):
            kind = pa.list_(kind)
    return kind


def _kept_value(value: Any, name: str, kind: str) -> Any:
    if value is None:
        return None
    if kind == "json":
        return orjson.dumps(value).decode()
    fits: Sequence[type] = {"string": (str,), "int64": (int,), "float64": (float, int), "bool": (bool,)}[kind]
    if type(value) not in fits or (kind == "int64" and not -(2**63) <= value < 2**63):
        raise InvalidRequest(
            f"The value is {orjson.dumps(value).decode()[:40]}; the first rows have {kind}.", field=name
        )
    return float(value) if kind == "float64" else value
