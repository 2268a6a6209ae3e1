"""A chunk of text records to rows: all at once, and one by one only where that fails.

The quick way takes whole chunks and knows only that something is wrong. Then the chunk is halved until what is wrong is
among a few records, and those are read strictly, one by one, with a reason for each that does not fit.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from modelendpoint_server.batch.rows import Decoded, Rejected
from modelendpoint_server.errors import InvalidRequest

_FEW = 32
"""So many records are read one by one rather than halved again."""

Quick = Callable[[bytes], "Decoded | None"]
"""Decode whole records; ``None`` if anything about them is not plain."""
Strict = Callable[[bytes], dict[str, Any]]
"""Decode one record to values by column; raise ``InvalidRequest``."""


@dataclasses.dataclass(frozen=True)
class RecordDecoder:
    """How the records of one file are decoded."""

    quick: Quick
    strict: Strict
    split: Callable[[bytes], list[bytes]]
    schema: pa.Schema
    """What the tables of both ways look like."""

    def decode(self, chunk: bytes) -> Decoded:
        """Decode a chunk of whole records."""
        decoded = self.quick(chunk)
        if decoded is not None:
            return decoded
        parts: list[Decoded] = []
        records = self.split(chunk)
        self._halve(records, 0, parts)
        if not parts:
            return Decoded(0, np.empty(0, np.int64), self.schema.empty_table())
        return Decoded(
            len(records),
            np.concatenate([part.numbers for part in parts]),
            pa.concat_tables([part.table for part in parts]),
            tuple(rejected for part in parts for rejected in part.rejected),
        )

    def _halve(self, records: Sequence[bytes], first: int, parts: list[Decoded]) -> None:
        if len(records) <= _FEW:
            if records:
                parts.append(self._one_by_one(records, first))
            return
        half = len(records) // 2
        for low, some in ((0, records[:half]), (half, records[half:])):
            decoded = self.quick(b"".join(some)) if len(some) > _FEW else None
            # As many rows as records, or the records hide something: two objects on one line, a stray carriage return.
            if decoded is not None and decoded.count == len(some) and decoded.tensors is None:
                parts.append(dataclasses.replace(decoded, numbers=decoded.numbers + (first + low)))
            else:
                self._halve(some, first + low, parts)

    def _one_by_one(self, records: Sequence[bytes], first: int) -> Decoded:
        numbers, rows, rejected = [], [], []
        for number, record in enumerate(records, first):
            try:
                row = self.strict(record)
                # Also here a value may be too much for the column's type.
                pa.Table.from_pylist([row], schema=self.schema)
            except InvalidRequest as error:
                rejected.append(Rejected(number, error.field, str(error), "InvalidRequest"))
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
                rejected.append(Rejected(number, None, f"The row does not fit: {error}.", "InvalidRequest"))
            else:
                numbers.append(number)
                rows.append(row)
        table = pa.Table.from_pylist(rows, schema=self.schema)
        return Decoded(len(records), np.array(numbers, np.int64), table, tuple(rejected))
