"""Distances between counts, against scipy."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr

from modelendpoint_server.monitor.distances import jensen_shannon, kolmogorov_smirnov, population_stability

COUNTS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=2, max_size=30)


@given(COUNTS)
@settings(deadline=None)
def test_distances_are_those_of_scipy(pairs: list[tuple[int, int]]) -> None:
    reference, window = np.array(pairs).T
    assume(reference.sum() and window.sum())
    p, q = (reference + 0.5) / (reference + 0.5).sum(), (window + 0.5) / (window + 0.5).sum()
    assert population_stability(reference, window) == pytest.approx((rel_entr(p, q) + rel_entr(q, p)).sum(), abs=1e-9)
    p, q = reference / reference.sum(), window / window.sum()
    middle = (p + q) / 2
    # What scipy.spatial.distance.jensenshannon computes, but that takes the root of what rounding has made negative.
    divergence = max((rel_entr(p, middle) + rel_entr(q, middle)).sum() / 2 / np.log(2), 0)
    assert jensen_shannon(reference, window) == pytest.approx(np.sqrt(divergence), abs=1e-6)
    below = np.cumsum(reference) / reference.sum() - np.cumsum(window) / window.sum()
    assert kolmogorov_smirnov(reference, window) == pytest.approx(np.abs(below).max())


def test_equal_shares_are_no_distance_apart_and_disjoint_ones_the_largest() -> None:
    assert population_stability([100, 200], [100, 200]) == 0
    assert jensen_shannon([100, 200], [10, 20]) == 0
    assert jensen_shannon([5, 0], [0, 9]) == 1
    assert kolmogorov_smirnov([5, 0], [0, 9]) == 1
