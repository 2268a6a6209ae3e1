"""How likely chance alone gives such counts, when rows of the window are drawn as those of the reference were.

Each function returns a probability; that it is at most ``alpha`` happens with probability ``alpha`` at most, exactly for
rates and ranges, and for shares as far as the chi-square distribution is that of the G statistic (bins with few rows are
pooled to that end; ``benchmarks/monitoring`` measures it). No thresholds of effects here.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LEAST_EXPECTED = 5.0
_SMALL = 1e-17
"""What is left out of sums, as a share of them."""
LEAST = 1e-300
"""Anything less likely is told as this."""


def same_shares(reference: ArrayLike, window: ArrayLike) -> float:
    """Test that two samples have the same shares in all bins: the G-test with Williams's correction.

    Without it the test finds up to twice as often as it says in windows with few rows a bin.
    """
    table = _pooled(np.stack([np.asarray(reference, np.float64), np.asarray(window, np.float64)]))
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    some = table > 0
    statistic = 2 * float((table[some] * np.log(table[some] / expected[some])).sum())
    freedom = table.shape[1] - 1
    rows, bins = table.sum() / table.sum(axis=1), table.sum() / table.sum(axis=0)
    correction = 1 + float((rows.sum() - 1) * (bins.sum() - 1)) / (6 * float(table.sum()) * freedom)
    return chi_square_tail(statistic / correction, freedom)


def _pooled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put neighbours together until enough rows of both samples are to be expected.

    Which bins come together must not depend on what is in them: those with few rows of the reference, put together, have
    more of them in any window. Where a group ends does, as any other rule for one bin after the other may.
    """
    reference, size = table[0], table[1].sum()
    if not reference.sum() or not size:
        return table[:, :0]
    needed = _LEAST_EXPECTED * max(1.0, float(reference.sum() / size))
    groups: list[NDArray[np.float64]] = []
    group = np.zeros(2)
    for bins in table.T:
        group = group + bins
        if group[0] >= needed:
            groups.append(group)
            group = np.zeros(2)
    if groups:
        groups[-1] = groups[-1] + group
    return np.array(groups, np.float64).reshape(-1, 2).T


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Return the probability of such a chi-square statistic or a larger one."""
    a, x = freedom / 2, statistic / 2
    if x <= 0:
        return 1.0
    log_front = a * math.log(x) - x - math.lgamma(a)
    if x < a + 1:
        return max(1 - math.exp(log_front) * _lower_series(a, x), LEAST)
    log_tail = log_front + math.log(_upper_fraction(a, x))
    return math.exp(log_tail) if log_tail > math.log(LEAST) else LEAST


def _lower_series(a: float, x: float) -> float:
    """Sum the series of the lower incomplete gamma function, without its front."""
    term = total = 1 / a
    while term > total * _SMALL:
        a += 1
        term *= x / a
        total += term
    return total


def _upper_fraction(a: float, x: float) -> float:
    """Evaluate the continued fraction of the upper incomplete gamma function, without its front (Lentz's method)."""
    b = x + 1 - a
    c, d = math.inf, 1 / b
    value = d
    for step in range(1, 1000):
        numerator = -step * (step - a)
        b += 2
        d = 1 / (numerator * d + b)
        c = b + numerator / c
        value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value


def more_often(hits: int, size: int, *, before: int, of: int) -> float:
    """Test that hits are no more frequent than they were: of all hits, so many or more fall into the window (Fisher)."""
    total = before + hits
    if hits * (size + of) <= total * size:
        return 1.0
    first = _log_choose(size, hits) + _log_choose(of, total - hits) - _log_choose(size + of, total)
    term = share = 1.0
    # Above the mean each term is smaller than the one before.
    for more in range(hits, min(size, total)):
        term *= (size - more) * (total - more) / ((more + 1) * (of - total + more + 1))
        share += term
        if term < share * _SMALL:
            break
    return min(1.0, max(math.exp(max(first + math.log(share), math.log(LEAST))), LEAST))


def beyond_range(outside: int, size: int, *, of: int) -> float:
    """Test that no more values are outside the least and the greatest of ``of`` others than chance puts there.

    If all were drawn alike, any of them is as likely the least as any other: that the ``i`` least and the ``k - i``
    greatest are all of the window has the probability ``choose(of + size - k, of) / choose(of + size, of)``, whatever
    the distribution, and there are ``k + 1`` such cases.
    """
    if not outside:
        return 1.0
    log = math.log(outside + 1) + _log_choose(of + size - outside, of) - _log_choose(of + size, of)
    return min(1.0, math.exp(max(log, math.log(LEAST))))


def _log_choose(of: int, some: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)
