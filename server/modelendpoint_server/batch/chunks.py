"""The input of a run as chunks of decoded rows, whatever its format."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

from modelendpoint_server.batch.columns import Selection
from modelendpoint_server.batch.csv_input import csv_decoder
from modelendpoint_server.batch.decoding import RecordDecoder
from modelendpoint_server.batch.json_input import json_decoder
from modelendpoint_server.batch.parquet_input import ParquetInput
from modelendpoint_server.batch.plan import InputFile, Piece, Plan
from modelendpoint_server.batch.reading import BLOCK, Reader
from modelendpoint_server.batch.rows import Decoded
from modelendpoint_server.batch.specification import Format
from modelendpoint_server.batch.splitting import BYTE_ORDER_MARK, record_ends, whole_records
from modelendpoint_server.formats.limits import Limits

_VALUE_BYTES = 8
_KEPT_BYTES = 64
"""What a value that is carried is taken to need; only for the size of batches."""
_MOST_ROWS = 65536

Chunk = Callable[[], Decoded]
"""Decodes when it is called: in the thread that goes on with the rows."""


class Input:
    """Opens pieces of a plan's files."""

    def __init__(self, plan: Plan, reader: Reader, selection: Selection, limits: Limits) -> None:
        self._plan = plan
        self._reader = reader
        self._selection = selection
        self._limits = limits
        self.digests: dict[int, str] = {}
        """Of the files of text that were read as a whole, by their index in the plan."""
        self._decoders: dict[tuple[str, ...] | None, RecordDecoder] = {}

    def chunks(self, piece: Piece) -> Iterator[Chunk]:
        """Yield the rows of a piece, in order."""
        file = self._plan.files[piece.file]
        return self._batches(file, piece) if self._plan.format is Format.PARQUET else self._texts(file, piece)

    def _texts(self, file: InputFile, piece: Piece) -> Iterator[Chunk]:
        decoder = self._decoder(file)
        is_csv = self._plan.format is Format.CSV
        is_whole = piece.start == 0 and piece.end == file.size
        note = functools.partial(self.digests.__setitem__, piece.file) if is_whole else None
        texts = whole_records(
            self._reader.blocks(file, piece, note=note), quotes=is_csv, shown=self._reader.shown(file)
        )
        for number, text in enumerate(texts):
            if number == 0 and piece.start == 0:
                text = without_beginning(text, is_csv=is_csv)
            yield _Text(decoder, text)

    def _decoder(self, file: InputFile) -> RecordDecoder:
        decoder = self._decoders.get(file.header)
        if decoder is None:
            decoder = self._decoders[file.header] = (
                csv_decoder(
                    file.header,
                    self._selection,
                    self._limits,
                    typed_join=self._plan.output_format is not Format.CSV,
                )
                if file.header is not None
                else json_decoder(self._plan.types, self._selection, self._limits)
            )
        return decoder

    def _batches(self, file: InputFile, piece: Piece) -> Iterator[Chunk]:
        opened = ParquetInput(self._reader.random_access(file), shown=self._reader.shown(file))
        columns = dict.fromkeys([*self._selection.features, *self._selection.kept])
        end = piece.end if piece.end is not None else opened.metadata.num_row_groups
        for decoded in opened.batches(piece.start, end, list(columns), rows=self._batch_rows()):
            yield _Ready(decoded)

    def _batch_rows(self) -> int:
        values = sum(
            abs(binding.spec.row_width) if binding.is_whole else len(binding.columns)
            for binding in self._selection.bindings
        )
        size = values * _VALUE_BYTES + len(self._selection.kept) * _KEPT_BYTES
        return max(1, min(_MOST_ROWS, BLOCK // size))


def without_beginning(text: bytes, *, is_csv: bool) -> bytes:
    """Leave out a file's byte order mark and header."""
    text = text.removeprefix(BYTE_ORDER_MARK)
    if not is_csv:
        return text
    ends = record_ends(text, quotes=True)
    return text[int(ends[0]) :] if len(ends) else b""


@dataclasses.dataclass(frozen=True)
class _Text:
    decoder: RecordDecoder
    text: bytes

    def __call__(self) -> Decoded:
        return self.decoder.decode(self.text)


@dataclasses.dataclass(frozen=True)
class _Ready:
    decoded: Decoded

    def __call__(self) -> Decoded:
        return self.decoded
