"""How wide the bounds of a share are, beside others that also stay valid at every look."""

from collections.abc import Callable, Iterator

import numpy as np
from many import Floats
from scipy.optimize import brentq
from scipy.special import betaln

from modelendpoint_operator.rollout.gates.sequential import Sample, smallest_mean

ALPHA = 0.05


def widths() -> Iterator[tuple[float, int, float, list[float]]]:
    """Name share, observations, our width, and those of the others."""
    for share in (0.01, 0.05, 0.5):
        for size in (10, 100, 1000, 10_000, 100_000, 1_000_000):
            hits = round(share * size)
            if hits:
                ours = _width(smallest, hits, size)
                others = [_width(best_rate, hits, size), _beta_binomial(hits, size), _empirical_bernstein(hits, size)]
                yield share, size, ours, others


def _width(lower: Callable[[int, int], float], hits: int, size: int) -> float:
    return 1 - lower(size - hits, size) - lower(hits, size)


def smallest(hits: int, size: int) -> float:
    """Bound from below, ours."""
    return smallest_mean(Sample(hits, size), alpha=ALPHA / 2)


def best_rate(hits: int, size: int) -> float:
    """Bound from below if the best λ were known beforehand: nobody can do better with such a product."""
    if hits == 0:
        return 0.0
    share, level = hits / size, np.log(2 / ALPHA)

    def evidence(mean: float) -> float:
        missed = (1 - share) * np.log((1 - share) / (1 - mean)) if share < 1 else 0.0
        return float(size * (share * np.log(share / mean) + missed) - level)

    return float(brentq(evidence, 1e-300, share))


def _beta_binomial(hits: int, size: int) -> float:
    """Robbins' mixture over all alternatives, evenly: both bounds at once. Valid only for a chance that never changes."""

    def evidence(mean: float) -> float:
        likely = betaln(1 + hits, 1 + size - hits) - hits * np.log(mean) - (size - hits) * np.log1p(-mean)
        return float(likely - np.log(1 / ALPHA))

    share = hits / size
    lower = brentq(evidence, 1e-300, share) if evidence(share) < 0 else share
    return float(brentq(evidence, share, 1 - 1e-12) - lower)


def _empirical_bernstein(hits: int, size: int) -> float:
    """Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024), theorem 2."""
    seen = np.zeros(size)
    seen[:hits] = 1
    np.random.default_rng(13).shuffle(seen)
    count = np.arange(1, size + 1)
    means = (0.5 + seen.cumsum()) / (count + 1)
    variances = (0.25 + ((seen - means) ** 2).cumsum()) / (count + 1)
    before: Floats = np.append(0.25, variances[:-1])
    rates = np.minimum(np.sqrt(2 * np.log(2 / ALPHA) / (before * count * np.log(1 + count))), 0.5)
    errors = 4 * (seen - np.append(0.5, means[:-1])) ** 2
    spent = (errors * (-np.log1p(-rates) - rates) / 4).sum()
    return float(min(1.0, 2 * (np.log(2 / ALPHA) + spent) / rates.sum()))
