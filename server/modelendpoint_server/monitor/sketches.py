"""Counts of many rows by the bins of a profile. Sketches of parts add up to that of the whole, in any order.

No thresholds and no tests here.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from modelendpoint_server.monitor.reference import Categories, ColumnProfile, Numbers
from modelendpoint_server.monitor.series import Series

Counts = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sketch:
    """One column of some rows."""

    counts: Counts
    """Values of each bin, or of each category; the last two places of categories are for all rare and all unknown values."""
    missing: int = 0
    """Rows without a value, or with none that is finite."""
    outside: int = 0
    """Numbers below the least or above the greatest of the reference; they are in ``counts`` too."""
    total: float = 0.0
    """Sum of the numbers."""
    minimum: float = math.inf
    maximum: float = -math.inf

    @property
    def values(self) -> int:
        """Rows that have a value."""
        return int(self.counts.sum())

    @property
    def rows(self) -> int:
        """All rows."""
        return self.values + self.missing

    @property
    def mean(self) -> float:
        """Mean of the numbers; NaN without any."""
        return self.total / self.values if self.values else math.nan

    def plus(self, other: "Sketch") -> "Sketch":
        """Return the sketch of the rows of both."""
        return Sketch(
            counts=self.counts + other.counts,
            missing=self.missing + other.missing,
            outside=self.outside + other.outside,
            total=self.total + other.total,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
        )


def empty(profile: ColumnProfile) -> Sketch:
    """Return the sketch of no rows."""
    return Sketch(counts=np.zeros(len(profile.counts) + 2 * isinstance(profile, Categories), np.int64))


def fits(profile: ColumnProfile, series: Series) -> bool:
    """Tell whether the column has the kind of values, numbers or texts, that the profile tells of."""
    is_numeric = isinstance(profile, Numbers) or profile.is_numeric
    return is_numeric == (series.dtype.kind != "O")


def sketch(profile: ColumnProfile, series: Series) -> Sketch:
    """Count the values of a series that fits."""
    if isinstance(profile, Numbers):
        return _numbers(profile, series)
    return _of_numbers(profile, series) if series.dtype.kind != "O" else _of_texts(profile, series)


def _numbers(profile: Numbers, series: Series) -> Sketch:
    values = series[np.isfinite(series)]
    bins = np.searchsorted(np.array(profile.edges), values, side="right")
    outside = (values < profile.minimum) | (values > profile.maximum)
    return Sketch(
        counts=np.bincount(bins, minlength=len(profile.counts)),
        missing=len(series) - len(values),
        outside=int(outside.sum()),
        total=float(values.sum()),
        minimum=float(values.min(initial=math.inf)),
        maximum=float(values.max(initial=-math.inf)),
    )


def _of_numbers(profile: Categories, series: Series) -> Sketch:
    values = series[np.isfinite(series)]
    is_known, places = _find(np.array(profile.values, np.float64), values)
    is_rare, _ = _find(np.array(profile.rare, np.float64), values)
    rest = len(profile.values)
    return Sketch(
        counts=np.bincount(np.where(is_known, places, np.where(is_rare, rest, rest + 1)), minlength=rest + 2),
        missing=len(series) - len(values),
        total=float(values.sum()),
        minimum=float(values.min(initial=math.inf)),
        maximum=float(values.max(initial=-math.inf)),
    )


def _find(known: Series, values: Series) -> tuple[NDArray[np.bool_], Counts]:
    """Look values up among sorted ones; return which are there, and where."""
    places = np.searchsorted(known, values)
    is_there = np.zeros(len(values), bool)
    inside = places < len(known)
    is_there[inside] = known[places[inside]] == values[inside]
    return is_there, places


def _of_texts(profile: Categories, series: Series) -> Sketch:
    rest = len(profile.values)
    places = {**dict.fromkeys(profile.rare, rest), **{value: place for place, value in enumerate(profile.values)}}
    found = [places.get(value, rest + 1) for value in series.tolist() if value is not None]
    return Sketch(counts=np.bincount(np.array(found, np.int64), minlength=rest + 2), missing=len(series) - len(found))
