"""How far the answers of two models to the same rows differ. No printing here.

Outputs of whole numbers, booleans and texts are *labels*: they agree or flip. All others are *numbers*: they have a
distance, and differ when it is above ``absolute + relative · |old|``, as golden examples have it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelendpoint.errors import CliError
from modelendpoint.models.opened import OpenModel
from modelendpoint_server.errors import RequestError
from modelendpoint_server.golden import Tolerance
from modelendpoint_server.inference import Call
from modelendpoint_server.signature import Signature

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delta:
    """One value that differs, with the number of its row in the data, from 0."""

    row: int
    place: str
    """The column of the output, or the key of a map; empty when the output has one value a row."""
    old: Any
    new: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputAgreement:
    """How one output compares."""

    output: str
    is_label: bool
    rows: int
    differing_rows: int
    """Rows with a flipped label, or with a number beyond the tolerance."""
    largest: float
    """The largest difference of two numbers; 0 for labels."""
    mean: float
    deltas: Sequence[Delta]
    """The first flips; or the largest differences, the largest first."""

    @property
    def differing_percent(self) -> float:
        """The share of rows that differ."""
        return 100 * self.differing_rows / self.rows if self.rows else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """A row that one of the models does not answer."""

    row: int
    model: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How two models compare on all rows."""

    rows: int
    refusals: Sequence[Refusal]
    outputs: Sequence[OutputAgreement]

    @property
    def judged(self) -> Sequence[OutputAgreement]:
        """The outputs that decide: the labels where there are some, as two trainings never give the same numbers."""
        return [output for output in self.outputs if output.is_label] or self.outputs


def compare_answers(
    old: OpenModel, new: OpenModel, calls: tuple[Call, Call], tolerance: Tolerance, *, shown: int
) -> Agreement:
    """Ask both models the same rows, each in its own form, and compare the outputs that both have.

    Raise ``CliError`` when the rows of the one are not those of the other.
    """
    rows = count_rows(calls[0], old.signature)
    if count_rows(calls[1], new.signature) != rows:
        raise CliError(f"{new.place} takes another number of rows at once than {old.place}, so they can't be compared.")
    answers = [ask_rows(model, call) for model, call in zip((old, new), calls, strict=True)]
    refusals = [
        Refusal(row=row, model=model.place, reason=str(answer))
        for model, given in zip((old, new), answers, strict=True)
        for row, answer in enumerate(given)
        if isinstance(answer, RequestError)
    ]
    both = [
        (row, one, other)
        for row, (one, other) in enumerate(zip(*answers, strict=True))
        if not isinstance(one, RequestError) and not isinstance(other, RequestError)
    ]
    common = [name for name in old.signature.output_names if name in new.signature.output_names]
    outputs = [
        _compare(name, [(row, one[name], other[name]) for row, one, other in both], tolerance, shown=shown)
        for name in common
    ]
    return Agreement(rows=rows, refusals=refusals, outputs=outputs)


def count_rows(call: Call, signature: Signature) -> int:
    """Count the rows, also of a request that holds more of them than the model takes at once."""
    spec = signature.inputs[0]
    one_at_a_time = spec.shape[:1] == [1] and len(signature.inputs) == 1
    return len(call.inputs[spec.name]) if one_at_a_time else signature.count_rows(call.inputs)


def ask_rows(model: OpenModel, call: Call) -> list[Mapping[str, Any] | RequestError]:
    """Ask for all rows at once, and row by row where that fails: one bad row must not hide the others' answers.

    Raise ``CliError`` for a model whose answers have no rows.
    """
    rows = count_rows(call, model.signature)
    if rows != 1:
        whole = _ask_one(model, call)
        if not isinstance(whole, RequestError):
            return _by_row(model, whole, rows)
    return [_ask_row(model, call, row, rows) for row in range(rows)]


def _ask_row(model: OpenModel, call: Call, row: int, rows: int) -> Mapping[str, Any] | RequestError:
    one = {name: tensor[row : row + 1] if len(tensor) == rows else tensor for name, tensor in call.inputs.items()}
    answer = _ask_one(model, Call(one if rows != 1 else call.inputs))
    return answer if isinstance(answer, RequestError) else _by_row(model, answer, 1)[0]


def _by_row(model: OpenModel, answer: Mapping[str, Any], rows: int) -> list[Mapping[str, Any] | RequestError]:
    if not all(_has_rows(value, rows) for value in answer.values()):
        if rows == 1:
            return [answer]
        raise CliError(f"{model.place} does not answer row by row, so its answers can't be compared by row.")
    return [{name: value[row] for name, value in answer.items()} for row in range(rows)]


def _ask_one(model: OpenModel, call: Call) -> Mapping[str, Any] | RequestError:
    try:
        return model.predictor.predict(call).outputs
    except RequestError as error:
        return error


def _has_rows(value: Any, rows: int) -> bool:
    return getattr(value, "shape", None) != () and len(value) == rows


def _compare(name: str, pairs: Sequence[tuple[int, Any, Any]], tolerance: Tolerance, *, shown: int) -> OutputAgreement:
    parts = [(row, flat(one), flat(other)) for row, one, other in pairs]
    is_label = not any(isinstance(value, float) for _, one, _ in parts for value in one.values())
    found: list[tuple[float, Delta]] = []
    differing: set[int] = set()
    distances: list[float] = []
    for row, one, other in parts:
        for place in (*one, *(place for place in other if place not in one)):
            delta = Delta(row=row, place=place, old=one.get(place), new=other.get(place))
            distance = _distance(delta, is_label=is_label)
            distances.append(distance)
            if distance > (0.0 if is_label else _allowed(delta, tolerance)):
                differing.add(row)
            if distance > 0:
                found.append((distance, delta))
    found.sort(key=lambda item: -item[0])
    return OutputAgreement(
        output=name,
        is_label=is_label,
        rows=len(parts),
        differing_rows=len(differing),
        largest=0.0 if is_label else max(distances, default=0.0),
        mean=0.0 if is_label else float(np.mean(distances)) if distances else 0.0,
        deltas=[delta for _, delta in found[:shown]],
    )


def flat(value: Any) -> dict[str, Any]:
    """Name every value of a row's output by where it is, in the order in which answers have them."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    array = np.asarray(value)
    if not array.shape:
        return {"": _plain(value)}
    return {"".join(f"[{index}]" for index in place): _plain(part) for place, part in np.ndenumerate(array)}


def _plain(value: Any) -> Any:
    """Turn a NumPy scalar into Python's own, a float32 by way of its shortest text."""
    if isinstance(value, np.floating):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value


def _distance(delta: Delta, *, is_label: bool) -> float:
    if delta.old == delta.new or (delta.old != delta.old and delta.new != delta.new):  # NaN agrees with NaN
        return 0.0
    if is_label or delta.old is None or delta.new is None:
        return float("inf")
    distance = abs(float(delta.old) - float(delta.new))
    return float("inf") if math.isnan(distance) else distance


def _allowed(delta: Delta, tolerance: Tolerance) -> float:
    return tolerance.absolute + tolerance.relative * abs(float(delta.old or 0.0))
