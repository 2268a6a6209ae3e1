"""Probabilities of chance, against scipy and against simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from modelendpoint_server.monitor.significance import LEAST, beyond_range, chi_square_tail, more_often, same_shares


@given(st.floats(0, 3000), st.integers(1, 80))
@settings(deadline=None)
def test_the_tail_of_chi_square_is_that_of_scipy(statistic: float, freedom: int) -> None:
    expected = float(stats.chi2.sf(statistic, freedom))
    if expected > 1e-290:
        assert chi_square_tail(statistic, freedom) == pytest.approx(expected, rel=1e-8)


def test_a_tail_too_small_for_a_number_is_the_least_one() -> None:
    assert chi_square_tail(1e6, 19) == LEAST
    assert chi_square_tail(0, 19) == 1


def corrected(table: NDArray[np.int64]) -> float:
    """The G-test of scipy with Williams's correction."""
    plain = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    sums = [(table.sum() / table.sum(axis=axis)).sum() - 1 for axis in (0, 1)]
    return float(stats.chi2.sf(plain.statistic / (1 + sums[0] * sums[1] / (6 * table.sum() * plain.dof)), plain.dof))


@given(st.lists(st.tuples(st.integers(20, 3000), st.integers(20, 3000)), min_size=2, max_size=25))
@settings(deadline=None)
def test_the_g_test_of_full_bins_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    table = np.array(pairs).T
    is_enough = table[0].min() >= 5 * max(1, table[0].sum() / table[1].sum())
    if is_enough and corrected(table) > 1e-290:
        assert same_shares(*table) == pytest.approx(corrected(table), rel=1e-6)


def test_bins_with_few_rows_are_put_together_before_they_are_tested() -> None:
    reference, window = [1000, 3, 2, 1, 994], [100, 0, 1, 1, 98]
    # The three in the middle with their neighbour.
    assert same_shares(reference, window) == pytest.approx(corrected(np.array([[1000, 1000], [100, 100]])))
    assert same_shares([1000, 0], [100, 0]) == 1
    assert same_shares([1000, 10], [0, 0]) == 1


@pytest.mark.parametrize("size", [95, 98, 100, 1000])
def test_bins_with_the_same_share_of_the_reference_change_no_more_often_than_stated(size: int) -> None:
    """Of 95 rows five are not to be expected in each of twenty bins; so some are put together, by the reference alone."""
    draws = np.random.default_rng(3).multinomial(size, np.full(20, 1 / 20), 20_000)
    probabilities = np.array([same_shares(np.full(20, 1000), window) for window in draws])
    for level in (0.01, 0.001):
        assert (probabilities <= level).mean() <= 1.6 * level


def test_many_rare_categories_change_no_more_often_than_stated() -> None:
    """Sixty alike, of which a reference of a hundred rows has some not at all and some four times."""
    random, shares = np.random.default_rng(5), np.full(60, 1 / 60)
    pairs = zip(random.multinomial(100, shares, 10_000), random.multinomial(1000, shares, 10_000), strict=True)
    probabilities = np.array([same_shares(*pair) for pair in pairs])
    for level in (0.01, 0.001):
        assert (probabilities <= level).mean() <= 2 * level


@given(st.data())
@settings(deadline=None)
def test_a_rise_of_a_rate_is_fishers_exact_test(data: st.DataObject) -> None:
    size, of = data.draw(st.integers(1, 2000)), data.draw(st.integers(1, 20_000))
    hits, before = data.draw(st.integers(0, size)), data.draw(st.integers(0, of))
    probability = more_often(hits, size, before=before, of=of)
    if hits * (size + of) <= (hits + before) * size:
        assert probability == 1
        return
    expected = stats.fisher_exact([[hits, size - hits], [before, of - before]], alternative="greater").pvalue
    if expected > 1e-280:
        assert probability == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("size", "of"), [(10, 50), (100, 100), (50, 20)])
def test_values_beyond_the_range_are_found_no_more_often_than_stated_whatever_the_distribution(
    size: int, of: int
) -> None:
    random = np.random.default_rng(7)
    draws = random.standard_cauchy((40_000, size + of))
    reference, window = draws[:, :of], draws[:, of:]
    outside = (window < reference.min(axis=1, keepdims=True)) | (window > reference.max(axis=1, keepdims=True))
    probabilities = np.array([beyond_range(int(count), size, of=of) for count in outside.sum(axis=1)])
    for level in (0.2, 0.05, 0.01):
        share = (probabilities <= level).mean()
        assert share <= level + 4 * math.sqrt(level / len(draws))
    assert beyond_range(0, size, of=of) == 1
