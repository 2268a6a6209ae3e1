"""One shard: read, decode, score and write it on this pod's disk. Knows nothing of what is committed.

Chunks go through a pool with one thread a core, from bytes to encoded predictions, and come out in their order.
"""

import dataclasses
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from modelendpoint_server.batch.chunks import Chunk, Input
from modelendpoint_server.batch.columns import Selection
from modelendpoint_server.batch.comparison import Disagreement, Tally, compare
from modelendpoint_server.batch.errors import InvalidBatch, Stopped
from modelendpoint_server.batch.plan import Piece, Plan, Shard
from modelendpoint_server.batch.progress import Progress
from modelendpoint_server.batch.rows import Decoded, Numbers, Rejected
from modelendpoint_server.batch.scoring import Scored, Scorer
from modelendpoint_server.batch.specification import Challenger, Format
from modelendpoint_server.batch.tensors import to_inputs
from modelendpoint_server.batch.writing import PartWriter, TextWriter, Written, encode, header_of, open_writer

_MOST_PARTITIONS = 1000
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_RENAMED = "prediction_"


@dataclasses.dataclass(frozen=True)
class Contender:
    """A model and the columns that it gets."""

    scorer: Scorer
    selection: Selection


@dataclasses.dataclass(frozen=True)
class Work:
    """What is the same for all shards."""

    plan: Plan
    input: Input
    model: Contender
    other: Contender | None
    challenger: Challenger | None
    null_is_nan: bool
    threads: int
    folder: Path


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A worked shard; its files are named as in the output."""

    rows_in: int
    rows_out: int
    rows_rejected: int
    files: tuple[tuple[str, Written], ...]
    first_rejected: dict[str, Any] | None
    tally: Tally | None
    inputs: dict[str, str]
    """The sha256 of the files that were read as a whole."""
    seconds: float


@dataclasses.dataclass(frozen=True)
class _Encoded:
    """Rows of one partition, ready to be appended."""

    partition: str
    rows: int
    table: pa.Table | None
    header: bytes
    text: bytes


@dataclasses.dataclass(frozen=True)
class _Processed:
    """What became of a chunk."""

    count: int
    rows_out: int
    encoded: tuple[_Encoded, ...]
    rejected: tuple[Rejected, ...]
    disagreement: pa.Table | None
    tally: Tally | None


class ShardWorker:
    """Works shards one after the other."""

    def __init__(self, work: Work, progress: Progress, stop: threading.Event) -> None:
        self._work = work
        self._progress = progress
        self._stop = stop

    def run(self, shard: Shard, *, most_rejected: int | None) -> Outcome:
        """Work a shard; raise ``TooManyRejected`` as soon as more rows are rejected than allowed."""
        folder = Path(tempfile.mkdtemp(prefix="shard-", dir=self._work.folder))
        try:
            return _ShardRun(self._work, shard, folder, self._progress, self._stop).run(most_rejected)
        except TooManyRejected:
            raise  # its errors are still read from there
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def forget(self) -> None:
        """Remove the files of worked shards from the disk."""
        for folder in self._work.folder.glob("shard-*"):
            shutil.rmtree(folder, ignore_errors=True)


class TooManyRejected(Exception):
    """The shard was given up; its errors so far are in a file."""

    def __init__(self, errors: Written, first: dict[str, Any], rejected: int) -> None:
        super().__init__()
        self.errors = errors
        self.first = first
        self.rejected = rejected


class _ShardRun:
    """One run through one shard."""

    def __init__(self, work: Work, shard: Shard, folder: Path, progress: Progress, stop: threading.Event) -> None:
        self._work = work
        self._shard = shard
        self._progress = progress
        self._stop = stop
        self._parts = _Parts(folder / "parts", f"part-{shard.number:05d}", work.plan.output_format)
        self._differing = _Parts(
            folder / "disagreements", f"disagreements/part-{shard.number:05d}", work.plan.output_format
        )
        self._errors = TextWriter(folder / "errors.jsonl", Format.JSON_LINES)
        self._first_rejected: dict[str, Any] | None = None
        self._rows_in = self._rows_out = self._rejected = 0
        self._tally: Tally | None = None

    def run(self, most_rejected: int | None) -> Outcome:
        try:
            return self._run(most_rejected)
        finally:
            self._errors.abandon()
            self._parts.abandon()
            self._differing.abandon()

    def _run(self, most_rejected: int | None) -> Outcome:
        started = time.monotonic()
        with ThreadPoolExecutor(self._work.threads, thread_name_prefix="rows") as pool:
            for piece in self._shard.pieces:
                self._run_piece(piece, pool, most_rejected)
        files = [*self._parts.finish(), *self._differing.finish()]
        errors = self._errors.finish()
        if errors.rows:
            files.append((f"errors/part-{self._shard.number:05d}.jsonl", errors))
        return Outcome(
            self._rows_in,
            self._rows_out,
            self._rejected,
            tuple(files),
            self._first_rejected,
            self._tally,
            self._digests(),
            round(time.monotonic() - started, 3),
        )

    def _digests(self) -> dict[str, str]:
        numbers = {piece.file for piece in self._shard.pieces}
        known = self._work.input.digests
        return {self._work.plan.files[number].path: known[number] for number in sorted(numbers) if number in known}

    def _run_piece(self, piece: Piece, pool: ThreadPoolExecutor, most_rejected: int | None) -> None:
        file = self._work.plan.files[piece.file].path
        row = piece.first_row
        for processed in self._in_order(self._work.input.chunks(piece), pool):
            self._take(processed, file, row)
            row += processed.count
            if most_rejected is not None and self._rejected > most_rejected:
                raise TooManyRejected(self._errors.finish(), self._first_rejected or {}, self._rejected)

    def _in_order(self, chunks: Iterator[Chunk], pool: ThreadPoolExecutor) -> Iterator[_Processed]:
        waiting: deque[Future[_Processed]] = deque()
        try:
            for chunk in chunks:
                if self._stop.is_set():
                    raise Stopped("The pod was told to end; the shard is worked again from its beginning.")
                waiting.append(pool.submit(self._process, chunk))
                if len(waiting) > self._work.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _process(self, chunk: Chunk) -> _Processed:
        decoded = chunk()
        scored, positions, rejected = self._score(decoded, self._work.model)
        rejected = (*decoded.rejected, *rejected)
        encoded: tuple[_Encoded, ...] = ()
        if len(positions):
            encoded = tuple(
                self._encoded(_beside(decoded.table, positions, self._work.model.selection, scored.columns))
            )
        disagreement = self._compare(decoded, scored, positions) if self._work.other else None
        return _Processed(
            decoded.count,
            len(positions),
            encoded,
            tuple(sorted(rejected, key=lambda one: one.row)),
            None if disagreement is None else self._differing_rows(decoded, disagreement),
            None if disagreement is None else disagreement.tally,
        )

    def _score(self, decoded: Decoded, model: Contender) -> tuple[Scored, Numbers, tuple[Rejected, ...]]:
        """Return predictions, the positions in the decoded table of the rows that have one, and the others."""
        if decoded.tensors is not None:
            scored = model.scorer.score(decoded.tensors, decoded.numbers)
            return scored, scored.good, scored.rejected
        if not len(decoded.numbers):
            return Scored({}, np.empty(0, np.int64), ()), np.empty(0, np.int64), ()
        inputs = to_inputs(decoded.table, model.selection.bindings, decoded.numbers, null_is_nan=self._work.null_is_nan)
        scored = model.scorer.score(inputs.tensors, inputs.numbers)
        positions = scored.good if inputs.good is None else np.flatnonzero(inputs.good)[scored.good]
        return scored, positions, (*inputs.rejected, *scored.rejected)

    def _compare(self, decoded: Decoded, scored: Scored, positions: Numbers) -> Disagreement:
        assert self._work.other is not None and self._work.challenger is not None
        theirs, their_positions, _ = self._score(decoded, self._work.other)
        return compare(
            dataclasses.replace(scored, good=positions),
            dataclasses.replace(theirs, good=their_positions),
            self._work.challenger,
        )

    def _differing_rows(self, decoded: Decoded, disagreement: Disagreement) -> pa.Table | None:
        if not len(disagreement.rows):
            return None
        columns = {"row": pa.array(decoded.numbers[disagreement.rows]), **disagreement.columns}
        return _beside(decoded.table, disagreement.rows, self._work.model.selection, columns)

    def _encoded(self, table: pa.Table) -> Iterator[_Encoded]:
        kind = self._work.plan.output_format
        for partition, rows in _partitioned(table, self._work.model.selection):
            if kind is Format.PARQUET:
                yield _Encoded(partition, len(rows), rows, b"", b"")
            else:
                yield _Encoded(partition, len(rows), None, header_of(kind, rows), encode(kind, rows))

    def _take(self, processed: _Processed, file: str, row: int) -> None:
        """Write what a chunk gave; ``row`` is the number of its first row."""
        for encoded in processed.encoded:
            self._parts.append(encoded)
        lost = sum(one.rows for one in processed.rejected)
        if processed.rejected:
            lines = [one.as_json(file, row) for one in processed.rejected]
            self._first_rejected = self._first_rejected or lines[0]
            self._errors.append(b"", b"".join(orjson.dumps(line) + b"\n" for line in lines), len(lines))
        if processed.tally is not None:
            self._tally = processed.tally.plus(self._tally or Tally())
        if processed.disagreement is not None:
            table = processed.disagreement
            numbers = pc.add(table.column("row"), row)
            table = table.set_column(table.column_names.index("row"), "row", numbers)
            table = table.add_column(0, "file", pa.array([file] * len(table)))
            self._differing.append(_Encoded("", len(table), table, b"", b""))
        self._rows_in += processed.count
        self._rows_out += processed.rows_out
        self._rejected += lost
        self._progress.count(rows_in=processed.count, rows_out=processed.rows_out, rows_rejected=lost)


class _Parts:
    """The files of one shard, one for each partition."""

    def __init__(self, folder: Path, name: str, kind: Format) -> None:
        self._folder = folder
        self._name = name
        self._kind = kind
        self._writers: dict[str, PartWriter] = {}

    def append(self, encoded: _Encoded) -> None:
        writer = self._writers.get(encoded.partition) or self._open(encoded.partition)
        if encoded.table is not None:
            writer.write(encoded.table)
        elif isinstance(writer, TextWriter):
            writer.append(encoded.header, encoded.text, encoded.rows)

    def _open(self, partition: str) -> PartWriter:
        if len(self._writers) >= _MOST_PARTITIONS:
            raise InvalidBatch(
                f"A shard has more than {_MOST_PARTITIONS} partitions. Name a column with fewer values in"
                " output.partitioning."
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        writer = self._writers[partition] = open_writer(self._kind, self._folder / str(len(self._writers)))
        return writer

    def abandon(self) -> None:
        for writer in self._writers.values():
            writer.abandon()

    def finish(self) -> list[tuple[str, Written]]:
        """Close all files; return each with its name in the output."""
        ending = f"{self._name}.{self._kind.extension}"
        return [
            (f"{partition}/{ending}" if partition else ending, self._writers[partition].finish())
            for partition in sorted(self._writers)
        ]


def _beside(table: pa.Table, positions: Numbers, selection: Selection, columns: dict[str, pa.Array]) -> pa.Table:
    """Put columns beside the carried ones of their rows."""
    kept = table.select(selection.kept) if selection.kept else None
    if kept is not None and len(positions) != len(table):
        kept = kept.take(pa.array(positions))
    if kept is None:
        return pa.table(columns)
    for name, values in columns.items():
        # An input that is scored again has the old predictions in it.
        unique = f"{_RENAMED}{name}" if name in kept.column_names else name
        kept = kept.append_column(unique, values)
    return kept


def _partitioned(table: pa.Table, selection: Selection) -> Iterator[tuple[str, pa.Table]]:
    """Cut into the rows of each partition, in the order of the partitions' names."""
    if not selection.partitions:
        yield "", table
        return
    names = [
        pa.array([f"{column}={_folder_name(value)}" for value in table.column(column).to_pylist()])
        for column in selection.partitions
    ]
    folders = pc.binary_join_element_wise(*names, "/")
    left = table.drop_columns([name for name in selection.partitions])
    for folder in sorted(pc.unique(folders).to_pylist()):
        yield folder, left.filter(pc.equal(folders, folder))


def _folder_name(value: Any) -> str:
    return _NO_VALUE if value is None or value == "" else quote(str(value), safe=" ")
