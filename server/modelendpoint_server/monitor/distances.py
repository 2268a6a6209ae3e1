"""How far two sets of counts over the same bins are apart. What may be chance is not known here."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Shares = NDArray[np.float64]


def population_stability(reference: ArrayLike, window: ArrayLike) -> float:
    """Compute the population stability index: 0 for equal shares, 0.1 for a change that matters, 0.25 for a large one.

    Half a row is added to each bin, so that an empty one does not make it infinite.
    """
    p, q = _shares(reference, added=0.5), _shares(window, added=0.5)
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(reference: ArrayLike, window: ArrayLike) -> float:
    """Compute the Jensen-Shannon distance to base 2: 0 for equal shares, 1 for sets that have no bin in common."""
    p, q = _shares(reference), _shares(window)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def kolmogorov_smirnov(reference: ArrayLike, window: ArrayLike) -> float:
    """Compute the largest difference of the shares of values below an edge; bins must have an order."""
    return float(np.abs(np.cumsum(_shares(reference)) - np.cumsum(_shares(window))).max())


def _shares(counts: ArrayLike, *, added: float = 0.0) -> Shares:
    values: Shares = np.asarray(counts, np.float64) + added
    return np.asarray(values / values.sum())


def _relative_entropy(p: Shares, q: Shares) -> float:
    some = p > 0
    return float((p[some] * np.log2(p[some] / q[some])).sum())
