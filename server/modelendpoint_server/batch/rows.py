"""Decoded rows, and rows that were rejected. Data only."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from modelendpoint_server.signature import Tensor

Numbers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A row that has no prediction, and why."""

    row: int
    """Number of the row; within a chunk from 0, in the errors file from 1 as in the input's file."""
    column: str | None
    reason: str
    code: str
    rows: int = 1
    """How many rows from ``row`` on; more than one when a whole part of a file can't be read."""

    def as_json(self, file: str, offset: int) -> dict[str, Any]:
        """Return the line of the errors file."""
        line = {"file": file, "row": self.row + offset, "column": self.column, "reason": self.reason, "code": self.code}
        return line if self.rows == 1 else {**line, "rows": self.rows}


@dataclasses.dataclass(frozen=True)
class Decoded:
    """The rows of one chunk."""

    count: int
    """All of them, the rejected ones too."""
    numbers: Numbers
    """Number within the chunk of each good row."""
    table: pa.Table
    """Columns of the good rows, as far as they are needed and not in ``tensors`` already."""
    rejected: tuple[Rejected, ...] = ()
    tensors: Mapping[str, Tensor] | None = None
    """The model's inputs, when the decoder has made them on the way."""
