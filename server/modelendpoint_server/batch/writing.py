"""Tables to the files of the output: CSV, JSON Lines or Parquet; the same bytes for the same tables.

Text is made from whole columns at a time, without a Python object for each value.
"""

import contextlib
import dataclasses
import hashlib
import io
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from modelendpoint_server.batch.errors import InvalidInput, StorageFull
from modelendpoint_server.batch.json_input import JSON_TEXT
from modelendpoint_server.batch.specification import Format

_GROUP_BYTES = 32 * 2**20
_GROUP_ROWS = 2**20
_SPECIAL = '["\\\\\\x00-\\x1f]'
"""Characters that JSON strings must escape."""


@dataclasses.dataclass(frozen=True)
class Written:
    """A finished file on this pod's disk."""

    path: Path
    rows: int
    bytes: int
    sha256: str


class PartWriter(Protocol):
    """Writes one file."""

    def write(self, table: pa.Table) -> None:
        """Add rows."""

    def finish(self) -> Written:
        """Close the file."""

    def abandon(self) -> None:
        """Close the file, whatever is in it; closed already is fine."""


def open_writer(kind: Format, path: Path) -> PartWriter:
    """Open the writer of a format."""
    return _ParquetWriter(path) if kind is Format.PARQUET else TextWriter(path, kind)


def encode(kind: Format, table: pa.Table) -> bytes:
    """Write rows as text, without a header line."""
    return _csv(table) if kind is Format.CSV else json_lines(table)


def header_of(kind: Format, table: pa.Table) -> bytes:
    """Write what a file of text begins with."""
    if kind is not Format.CSV:
        return b""
    names = pa.table({str(n): pa.array([name]) for n, name in enumerate(_flat(table).column_names)})
    return _csv_text(names)


class TextWriter:
    """Appends text that was encoded elsewhere, or encodes it."""

    def __init__(self, path: Path, kind: Format) -> None:
        self._path = path
        self._kind = kind
        self._file = open(path, "xb")  # noqa: SIM115  closed by ``finish``
        self._rows = self._bytes = 0
        self._digest = hashlib.sha256()

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self.append(header_of(self._kind, table), encode(self._kind, table), len(table))

    def append(self, header: bytes, text: bytes, rows: int) -> None:
        """Add encoded rows; the header goes only before the first."""
        self._put(text if self._bytes else header + text)
        self._rows += rows

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise disk_full(error) from error
        self._digest.update(data)
        self._bytes += len(data)

    def finish(self) -> Written:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:
            raise disk_full(error) from error
        return Written(self._path, self._rows, self._bytes, self._digest.hexdigest())

    def abandon(self) -> None:
        """Close the file, whatever is in it."""
        with contextlib.suppress(OSError):
            self._file.close()


class _ParquetWriter:
    """Gathers rows to row groups of a good size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = self._waiting_rows = self._rows = 0

    def write(self, table: pa.Table) -> None:
        self._rows += len(table)
        self._schema = self._schema or table.schema
        self._waiting.append(_as(table, self._schema))
        self._waiting_bytes += table.nbytes
        self._waiting_rows += len(table)
        if self._waiting_bytes >= _GROUP_BYTES or self._waiting_rows >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        try:
            if self._writer is None:
                self._writer = pyarrow.parquet.ParquetWriter(self._path, table.schema, compression="zstd")
            self._writer.write_table(table, row_group_size=_GROUP_ROWS)
        except OSError as error:
            raise disk_full(error) from error
        self._waiting, self._waiting_bytes, self._waiting_rows = [], 0, 0

    def finish(self) -> Written:
        self._flush()
        try:
            if self._writer is not None:
                self._writer.close()
        except OSError as error:
            raise disk_full(error) from error
        with open(self._path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Written(self._path, self._rows, self._path.stat().st_size, digest)

    def abandon(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Bring rows of a second file into the types of the first."""
    if table.schema.equals(schema):
        return table
    try:
        return table.cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise InvalidInput(
            f"Files of the input have other types in columns that are carried to the output: {error}. Convert them, or"
            " write another format than Parquet."
        ) from error


def disk_full(error: OSError) -> StorageFull:
    """Say that the pod's disk takes no more."""
    return StorageFull(
        f"The pod's disk can't be written to ({error.strerror or error}). Give the run more ephemeral storage or smaller"
        " shards."
    )


def _flat(table: pa.Table) -> pa.Table:
    """Give every value of a wide column a column of its own, numbered from 0."""
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_fixed_size_list(column.type):
            columns[name] = column
            continue
        width = column.type.list_size
        # A slice of a list keeps all values beneath; ``flatten`` heeds it, and no cell is null here.
        values = pa.concat_arrays([chunk.flatten() for chunk in column.chunks])
        for index in range(width):
            columns[f"{name}_{index}"] = values.take(pa.array(range(index, len(values), width)))
    return pa.table(columns)


def _csv(table: pa.Table) -> bytes:
    flat = _flat(table)
    plain = [_csv_column(column) for column in flat.columns]
    return _csv_text(pa.table(plain, names=flat.column_names))


def _csv_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_list(column.type) or pa.types.is_struct(column.type) or pa.types.is_large_list(column.type):
        return pa.chunked_array([[_dump(value) for value in column.to_pylist()]], pa.string())
    if pa.types.is_binary(column.type) or pa.types.is_decimal(column.type):
        return column.cast(pa.string())
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _csv_text(table: pa.Table) -> bytes:
    """Write lines; quotes only where some text needs them."""
    for quoting in ("none", "needed"):
        out = io.BytesIO()
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style=quoting)
        try:
            pyarrow.csv.write_csv(table, out, options)
        except pa.ArrowInvalid:
            continue
        return out.getvalue()
    raise AssertionError("pyarrow refuses to quote")


def json_lines(table: pa.Table) -> bytes:
    """Write one object a line, from whole columns."""
    if not len(table):
        return b""
    parts: list[Any] = []
    for number, name in enumerate(table.column_names):
        lead = "{" if number == 0 else ","
        parts += [pa.scalar(f"{lead}{_dump(name)}:"), _json_texts(table.column(name), table.schema.field(name))]
    lines = pc.binary_join_element_wise(*parts, pa.scalar("}\n"), "")
    chunks = lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]
    return b"".join(_joined(chunk) for chunk in chunks)


def _joined(strings: pa.Array) -> bytes:
    """Return all strings of an array as they lie one behind the other in memory."""
    offsets, data = strings.buffers()[1:]
    places = memoryview(offsets).cast("q" if pa.types.is_large_string(strings.type) else "i")
    return bytes(memoryview(data)[places[strings.offset] : places[strings.offset + len(strings)]])


def _json_texts(column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    """Write each value of a column as JSON."""
    array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    if field.metadata and JSON_TEXT.items() <= field.metadata.items():
        return pc.fill_null(array, "null")
    kind = array.type
    if pa.types.is_fixed_size_list(kind) and _is_number(kind.value_type):
        return _number_lists(array)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _strings(array)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return pc.fill_null(array.cast(pa.string()), "null")
    if pa.types.is_floating(kind):
        return _floats(array)
    return pa.array([_dump(value) for value in array.to_pylist()], pa.string())


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _floats(array: pa.Array) -> pa.Array:
    """Write numbers; NaN and infinities become null, as JSON has no word for them."""
    texts = array.cast(pa.string())
    return pc.fill_null(
        pc.if_else(pc.fill_null(pc.is_finite(array), False), texts, pa.scalar(None, pa.string())), "null"
    )


def _strings(array: pa.Array) -> pa.Array:
    array = array.cast(pa.string())
    if pc.any(pc.match_substring_regex(array, _SPECIAL)).as_py():
        return pa.array([_dump(value) for value in array.to_pylist()], pa.string())
    quote = pa.scalar('"')
    return pc.fill_null(pc.binary_join_element_wise(quote, array, quote, ""), "null")


def _number_lists(array: pa.FixedSizeListArray) -> pa.Array:
    values = array.flatten()
    texts = _floats(values) if pa.types.is_floating(values.type) else values.cast(pa.string())
    lists = pa.FixedSizeListArray.from_arrays(texts, array.type.list_size).cast(pa.list_(pa.string()))
    return pc.binary_join_element_wise(pa.scalar("["), pc.binary_join(lists, ","), pa.scalar("]"), "")


def _dump(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
