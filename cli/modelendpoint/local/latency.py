"""Percentiles of what the router has counted, for people to look at. No verdict is made of it. Pure."""

from collections.abc import Mapping

Bin = tuple[float, float]
"""A number of milliseconds, and the next one above it that is counted by itself."""


def percentile(counted: Mapping[Bin, int], percent: float) -> float | None:
    """Name the milliseconds that so many percent of the answers did not take longer than; None before the first one.

    It is the upper end of a bin, so it never says that answers are faster than they are.
    """
    wanted = sum(counted.values()) * percent / 100
    seen = 0
    for (_, upper), count in sorted(counted.items()):
        seen += count
        if seen >= wanted and seen > 0:
            return upper
    return None
