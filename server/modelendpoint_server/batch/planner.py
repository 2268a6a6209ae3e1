"""Makes the plan of a run: looks at the input before any worker starts, checks it against the model, cuts it into shards."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from modelendpoint_server.batch.columns import Binding, Selection, select
from modelendpoint_server.batch.csv_input import read_header
from modelendpoint_server.batch.errors import InvalidBatch, InvalidInput
from modelendpoint_server.batch.json_input import sample_columns
from modelendpoint_server.batch.parquet_input import ParquetInput
from modelendpoint_server.batch.places import StoredFile
from modelendpoint_server.batch.plan import InputFile, Piece, Plan, pack
from modelendpoint_server.batch.reading import Reader, packing_of
from modelendpoint_server.batch.specification import Format, Run
from modelendpoint_server.batch.splitting import BYTE_ORDER_MARK, Positions, record_ends, record_starts, whole_records
from modelendpoint_server.signature import Signature

_THREADS = 16
_T = TypeVar("_T")
_U = TypeVar("_U")
_FORMATS = {
    ".csv": Format.CSV,
    ".jsonl": Format.JSON_LINES,
    ".ndjson": Format.JSON_LINES,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}

Advance = Callable[[int], None]
"""Told of rows that were counted."""


class Planner:
    """Plans one run."""

    def __init__(self, run: Run, reader: Reader, files: Sequence[StoredFile], *, shown: str) -> None:
        self._run = run
        self._reader = reader
        self._shown = shown
        self.format = run.input_format or _common_format(files, shown)
        self._files = tuple(InputFile(path=f.path, size=f.size, version=f.version) for f in files)
        self._parquet: dict[int, ParquetInput] = {}
        self.types: dict[str, str] = {}
        self.columns: tuple[str, ...] = ()

    def read_columns(self) -> tuple[str, ...]:
        """Read the column names of the first file; later ones are looked at when the model is known."""
        first, shown = self._files[0], self._reader.shown(self._files[0])
        if self.format is Format.PARQUET:
            self.columns = tuple(self._open_parquet(0).schema.names)
        elif self.format is Format.CSV:
            self.columns = self._header(first)
        else:
            beginning = self._reader.beginning(first).removeprefix(BYTE_ORDER_MARK)
            self.columns, self.types = sample_columns(_whole_lines(beginning), shown=shown)
        return self.columns

    def check(self, signatures: Sequence[Signature]) -> None:
        """Check every file against every model; raise ``MissingColumn`` or ``InvalidInput``."""
        if self.format is Format.CSV:
            headers = _in_threads(self._header, self._files)
            self._files = tuple(
                dataclasses.replace(file, header=header) for file, header in zip(self._files, headers, strict=True)
            )
        if self.format is Format.PARQUET:
            _in_threads(self._open_parquet, range(len(self._files)))
        for number, file in enumerate(self._files):
            if number and self.format is Format.JSON_LINES:
                break
            available = self._columns_of(number, file)
            for signature in signatures:
                self._check_file(number, file, signature, available)

    def _columns_of(self, number: int, file: InputFile) -> tuple[str, ...]:
        if self.format is Format.PARQUET:
            return tuple(self._parquet[number].schema.names)
        return file.header or self.columns

    def _check_file(self, number: int, file: InputFile, signature: Signature, available: tuple[str, ...]) -> None:
        shown = self._reader.shown(file)
        selection = select_columns(self._run, signature, self.columns, shown=self._reader.shown(self._files[0]))
        needed = [*selection.features, *selection.kept]
        for name in needed:
            if name not in available:
                # Says what there is in this very file.
                select_columns(self._run, signature, available, shown=shown)
                raise InvalidInput(f"{shown} has no column {name!r}, which the first file has. Correct the file.")
        if self.format is Format.PARQUET:
            self._parquet[number].check_types(selection.bindings)
        if self.format is Format.CSV:
            _check_cells(selection.bindings, shown=shown)

    def make(self, *, sha256: str, challenger_sha256: str, advance: Advance) -> Plan:
        """Cut the input into shards."""
        split = self._row_groups if self.format is Format.PARQUET else self._texts
        pieces = [cut for number in range(len(self._files)) for cut in split(number, advance)]
        return Plan(
            run=self._run.name,
            sha256=sha256,
            challenger_sha256=challenger_sha256,
            format=self.format,
            compression=self._run.compression,
            output_format=self._run.output_format or self.format,
            columns=self.columns,
            types=self.types,
            files=self._files,
            shards=pack(pieces, most_bytes=self._run.shard_bytes, most_rows=self._run.shard_rows),
        )

    def _header(self, file: InputFile) -> tuple[str, ...]:
        beginning = self._reader.beginning(file).removeprefix(BYTE_ORDER_MARK)
        return read_header(beginning, shown=self._reader.shown(file))[0]

    def _open_parquet(self, number: int) -> ParquetInput:
        file = self._files[number]
        if number not in self._parquet:
            self._parquet[number] = ParquetInput(self._reader.random_access(file), shown=self._reader.shown(file))
        return self._parquet[number]

    def _row_groups(self, number: int, advance: Advance) -> Iterator[tuple[Piece, int]]:
        metadata, row = self._parquet[number].metadata, 1
        for group in range(metadata.num_row_groups):
            about = metadata.row_group(group)
            size = sum(about.column(index).total_compressed_size for index in range(about.num_columns))
            yield Piece(file=number, start=group, end=group + 1, first_row=row, rows=about.num_rows), size
            row += about.num_rows
            advance(about.num_rows)

    def _texts(self, number: int, advance: Advance) -> Iterator[tuple[Piece, int]]:
        file = self._files[number]
        small = file.size is not None and file.size <= self._run.shard_bytes and self._run.shard_rows is None
        if small or file.size is None or self._reader.packing(file) is not None:
            yield Piece(file=number, start=0, end=file.size, first_row=1, rows=None), file.size or 0
            return
        is_csv = self.format is Format.CSV
        digests: list[str] = []
        blocks = self._reader.blocks(file, note=digests.append)
        chunks = whole_records(blocks, quotes=is_csv, shown=self._reader.shown(file))
        cutter = Cutter(self._run.shard_bytes, self._run.shard_rows, has_header=is_csv)
        for chunk in chunks:
            before = cutter.rows
            for cut in cutter.feed(chunk, record_ends(chunk, quotes=is_csv)):
                yield cut.piece(number), cut.end - cut.start
            advance(cutter.rows - before)
        for cut in cutter.close():
            yield cut.piece(number), cut.end - cut.start
        self._files = (*self._files[:number], dataclasses.replace(file, sha256=digests[0]), *self._files[number + 1 :])


@dataclasses.dataclass(frozen=True)
class Cut:
    """A range of a text file that begins and ends with records."""

    start: int
    end: int
    first_row: int
    rows: int

    def piece(self, file: int) -> Piece:
        """Return it as a piece of a plan."""
        return Piece(file=file, start=self.start, end=self.end, first_row=self.first_row, rows=self.rows)


class Cutter:
    """Cuts a file into ranges of about equal size, given its chunks of whole records one after the other."""

    def __init__(self, most_bytes: int, most_rows: int | None, *, has_header: bool) -> None:
        self._most_bytes = most_bytes
        self._most_rows = most_rows or 2**62
        self._header = int(has_header)
        self._start = self._position = 0
        self._cut_rows = 0
        self.rows = 0
        """Rows so far."""

    def feed(self, chunk: bytes, ends: Positions) -> Iterator[Cut]:
        """Take the next chunk; yield the ranges that are complete."""
        starts = record_starts(chunk, ends)
        if self._header and len(starts):
            # The header is the first record, and no row.
            starts, self._header = starts[1:], 0
        seen = self.rows
        while True:
            at = self._next_cut(ends, starts, seen)
            if at is None:
                break
            rows = seen + int(np.searchsorted(starts, at))
            if self._position + at > self._start and rows > self._cut_rows:
                yield self._cut(self._position + at, rows)
            else:
                break
        self.rows = seen + len(starts)
        self._position += len(chunk)

    def _next_cut(self, ends: Positions, starts: Positions, seen: int) -> int | None:
        """Return the position in the chunk where the present range has to end; ``None``: not in this chunk."""
        candidates = []
        behind = int(np.searchsorted(ends, self._start + self._most_bytes - self._position))
        if behind < len(ends):
            candidates.append(int(ends[behind]))
        row = self._cut_rows + self._most_rows - seen
        if 0 <= row < len(starts):
            candidates.append(int(starts[row]))
        return min(candidates) if candidates else None

    def _cut(self, end: int, rows: int) -> Cut:
        cut = Cut(self._start, end, self._cut_rows + 1, rows - self._cut_rows)
        self._start, self._cut_rows = end, rows
        return cut

    def close(self) -> Iterator[Cut]:
        """Yield what is left."""
        if self._position > self._start:
            yield self._cut(self._position, self.rows)


def _check_cells(bindings: Sequence[Binding], *, shown: str) -> None:
    for binding in bindings:
        if binding.is_whole:
            raise InvalidBatch(
                f"Input {binding.spec.name!r} of the model takes more than one value a row, and a cell of {shown} holds one"
                f" (column {binding.columns[0]!r}). Name all columns that it takes in columns.features, or use Parquet or"
                " JSON Lines."
            )


def select_columns(run: Run, signature: Signature, available: Sequence[str], *, shown: str) -> Selection:
    """Find the run's columns for a model."""
    return select(signature, available, run.columns, partitions=run.partitioning, shown=shown)


def _common_format(files: Sequence[StoredFile], shown: str) -> Format:
    formats = {file.path: _format_of(file.path) for file in files}
    kinds = set(formats.values())
    if None in kinds or len(kinds) != 1:
        odd = next((path for path, kind in formats.items() if kind is None), next(iter(formats)))
        raise InvalidInput(
            f"The format of {shown} can't be told from its files' names ({odd} …). Set input.format to"
            f" {', '.join(Format)}, or a pattern in input.uri that meets files of one kind."
        )
    return kinds.pop() or Format.CSV


def _format_of(path: str) -> Format | None:
    name = path.lower()
    if packing_of(name) is not None:
        name = name.rpartition(".")[0]
    return next((kind for ending, kind in _FORMATS.items() if name.endswith(ending)), None)


def _whole_lines(text: bytes) -> bytes:
    end = text.rfind(b"\n")
    return text[: end + 1] if end >= 0 else text


def _in_threads(work: Callable[[_T], _U], items: Sequence[_T]) -> list[_U]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, items))
