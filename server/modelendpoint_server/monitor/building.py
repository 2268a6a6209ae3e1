"""Makes a reference profile of rows that come in chunks: more of them than fit into memory. No files here.

Ranges, means, missing values and few values are those of all rows. Bins of numbers and the commonest of many texts are those
of a uniform sample of up to 100,000 rows, the same for the same rows.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from modelendpoint_server.errors import InvalidProfile
from modelendpoint_server.monitor.reference import Categories, ColumnProfile, Numbers, Profile
from modelendpoint_server.monitor.sample import Column
from modelendpoint_server.monitor.series import Series, is_wide, series_of

_BINS = 20
_FEW = 32
"""A column of numbers with no more different values has them counted one by one."""
_MOST_CATEGORIES = 64
_MOST_DISTINCT = 1000
"""Texts are counted exactly up to so many different ones."""
_PLENTY = 20
"""Rows of a value that would not have been overlooked in another reference."""
_SAMPLE = 100_000
_LEAST_SAMPLE = 2_000
_MOST_VALUES = 8_000_000
"""Of all samples together; with the numbers that they are drawn by, and room to draw, some 256 MB."""


class ProfileBuilder:
    """Takes chunks of rows."""

    def __init__(self, *, sample: int = _SAMPLE) -> None:
        self._sample = sample
        self.rows = 0
        """Rows so far."""
        self._summarised: set[str] = set()
        self._inputs: dict[str, _Column] = {}
        self._outputs: dict[str, _Column] = {}

    def add(self, inputs: Mapping[str, Column], outputs: Mapping[str, Column], *, rows: int) -> None:
        """Take a chunk; outputs may have fewer rows, where the model has no answer to some."""
        self.rows += rows
        for columns, known in ((inputs, self._inputs), (outputs, self._outputs)):
            self._summarised |= {name for name, column in columns.items() if is_wide(column)}
            for name, series in series_of(columns, self._summarised).items():
                if name not in known:
                    known[name] = _Column(seed=len(self._inputs) + len(self._outputs))
                known[name].add(series, most=self._most())

    def build(self, *, model_sha256: str) -> tuple[Profile, tuple[str, ...]]:
        """Return the profile, and the columns that are not in it as they have no value at all."""
        inputs = {name: column.build(name, most=self._most()) for name, column in self._inputs.items()}
        outputs = {name: column.build(name, most=self._most()) for name, column in self._outputs.items()}
        profile = Profile(
            model_sha256=model_sha256,
            rows=self.rows,
            inputs=tuple(column for column in inputs.values() if column is not None),
            outputs=tuple(column for column in outputs.values() if column is not None),
            summarised=frozenset(self._summarised),
        )
        if not profile.by_name:
            raise InvalidProfile("There is no column with a value in the data. Give it rows that the model takes.")
        return profile, tuple(name for name, column in (*inputs.items(), *outputs.items()) if column is None)

    def _most(self) -> int:
        columns = max(1, len(self._inputs) + len(self._outputs))
        return max(_LEAST_SAMPLE, min(self._sample, _MOST_VALUES // columns))


@dataclasses.dataclass
class _Moments:
    """Mean and spread of what has been seen, by Chan's rule for adding parts."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, values: Series) -> None:
        if not len(values):
            return
        count, mean = len(values), float(values.mean())
        total, apart = self.count + count, mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + apart * apart * self.count * count / total
        self.mean += apart * count / total
        self.count = total
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))


class _Column:
    def __init__(self, *, seed: int) -> None:
        self._rows = self._missing = 0
        self._moments = _Moments()
        self._distinct: Counter[Any] | None = Counter()
        """``None`` when there are too many."""
        self._drawn = _Drawn(seed)
        self._is_numeric = True

    def add(self, series: Series, *, most: int) -> None:
        self._is_numeric = series.dtype.kind != "O"
        values = series[np.isfinite(series)] if self._is_numeric else _present(series)
        self._rows += len(series)
        self._missing += len(series) - len(values)
        if self._is_numeric:
            self._moments.add(values)
        self._count(values)
        self._drawn.add(values, most=most)

    def _count(self, values: Series) -> None:
        if self._distinct is None:
            return
        self._distinct.update(_counted(values))
        if len(self._distinct) > (_FEW if self._is_numeric else _MOST_DISTINCT):
            self._distinct = None

    def build(self, name: str, *, most: int) -> ColumnProfile | None:
        if self._missing == self._rows:
            return None
        if self._distinct is None and self._is_numeric:
            return self._numbers(name, self._drawn.take(most))
        return self._categories(name, self._drawn.take(most))

    def _categories(self, name: str, drawn: Series) -> Categories:
        exact = self._distinct if self._distinct is not None else Counter(_counted(drawn))
        is_complete = self._distinct is not None and len(exact) <= _MOST_CATEGORIES
        if is_complete and min(exact.values()) >= _PLENTY:
            chosen, counts = sorted(exact), exact
        else:
            half = (len(drawn) + 1) // 2
            common = sorted(_counted(drawn[:half]).items(), key=lambda item: (-item[1], item[0]))
            chosen, counts = (
                sorted(value for value, _ in common[:_MOST_CATEGORIES]),
                _counted(drawn[half:] if len(drawn) > 1 else drawn),
            )
        return Categories(
            name=name,
            rows=self._rows,
            missing=self._missing,
            values=tuple(chosen),
            counts=tuple(counts[value] for value in chosen),
            others=sum(counts.values()) - sum(counts[value] for value in chosen),
            rare=tuple(sorted(set(exact) - set(chosen))) if is_complete else (),
            is_complete=is_complete,
            seen_once=sum(count == 1 for count in exact.values()),
        )

    def _numbers(self, name: str, drawn: Series) -> Numbers:
        moments = self._moments
        # Values of the data themselves, so that rounding does not decide to which bin many equal ones belong.
        cuts = np.quantile(drawn, np.arange(1, _BINS) / _BINS, method="inverted_cdf")
        # A value that is a bin's worth and more has a bin of its own.
        edges = np.unique(np.concatenate([cuts, np.nextafter(cuts[1:][cuts[1:] == cuts[:-1]], np.inf)]))
        edges = edges[(edges > drawn.min()) & (edges <= drawn.max())]
        counts = np.bincount(np.searchsorted(edges, drawn, side="right"), minlength=len(edges) + 1)
        return Numbers(
            name=name,
            rows=self._rows,
            missing=self._missing,
            minimum=moments.minimum,
            maximum=moments.maximum,
            mean=_rounded(moments.mean),
            deviation=_rounded(math.sqrt(moments.squares / moments.count)),
            edges=tuple(edges.tolist()),
            counts=tuple(counts.tolist()),
        )


class _Drawn:
    """A uniform sample of a stream: the values with the smallest of the random numbers that all of them get."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._values: list[Series] = []
        self._keys: list[Series] = []
        self._held = 0
        self._bound = 1.0

    def add(self, values: Series, *, most: int) -> None:
        keys = self._random.random(len(values))
        chosen = keys < self._bound
        self._values.append(values[chosen])
        self._keys.append(keys[chosen])
        self._held += int(chosen.sum())
        if self._held > 2 * most:
            self.take(most)

    def take(self, most: int) -> Series:
        """Return the sample in random order, and forget what is not in it."""
        values, keys = np.concatenate(self._values), np.concatenate(self._keys)
        order = np.argsort(keys)[:most]
        if len(order) < len(keys):
            self._bound = float(keys[order[-1]])
        values, keys = values[order], keys[order]
        self._values, self._keys, self._held = [values], [keys], len(values)
        return values


def _present(series: Series) -> Series:
    return series[[value is not None for value in series.tolist()]] if len(series) else series


def _rounded(value: float) -> float:
    """Leave out the digits that depend on the order of additions: the same rows have the same profile in any format."""
    return float(f"{value:.9g}")


def _counted(values: Series) -> Counter[Any]:
    if values.dtype.kind == "O":
        return Counter(values.tolist())
    distinct, counts = np.unique(values, return_counts=True)
    return Counter(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))
