"""The operator's gates for many rollouts at once, in numpy. `agrees_with_the_operator` in run.py holds them to it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from modelendpoint_operator.rollout.gates.sequential import GRID

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Evidence = Callable[[Indices, Indices], Floats]

_LOG_WEIGHTS, _RATES, _GROWTHS = (np.array(column)[:, None] for column in zip(*GRID, strict=True))
_CUTS = 45
_GOLDEN = (5**0.5 - 1) / 2


def log_evidence(hits: Floats, sizes: Floats, means: Floats | float) -> Floats:
    """Weigh the evidence that the means are higher, element by element."""
    shape = np.broadcast(hits, sizes, means).shape
    hits, sizes, means = (np.broadcast_to(part, shape).ravel() for part in (hits, sizes, np.asarray(means)))
    logs = _LOG_WEIGHTS + _RATES * hits - sizes * np.log1p(_GROWTHS * means)
    top = logs.max(axis=0)
    evidence: Floats = top + np.log(np.exp(logs - top).sum(axis=0))
    return evidence.reshape(shape)


def is_above(one: tuple[Floats, Floats], other: tuple[Floats, Floats], difference: float, level: float) -> Bools:
    """Tell where one mean less the other is certainly above a difference; samples are hits and sizes."""
    found = np.zeros(len(one[0]), dtype=bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = np.nan_to_num(one[0] / one[1]) - np.nan_to_num(other[0] / other[1])
    (open_,) = np.nonzero(seen > difference)
    low, high = max(0.0, -difference), min(1.0, 1 - difference)

    def evidence(where: Indices, means: Floats) -> Floats:
        ours = log_evidence(one[0][where], one[1][where], np.clip(means + difference, 0, 1))
        misses = other[1][where] - other[0][where]
        return ours + log_evidence(misses, other[1][where], 1 - means)

    sums = one[0] + other[0] - difference * one[1]
    pooled = np.clip(sums / np.maximum(1, one[1] + other[1]), low, high)
    # Any pair with less evidence against it than the level is possible: most rollouts are done with here.
    open_ = open_[evidence(open_, pooled[open_]) >= level]
    lows, highs = np.full(len(open_), low), np.full(len(open_), high)
    for _ in range(_CUTS):
        if not len(open_):
            return found
        left, right = highs - _GOLDEN * (highs - lows), lows + _GOLDEN * (highs - lows)
        at_left, at_right = evidence(open_, left), evidence(open_, right)
        still = np.minimum(at_left, at_right) >= level
        lows, highs = np.where(at_left < at_right, lows, left)[still], np.where(at_left < at_right, right, highs)[still]
        open_ = open_[still]
    found[open_] = True
    return found


class Buckets:
    """One layout of latency buckets for all rollouts, with what a percentile of one allows for the other."""

    def __init__(self, edges: Floats, *, share: float, percent: float, milliseconds: float) -> None:
        self.edges, self.share = edges, share
        allowed = edges + np.maximum(edges * percent / 100, milliseconds)
        highest = np.searchsorted(edges[:-1], allowed[1:], side="right") - 1
        self._highest_low = np.append(highest, len(edges) - 2)
        self._lowest_high = np.searchsorted(edges[1:], allowed[:-1] + 1e-9, side="right")
        self._no_low = np.searchsorted(edges[1:], max(0.0, milliseconds) + 1e-9, side="right")

    def fails(self, new: Floats, old: Floats, level: float) -> Bools:
        """Tell where the candidate's percentile is certainly above what is allowed; rows of answers per bucket."""
        sums, size, old_before = new.cumsum(axis=1), new.sum(axis=1, keepdims=True), _before(old)
        old_size = old_before[:, -1:]

        def evidence(rows: Indices, highs: Indices) -> Floats:
            ours = size[rows] - sums[rows[:, None], self._highest_low[highs]]
            theirs = old_before[rows[:, None], highs]
            return log_evidence(ours, size[rows], 1 - self.share) + log_evidence(theirs, old_size[rows], self.share)

        at_percentile = np.minimum((old_before <= self.share * old_size).sum(axis=1) - 1, len(self._highest_low) - 1)
        return _all(evidence, at_percentile, len(self._highest_low), level)

    def passes(self, new: Floats, old: Floats, level: float) -> Bools:
        """Tell where the candidate's percentile is certainly not above what is allowed."""
        before, old_sums = _before(new), old.cumsum(axis=1)
        size, old_size = before[:, -1:], old_sums[:, -1:]

        def evidence(rows: Indices, lows: Indices) -> Floats:
            ours = before[rows[:, None], self._lowest_high[lows]]
            theirs = old_size[rows] - old_sums[rows[:, None], lows]
            return log_evidence(ours, size[rows], self.share) + log_evidence(theirs, old_size[rows], 1 - self.share)

        def evidence_at_nothing(rows: Indices) -> Floats:
            ours = before[rows, self._no_low]
            return log_evidence(ours, size[rows, 0], self.share) + log_evidence(
                old_size[rows, 0], old_size[rows, 0], 1 - self.share
            )

        at_percentile = np.minimum((old_sums < self.share * old_size).sum(axis=1), len(self._lowest_high) - 1)
        found = _all(evidence, at_percentile, len(self._lowest_high), level)
        (rows,) = np.nonzero(found)
        found[rows] = evidence_at_nothing(rows) >= level
        return found


def _before(answers: Floats) -> Floats:
    """Count the answers below each edge, with one column more than there are buckets."""
    return np.concatenate([np.zeros((len(answers), 1)), answers.cumsum(axis=1)], axis=1)


def _all(evidence: Evidence, likely: Indices, edges: int, level: float) -> Bools:
    """Tell in which rows the evidence reaches the level at every edge, the likeliest to be too little tried first."""
    rows = np.arange(len(likely))
    found = np.zeros(len(likely), dtype=bool)
    rows = rows[(evidence(rows, likely[:, None]) >= level).all(axis=1)]
    for part in np.array_split(rows, 1 + len(rows) // 500):
        every = np.broadcast_to(np.arange(edges), (len(part), edges))
        found[part] = (evidence(part, every) >= level).all(axis=1)
    return found
