"""The reference profile of a model's data: rows of any size, read as a batch prediction reads them. Writes no file."""

import dataclasses
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from modelendpoint.errors import CliError
from modelendpoint.models.opened import LIMITS, OpenModel, stores
from modelendpoint_server.batch.chunks import Input
from modelendpoint_server.batch.columns import Selection
from modelendpoint_server.batch.places import Patience, open_source
from modelendpoint_server.batch.plan import Plan
from modelendpoint_server.batch.planner import Planner, select_columns
from modelendpoint_server.batch.reading import Reader
from modelendpoint_server.batch.rows import Decoded, Rejected
from modelendpoint_server.batch.scoring import Scored, Scorer
from modelendpoint_server.batch.specification import Columns, Run
from modelendpoint_server.batch.tensors import Inputs, to_inputs
from modelendpoint_server.errors import ServerError
from modelendpoint_server.monitor.building import ProfileBuilder
from modelendpoint_server.monitor.columns import columns_of_inputs
from modelendpoint_server.monitor.reference import Profile
from modelendpoint_server.monitor.sample import Column
from modelendpoint_server.signature import Signature

_LIMITS = dataclasses.replace(LIMITS, null_is_nan=True)
_WORDS = (
    (re.compile(r"Set input\.format to .*"), "Name it with an ending: .csv, .jsonl or .parquet."),
    (re.compile(r"Correct columns\.features or the input\."), "Add it to the data, or name others in --features."),
    (re.compile(r"columns\.features"), "--features"),
    (re.compile(r"input\.uri"), "DATA"),
    (re.compile(r"file:///"), "/"),
)
"""What the fields of a BatchPrediction are here."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfiledData:
    """The profile, and what is not in it."""

    profile: Profile
    empty_columns: tuple[str, ...]
    """Columns without any value."""
    rejected_rows: int
    """Rows that the model can't take, or has no answer to."""
    first_rejected: str
    """Says which and why."""


def profile_data(model: OpenModel, data: str, *, features: Sequence[str] = ()) -> ProfiledData:
    """Read all rows, ask the model, and describe the columns of both; raise ``CliError`` with what does not fit.

    ``features`` names the data's columns in the order of the model's, for a model that does not name its own.
    """
    try:
        return _Profiling(model, data, features).run()
    except ServerError as error:
        raise CliError(_told(str(error))) from error


def _told(text: str) -> str:
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text


def _uri_of(data: str) -> str:
    if "://" in data:
        return data
    path = Path(data).resolve()
    if not path.exists():
        raise CliError(f"There is no {data}. Name a file of rows: CSV, Parquet or JSON Lines.")
    return f"file://{path}"


class _Profiling:
    def __init__(self, model: OpenModel, data: str, features: Sequence[str]) -> None:
        self._model = model
        self._data = data
        uri = _uri_of(data)
        self._run = Run(name="profile", input_uri=uri, output_uri="", columns=Columns(features=tuple(features) or None))
        self._source = open_source(uri, stores(), Patience(threading.Event(), seconds=0))
        self._reader = Reader(self._source, None)
        self._scorer = Scorer(model.predictor)
        self._builder = ProfileBuilder()
        self._rejected = 0
        self._first = ""

    def run(self) -> ProfiledData:
        plan, selection = self._plan()
        source = Input(plan, self._reader, selection, _LIMITS)
        for piece in (piece for shard in plan.shards for piece in shard.pieces):
            row = piece.first_row
            for chunk in source.chunks(piece):
                decoded = chunk()
                self._take(decoded, selection, _Place(self._reader.shown(plan.files[piece.file]), row))
                row += decoded.count
        if self._first and not self._builder.rows:
            raise CliError(f"No row of {self._data} fits the model. The first: {self._first}")
        if not self._builder.rows:
            raise CliError(f"{self._data} has no rows.")
        profile, without = self._builder.build(model_sha256=self._model.artifact.sha256)
        return ProfiledData(
            profile=profile, empty_columns=without, rejected_rows=self._rejected, first_rejected=self._first
        )

    def _plan(self) -> tuple[Plan, Selection]:
        planner = Planner(self._run, self._reader, self._source.files(), shown=self._source.shown)
        columns = planner.read_columns()
        planner.check([self._model.signature])
        plan = planner.make(sha256=self._model.artifact.sha256, challenger_sha256="", advance=lambda rows: None)
        shown = self._reader.shown(plan.files[0])
        return plan, select_columns(self._run, self._model.signature, columns, shown=shown)

    def _take(self, decoded: Decoded, selection: Selection, place: "_Place") -> None:
        inputs = _inputs(decoded, selection)
        scored = self._scorer.score(inputs.tensors, inputs.numbers)
        if len(inputs.numbers):
            rows = len(inputs.numbers)
            self._builder.add(
                columns_of_inputs(inputs.tensors, self._model.signature, rows),
                _outputs(scored, self._model.signature),
                rows=rows,
            )
        for rejected in (*decoded.rejected, *inputs.rejected, *scored.rejected):
            self._rejected += rejected.rows
            self._first = self._first or place.tell(rejected)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a chunk is."""

    file: str
    first_row: int

    def tell(self, rejected: Rejected) -> str:
        column = f", {rejected.column}" if rejected.column else ""
        return _told(f"{self.file}, row {rejected.row + self.first_row}{column}: {rejected.reason}")


def _inputs(decoded: Decoded, selection: Selection) -> Inputs:
    if decoded.tensors is not None:
        return Inputs(dict(decoded.tensors), decoded.numbers, None, ())
    return to_inputs(decoded.table, selection.bindings, decoded.numbers, null_is_nan=True)


def _outputs(scored: Scored, signature: Signature) -> dict[str, Column]:
    """Make columns, as samples have them, of what a batch prediction would write."""
    shapes = {spec.name: spec.row_shape for spec in signature.outputs}
    return {name: _column(array, shapes.get(name, [])) for name, array in scored.columns.items()}


def _column(array: pa.Array, shape: Sequence[int]) -> Column:
    if pa.types.is_fixed_size_list(array.type):
        width = array.type.list_size
        flat = _plain(array.flatten())
        return flat.reshape(len(array), *shape) if _size(shape) == width else flat.reshape(len(array), width)
    return _plain(array)


def _size(shape: Sequence[int]) -> int:
    return -1 if -1 in shape else int(np.prod(shape))


def _plain(array: pa.Array) -> Column:
    if pa.types.is_boolean(array.type) or pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        numbers: Column = pc.cast(array, pa.float64()).to_numpy(zero_copy_only=False)
        return numbers
    texts = np.empty(len(array), object)
    texts[:] = list(_texts(array))
    return texts


def _texts(array: pa.Array) -> Iterator[str | None]:
    for value in array.to_pylist():
        yield value if value is None or isinstance(value, str) else orjson.dumps(value).decode()
