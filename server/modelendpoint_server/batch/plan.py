"""What a run works on: the files, cut into shards. Written once as ``plan.json``, read by every worker. No reading here."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from modelendpoint_server.batch.specification import Compression, Format


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputFile:
    """One file of the input."""

    path: str
    size: int | None
    version: str | None
    header: tuple[str, ...] | None = None
    """The column names that a CSV file begins with."""
    sha256: str | None = None
    """Of a file that was read as a whole to cut it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of one file: a range of bytes, or of row groups in a Parquet file."""

    file: int
    """Index in the plan's files."""
    start: int
    end: int | None
    """``None``: the end of the file."""
    first_row: int
    """Number of the first row; a file's rows are counted from 1."""
    rows: int | None
    """``None`` when nobody has counted them."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """What becomes one part of the output."""

    number: int
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int | None:
        """Number of rows, if all its pieces were counted."""
        return _sum(piece.rows for piece in self.pieces)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole run."""

    run: str
    sha256: str
    """Digest of the model."""
    challenger_sha256: str
    format: Format
    compression: Compression | None
    output_format: Format
    columns: tuple[str, ...]
    """The columns of the first file."""
    types: Mapping[str, str]
    """The types that columns of JSON Lines have, as far as they are passed through."""
    files: tuple[InputFile, ...]
    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int | None:
        """Number of rows of the whole input, if known before it is read."""
        return _sum(shard.rows for shard in self.shards)

    def shards_of(self, index: int, workers: int) -> tuple[Shard, ...]:
        """Return what one of the workers has to do."""
        return self.shards[index::workers]

    def as_json(self) -> bytes:
        """Write it; columns of numbers, so that a hundred thousand shards stay a few megabytes."""
        document = {
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("files", "shards")},
            "files": [dataclasses.astuple(file) for file in self.files],
            "shards": [[dataclasses.astuple(piece) for piece in shard.pieces] for shard in self.shards],
        }
        return orjson.dumps(document)

    @classmethod
    def from_json(cls, data: bytes) -> "Plan":
        """Read what ``as_json`` wrote."""
        document: dict[str, Any] = orjson.loads(data)
        files, shards = document.pop("files"), document.pop("shards")
        return cls(
            **{
                **document,
                "format": Format(document["format"]),
                "output_format": Format(document["output_format"]),
                "compression": Compression(document["compression"]) if document["compression"] else None,
                "columns": tuple(document["columns"]),
            },
            files=tuple(_file(values) for values in files),
            shards=tuple(
                Shard(number, tuple(_piece(values) for values in pieces)) for number, pieces in enumerate(shards)
            ),
        )


def pack(pieces: Sequence[tuple[Piece, int]], *, most_bytes: int, most_rows: int | None) -> tuple[Shard, ...]:
    """Put consecutive pieces, given with their sizes in bytes, into shards of about the wanted size."""
    shards: list[list[Piece]] = []
    size = rows = 0
    for piece, length in pieces:
        is_full = size + length > most_bytes or (most_rows is not None and rows + (piece.rows or 0) > most_rows)
        # Rows that nobody counted may be any number: such a piece stays alone when shards are cut by rows.
        alone = most_rows is not None and piece.rows is None
        if not shards or is_full or alone:
            shards.append([])
            size = rows = 0
        shards[-1].append(piece)
        size += length
        rows += piece.rows or (most_rows or 0)
    return tuple(Shard(number, tuple(members)) for number, members in enumerate(shards))


def _sum(counts: Any) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


def _file(values: Sequence[Any]) -> InputFile:
    path, size, version, header, sha256 = values
    return InputFile(
        path=path, size=size, version=version, header=None if header is None else tuple(header), sha256=sha256
    )


def _piece(values: Sequence[Any]) -> Piece:
    file, start, end, first_row, rows = values
    return Piece(file=file, start=start, end=end, first_row=first_row, rows=rows)
