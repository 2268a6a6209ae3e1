"""CSV files of the input: their header, and their chunks to rows."""

import csv
import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from modelendpoint_server.batch.columns import Selection
from modelendpoint_server.batch.decoding import RecordDecoder
from modelendpoint_server.batch.errors import InvalidInput
from modelendpoint_server.batch.rows import Decoded
from modelendpoint_server.batch.splitting import BYTE_ORDER_MARK, has_stray_returns, record_ends, split_records
from modelendpoint_server.errors import InvalidRequest
from modelendpoint_server.formats import quick
from modelendpoint_server.formats.csv_rows import parse_cell
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.signature import Tensor, TensorSpec

_TYPES = {"f": pa.float64(), "i": pa.int64(), "u": pa.uint64(), "b": pa.bool_(), "O": pa.string()}
_ROOM = 1024
"""More than a chunk: pyarrow reads it as one block, whatever it holds."""


def read_header(beginning: bytes, *, shown: str) -> tuple[tuple[str, ...], int]:
    """Return the column names of a file and the number of bytes that they take; the beginning holds the first line."""
    ends = record_ends(beginning, quotes=True)
    end = int(ends[0]) if len(ends) else len(beginning)
    try:
        line = beginning[:end].decode("utf-8")
        lines = list(csv.reader(io.StringIO(line.rstrip("\r\n"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"The first line of {shown} is no CSV in UTF-8 ({error}). Correct the file.") from error
    if len(lines) > 1:
        raise InvalidInput(
            f"The lines of {shown} end with carriage returns alone, as on very old Macs. Write a newline behind each."
        )
    names = [name.strip() for name in (lines[0] if lines else [])]
    numbers = [name for name in names if _is_number(name)]
    if not any(names) or numbers:
        found = f"has {numbers[0]!r} among them" if numbers else "is empty"
        raise InvalidInput(
            f"The first line of {shown} must hold the names of the columns, but {found}. Put a line of names before the"
            " data."
        )
    return tuple(names), end


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def csv_decoder(header: Sequence[str], selection: Selection, limits: Limits, *, typed_join: bool) -> RecordDecoder:
    """Make the decoder of the files with this header.

    With ``typed_join`` a column that the model gets and that is carried too is a column of numbers; otherwise it is
    carried as the text that it was.
    """
    return _CsvFiles(header, selection, limits, typed_join=typed_join).decoder()


class _CsvFiles:
    def __init__(self, header: Sequence[str], selection: Selection, limits: Limits, *, typed_join: bool) -> None:
        self._header = list(header)
        self._limits = limits
        self._specs = {name: binding.spec for binding in selection.bindings for name in binding.columns}
        self._kept = selection.kept
        self._as_text = frozenset(self._specs) & frozenset(self._kept) if not typed_join else frozenset()
        self._schema = pa.schema([(name, self._type(name)) for name in dict.fromkeys([*self._specs, *self._kept])])
        self._positions = {name: index for index, name in enumerate(self._header)}
        self._quick_binding = _quick_binding(selection) if not self._kept else None

    def decoder(self) -> RecordDecoder:
        return RecordDecoder(self._quick, self._strict, functools.partial(split_records, quotes=True), self._schema)

    def _type(self, name: str) -> pa.DataType:
        if name in self._as_text or name not in self._specs:
            return pa.string()
        return _TYPES[self._specs[name].dtype.kind]

    def _quick(self, chunk: bytes) -> Decoded | None:
        if chunk.startswith(BYTE_ORDER_MARK) or has_stray_returns(chunk):
            return None
        if self._quick_binding is not None and (tensor := self._matrix(chunk, *self._quick_binding)) is not None:
            rows = len(tensor)
            nothing = pa.table({"": pa.nulls(rows)})
            return Decoded(rows, np.arange(rows), nothing, tensors={self._quick_binding[0].name: tensor})
        return self._table(chunk)

    def _matrix(self, chunk: bytes, spec: TensorSpec, columns: tuple[str, ...]) -> Tensor | None:
        """Read numbers only, in the server's own quick way."""
        matrix = quick.matrix_of_lines(chunk, spec)
        if matrix is None or matrix.shape[1] != len(self._header):
            return None
        order = [self._positions[name] for name in columns]
        return matrix if order == list(range(matrix.shape[1])) else np.ascontiguousarray(matrix[:, order])

    def _table(self, chunk: bytes) -> Decoded | None:
        if not chunk.strip(b"\r\n"):
            return Decoded(0, np.empty(0, np.int64), self._schema.empty_table())
        try:
            table = pyarrow.csv.read_csv(
                pa.py_buffer(chunk),
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False, block_size=len(chunk) + _ROOM, column_names=self._header
                ),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=b'"' in chunk),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=self._schema,
                    include_columns=self._schema.names,
                    null_values=[""],
                    strings_can_be_null=False,
                    true_values=["true", "True", "TRUE", "1"],
                    false_values=["false", "False", "FALSE", "0"],
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError):
            return None
        for name in self._as_text:
            try:
                table.column(name).cast(_TYPES[self._specs[name].dtype.kind])
            except pa.ArrowInvalid:
                return None
        return Decoded(len(table), np.arange(len(table)), table)

    def _strict(self, record: bytes) -> dict[str, Any]:
        try:
            text = record.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"The row is not UTF-8 at its byte {error.start}.") from error
        try:
            text = text.removesuffix("\n").removesuffix("\r")
            rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        except csv.Error as error:
            raise InvalidRequest(f"The row is not CSV as of RFC 4180: {error}.") from error
        if len(rows) != 1 or text.endswith("\r"):
            raise InvalidRequest(
                "The row has a carriage return in it that is no end of a line. Put it in quotes, or write a newline behind it."
            )
        if len(rows[0]) != len(self._header):
            raise InvalidRequest(f"The row has {len(rows[0])} values; the header has {len(self._header)}.")
        return {name: self._cell(name, rows[0][self._positions[name]]) for name in self._schema.names}

    def _cell(self, name: str, text: str) -> Any:
        spec = self._specs.get(name)
        if spec is None:
            return text
        try:
            value = parse_cell(text, spec, "The value", self._limits)
        except InvalidRequest as error:
            raise InvalidRequest(str(error), field=name) from error
        return text if name in self._as_text else value


def _quick_binding(selection: Selection) -> tuple[TensorSpec, tuple[str, ...]] | None:
    """Return the tensor and its columns, when they are all there is and a matrix of numbers can be it."""
    if len(selection.bindings) != 1 or selection.bindings[0].is_whole:
        return None
    binding = selection.bindings[0]
    return (binding.spec, binding.columns) if len(binding.spec.dimensions) == 2 else None
