"""Parquet files of the input: their row groups, and their batches to rows."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from modelendpoint_server.batch.columns import Binding
from modelendpoint_server.batch.errors import InvalidInput
from modelendpoint_server.batch.reading import RandomAccess
from modelendpoint_server.batch.rows import Decoded, Rejected
from modelendpoint_server.batch.tensors import takes_type

_LARGEST_GROUP_AT_ONCE = 256 * 2**20
"""Row groups up to this size are fetched with few large requests; larger ones in small ones, to spare memory."""


class ParquetInput:
    """One open file."""

    def __init__(self, file: RandomAccess, *, shown: str) -> None:
        """Read the footer; raise ``InvalidInput`` when it is none."""
        self._file = file
        self._shown = shown
        try:
            self.metadata = pyarrow.parquet.read_metadata(pa.PythonFile(file, mode="r"))
            self.schema = self.metadata.schema.to_arrow_schema()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise InvalidInput(f"{shown} is no Parquet file ({_first_line(error)}). Upload it anew.") from error

    def check_types(self, bindings: Sequence[Binding]) -> None:
        """Raise ``InvalidInput`` for a column whose type can't hold what the model takes."""
        for binding in bindings:
            for name in binding.columns:
                kind = self.schema.field(name).type
                if not takes_type(binding, kind):
                    raise InvalidInput(
                        f"Column {name!r} of {self._shown} is {kind}; input {binding.spec.name!r} of the model takes"
                        f" {binding.spec.datatype}. Convert the column."
                    )

    def batches(self, start: int, end: int, columns: Sequence[str], *, rows: int) -> Iterator[Decoded]:
        """Yield the rows of some row groups; what can't be read of a group is rejected as a whole."""
        for group in range(start, end):
            about = self.metadata.row_group(group)
            done = 0
            try:
                reader = pyarrow.parquet.ParquetFile(
                    pa.PythonFile(self._file, mode="r"),
                    metadata=self.metadata,
                    buffer_size=0 if about.total_byte_size <= _LARGEST_GROUP_AT_ONCE else 2**20,
                    pre_buffer=about.total_byte_size <= _LARGEST_GROUP_AT_ONCE,
                )
                for batch in reader.iter_batches(rows, [group], list(columns), use_threads=False):
                    yield Decoded(len(batch), np.arange(len(batch)), pa.Table.from_batches([batch]))
                    done += len(batch)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
                left = about.num_rows - done
                reason = f"Row group {group} can't be read ({_first_line(error)})."
                rejected = Rejected(0, None, reason, "InvalidInput", rows=left)
                yield Decoded(left, np.empty(0, np.int64), pa.table({}), (rejected,))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
