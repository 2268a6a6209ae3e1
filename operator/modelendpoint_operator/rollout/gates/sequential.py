"""Bounds that stay valid however often they are looked at. What is compared, and with what, must not be here.

A hit is 1, a miss 0. For a hit whose chance is ``m``, given all that went before, and a fixed ``λ ≥ 0`` the factor
``exp(λ·x) / (1 - m + m·exp(λ))`` is 1 on average, so the product over all observations is a martingale that starts at
1, and by Ville's inequality it ever reaches ``1/alpha`` with probability alpha at most: it is evidence against so
small an ``m``. ``log(1 - m + m·exp(λ))`` is concave in ``m``, so with the *mean* of all chances so far in the place of each the
product is never larger: chances may drift, the bounds are those of their mean. An average of such products over several
``λ``, fixed beforehand, is one again. The best ``λ`` depends on how many observations there will be; the grid below has
one near it from ten observations to a million. By turning hits into misses the same is evidence against a large ``m``.

Two samples are compared by the product of both evidences, which is evidence against the *pair* of means: every pair
whose evidence stays below ``1/alpha`` is possible, and a difference is bounded by the worst of the possible pairs. This
needs about half the observations of two separate bounds with ``alpha / 2`` each.

Assumed: requests are split at random, so that the chance of a hit does not depend on the other sample's future.

Sources: Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform Chernoff bounds via nonnegative supermartingales", Probability
Surveys 17 (2020) (sub-Bernoulli processes, Ville's inequality), and "Time-uniform, nonparametric, nonasymptotic
confidence sequences", Annals of Statistics 49 (2021), section 3.2 and appendix (mixtures over a grid of ``λ``); Turner
and Grünwald, "Exact anytime-valid confidence intervals for contingency tables and beyond", Statistics and Probability
Letters 198 (2023) (products of evidences for two samples).
"""

import math
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Sample:
    """Observations that hit or missed. Fractions are allowed, to ask what would be if there were more of the same."""

    hits: float
    size: float

    @property
    def share(self) -> float:
        """Share of hits; 0 without observations."""
        return self.hits / self.size if self.size else 0.0

    @property
    def complement(self) -> "Sample":
        """The same observations with hits for misses."""
        return Sample(self.size - self.hits, self.size)

    def times(self, factor: float) -> "Sample":
        """What it would be with so many times as many observations of the same kind."""
        return Sample(self.hits * factor, self.size * factor)


def _grid() -> tuple[tuple[float, float, float], ...]:
    """List log weight, λ and exp(λ) - 1.

    Weights are those of a Cauchy distribution of log λ around 0.7, where comparisons of a few hundred requests are
    decided. λ = 0, which bets nothing, keeps the loss small that one sample without news costs a pair.
    """
    rates = [8.0 * 0.5**step for step in range(14)]
    bells = [1 / (1 + (math.log(rate / 0.7) / 1.5) ** 2) for rate in rates]
    weights = [0.9 * bell / sum(bells) for bell in bells]
    return tuple(
        (math.log(weight), rate, math.expm1(rate)) for weight, rate in zip([*weights, 0.1], [*rates, 0.0], strict=True)
    )


GRID = _grid()
"""Fixed beforehand: whoever chooses by what was seen can no longer be sure."""
LEAST_EVIDENCE = GRID[-1][0]
"""No sample has less, as a natural logarithm."""
_PRECISION = 1e-4
"""Of logarithms of evidence, where Newton's steps end. What is left makes bounds wider, never narrower."""


def log_evidence(sample: Sample, mean: float) -> float:
    """Weigh the evidence that the mean chance of a hit is above ``mean``, as a natural logarithm."""
    hits, size = sample.hits, sample.size
    logs = [
        weight + rate * hits - size * growth for (weight, rate, _), growth in zip(GRID, _growths(mean), strict=True)
    ]
    top = max(logs)
    return top + math.log(sum([math.exp(log - top) for log in logs]))


@lru_cache(maxsize=64)
def _growths(mean: float) -> tuple[float, ...]:
    return tuple(math.log1p(mean * growth) for _, _, growth in GRID)


def _value_and_slope(sample: Sample, mean: float) -> tuple[float, float]:
    """Weigh the evidence against ``mean``, and say how that changes with it: convex, and falling."""
    hits, size = sample.hits, sample.size
    logs = [weight + rate * hits - size * math.log1p(mean * growth) for weight, rate, growth in GRID]
    top = max(logs)
    total = slopes = 0.0
    for log, (_, _, growth) in zip(logs, GRID, strict=True):
        part = math.exp(log - top)
        total += part
        slopes += part * growth / (1 + mean * growth)
    return top + math.log(total), -size * slopes / total


def _smallest_mean(sample: Sample, level: float, start: float = 0.0) -> tuple[float, float]:
    """Find the smallest mean with no more evidence against it than ``level``, and how the level falls as it rises.

    Newton's steps on a convex falling curve never go past the root, so an early end is on the safe side. A root that
    is known not to be below ``start`` is found sooner.
    """
    mean = start
    for _ in range(100):
        value, slope = _value_and_slope(sample, mean)
        if value - level <= _PRECISION or mean == 1:
            break
        mean = min(1.0, mean + (value - level) / -slope)
    return mean, slope


def smallest_mean(sample: Sample, *, alpha: float) -> float:
    """Bound the mean chance of a hit from below. The bound from above is what that of the complement leaves to 1."""
    return _smallest_mean(sample, math.log(1 / alpha))[0]


_HALVINGS = 9
"""How often the range of shares, about ten wide, is halved: near its minimum the difference hardly changes."""


def smallest_difference(one: Sample, other: Sample, *, alpha: float) -> float:
    """Bound the mean chance of a hit in one sample, less that in the other, from below.

    The bound from above is that of the samples swapped, with its sign turned.

    The worst pair of means uses up all the evidence that is allowed; what is looked for is the other sample's share of
    it. The possible pairs are a convex set, so along that share the difference first falls and then rises.
    """
    level = math.log(1 / alpha)
    turned = other.complement
    low, high = log_evidence(turned, 1), level - log_evidence(one, 1)
    least_mean, _ = _smallest_mean(one, level - low)
    least_miss, _ = _smallest_mean(turned, high)
    smallest = min(least_mean, least_miss)
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        mean, fall = _smallest_mean(one, level - share, least_mean)
        miss, rise = _smallest_mean(turned, share, least_miss)
        smallest = min(smallest, mean + miss - 1)
        if mean == 0 or (miss > 0 and fall < rise):
            low, least_mean = share, mean
        else:
            high, least_miss = share, miss
    return smallest
