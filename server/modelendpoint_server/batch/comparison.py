"""Two models on the same rows: where they disagree, and by how much. Pure."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from modelendpoint_server.batch.errors import ModelsDiffer
from modelendpoint_server.batch.rows import Numbers
from modelendpoint_server.batch.scoring import Scored
from modelendpoint_server.batch.specification import Challenger
from modelendpoint_server.signature import Signature

SUFFIX = "_challenger"
DIFFERENCE = "difference"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tally:
    """How two models did on some rows."""

    rows: int = 0
    disagreeing: int = 0
    largest_difference: float = 0.0
    only_one: int = 0
    """Rows of these that only one of the two could predict."""

    def plus(self, other: "Tally") -> "Tally":
        """Add the figures of more rows."""
        return Tally(
            rows=self.rows + other.rows,
            disagreeing=self.disagreeing + other.disagreeing,
            largest_difference=max(self.largest_difference, other.largest_difference),
            only_one=self.only_one + other.only_one,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        return {
            "rows": self.rows,
            "disagreeing": self.disagreeing,
            "onlyOnePredicts": self.only_one,
            "largestDifference": self.largest_difference,
        }

    @classmethod
    def of(cls, documents: Iterable[Mapping[str, Any] | None]) -> "Tally":
        """Sum up what ``as_json`` wrote."""
        total = cls()
        for document in documents:
            if document:
                total = total.plus(
                    cls(
                        rows=document["rows"],
                        disagreeing=document["disagreeing"],
                        largest_difference=document["largestDifference"],
                        only_one=document["onlyOnePredicts"],
                    )
                )
        return total


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """The rows on which the models disagree."""

    tally: Tally
    rows: Numbers
    """Positions among the rows that were asked for."""
    columns: dict[str, pa.Array]


def check_comparable(one: Signature, other: Signature) -> None:
    """Raise ``ModelsDiffer`` unless both models have the same outputs."""
    ours, theirs = [spec.name for spec in one.outputs], [spec.name for spec in other.outputs]
    if ours != theirs:
        raise ModelsDiffer(
            f"The models can't be compared: the outputs are {', '.join(ours)} here and {', '.join(theirs)} in compareWith."
            " Give them the same names."
        )


def compare(one: Scored, other: Scored, challenger: Challenger) -> Disagreement:
    """Compare predictions row by row."""
    common, left, right = np.intersect1d(one.good, other.good, assume_unique=True, return_indices=True)
    amounts = np.zeros(len(common))
    differs = np.zeros(len(common), bool)
    for name in one.columns if len(common) else ():
        theirs = other.columns.get(name)
        if theirs is None:
            differs[:] = True
            continue
        amount, beyond = _difference(one.columns[name].take(pa.array(left)), theirs.take(pa.array(right)), challenger)
        amounts, differs = np.fmax(amounts, amount), differs | beyond
    finite = amounts[np.isfinite(amounts)]
    only_one = len(one.good) + len(other.good) - 2 * len(common)
    tally = Tally(
        rows=len(common) + only_one,
        disagreeing=int(differs.sum()) + only_one,
        largest_difference=float(finite.max()) if len(finite) else 0.0,
        only_one=only_one,
    )
    columns = _side_by_side(one, other, left[differs], right[differs])
    columns[DIFFERENCE] = pa.array(amounts[differs])
    return Disagreement(tally, common[differs], columns)


def _side_by_side(one: Scored, other: Scored, left: Numbers, right: Numbers) -> dict[str, pa.Array]:
    columns: dict[str, pa.Array] = {}
    for name, values in one.columns.items():
        columns[name] = values.take(pa.array(left))
        if name in other.columns:
            columns[name + SUFFIX] = other.columns[name].take(pa.array(right))
    return columns


def _difference(
    ours: pa.Array, theirs: pa.Array, challenger: Challenger
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the largest difference of each row's values, and whether one is beyond what is tolerated."""
    rows = len(ours)
    if _width(ours) != _width(theirs) or not (_is_number(ours) and _is_number(theirs)):
        beyond = np.array([a != b for a, b in zip(ours.to_pylist(), theirs.to_pylist(), strict=True)], bool)
        return np.zeros(rows), beyond
    a, b = _matrix(ours, rows), _matrix(theirs, rows)
    with np.errstate(invalid="ignore"):
        amount = np.abs(a - b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        allowed = challenger.absolute_tolerance + challenger.relative_tolerance * np.abs(a)
        beyond = ~same & ~(amount <= allowed)
    return np.where(same, 0.0, amount).max(axis=1, initial=0.0), beyond.any(axis=1)


def _matrix(array: pa.Array, rows: int) -> NDArray[np.float64]:
    values = array.flatten() if pa.types.is_fixed_size_list(array.type) else array
    matrix: NDArray[np.float64] = np.asarray(pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False))
    return matrix.reshape(rows, -1)


def _width(array: pa.Array) -> int:
    return int(array.type.list_size) if pa.types.is_fixed_size_list(array.type) else 1


def _is_number(array: pa.Array) -> bool:
    kind = array.type.value_type if pa.types.is_fixed_size_list(array.type) else array.type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
