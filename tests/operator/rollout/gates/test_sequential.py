"""Bounds that stay valid however often they are looked at, against direct sums and exact probabilities."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import logsumexp

from modelendpoint_operator.rollout.gates.sequential import (
    LEAST_EVIDENCE,
    Sample,
    log_evidence,
    smallest_difference,
    smallest_mean,
)

ALPHA = 0.025
RATES = np.append(8.0 * 2.0 ** -np.arange(14), 0.0)
BELLS = 1 / (1 + (np.log(RATES[:-1] / 0.7) / 1.5) ** 2)
LOG_WEIGHTS = np.log(np.append(0.9 * BELLS / BELLS.sum(), 0.1))

samples = st.integers(0, 10**6).flatmap(lambda size: st.integers(0, size).map(lambda hits: Sample(hits, size)))
means = st.floats(0, 1)


def direct_evidence(sample: Sample, mean: np.ndarray) -> np.ndarray:
    """The definition, written down once more with other means."""
    factors = np.log(1 - mean[:, None] + mean[:, None] * np.exp(RATES))
    return np.asarray(logsumexp(LOG_WEIGHTS + RATES * sample.hits - sample.size * factors, axis=1))


def least_evidence_of_pairs(one: Sample, other: Sample, difference: float) -> float:
    """The least evidence against any pair of means of this difference, by trying many."""
    low, high = max(0.0, -difference), min(1.0, 1 - difference)
    from_ends = np.concatenate([[0], np.geomspace(1e-9, 1, 20000)]) * (high - low)
    others = np.concatenate([low + from_ends, high - from_ends])
    against_one = direct_evidence(one, np.clip(others + difference, 0, 1))
    against_other = direct_evidence(other.complement, np.clip(1 - others, 0, 1))
    return float((against_one + against_other).min())


@pytest.mark.parametrize(
    "sample",
    [
        Sample(3, 10),
        Sample(10, 10),
        Sample(1, 50),
        Sample(38, 1204),
        Sample(47, 10874),
        Sample(500_000, 10**6),
        Sample(5, 10**6),
    ],
)
def test_the_bound_of_a_mean_is_where_a_direct_sum_reaches_the_level(sample: Sample) -> None:
    level = math.log(1 / ALPHA)
    expected = brentq(lambda mean: direct_evidence(sample, np.array([mean]))[0] - level, 1e-12, 1 - 1e-12, xtol=1e-14)

    assert smallest_mean(sample, alpha=ALPHA) == pytest.approx(expected, rel=1e-4)
    assert smallest_mean(sample, alpha=ALPHA) <= expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Sample(38, 1204), Sample(47, 10874)),
        (Sample(0, 300), Sample(0, 3000)),
        (Sample(5, 5), Sample(0, 45)),
        (Sample(1, 50), Sample(0, 0)),
        (Sample(20, 100), Sample(30, 100)),
        (Sample(3, 7), Sample(400_000, 10**6)),
        (Sample(400_000, 10**6), Sample(3, 7)),
        (Sample(50_100, 10**6), Sample(50_000, 10**6)),
    ],
)
def test_the_bound_of_a_difference_is_where_its_weakest_pair_reaches_the_level(one: Sample, other: Sample) -> None:
    difference = smallest_difference(one, other, alpha=ALPHA)

    assert least_evidence_of_pairs(one, other, difference) == pytest.approx(math.log(1 / ALPHA), abs=0.02)


@given(samples, means)
def test_evidence_is_the_direct_sum(sample: Sample, mean: float) -> None:
    expected = direct_evidence(sample, np.array([mean]))[0]

    assert log_evidence(sample, mean) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(samples)
def test_the_share_that_was_seen_lies_within_the_bounds(sample: Sample) -> None:
    lower, upper = smallest_mean(sample, alpha=ALPHA), 1 - smallest_mean(sample.complement, alpha=ALPHA)

    assert 0 <= lower <= sample.share + 1e-12
    assert sample.share - 1e-12 <= upper <= 1


@given(samples, samples)
def test_the_difference_that_was_seen_lies_within_the_bounds(one: Sample, other: Sample) -> None:
    seen = one.share - other.share

    assert -1 <= smallest_difference(one, other, alpha=ALPHA) <= (seen if one.size and other.size else 1) + 1e-9
    assert smallest_difference(one, other, alpha=ALPHA) <= -smallest_difference(other, one, alpha=ALPHA)


@given(samples, samples, st.floats(1.01, 1000))
def test_more_of_the_same_narrows_the_bounds(one: Sample, other: Sample, factor: float) -> None:
    assert smallest_mean(one.times(factor), alpha=ALPHA) >= smallest_mean(one, alpha=ALPHA) - 1e-9
    more = smallest_difference(one.times(factor), other.times(factor), alpha=ALPHA)
    if one.size and other.size:
        assert more >= smallest_difference(one, other, alpha=ALPHA) - 1e-4


@given(samples.filter(lambda sample: sample.hits < sample.size), samples)
def test_one_more_hit_raises_the_bounds(one: Sample, other: Sample) -> None:
    more = Sample(one.hits + 1, one.size)

    assert smallest_mean(more, alpha=ALPHA) >= smallest_mean(one, alpha=ALPHA) - 1e-12
    assert smallest_difference(more, other, alpha=ALPHA) >= smallest_difference(one, other, alpha=ALPHA) - 1e-4
    assert smallest_difference(other, more, alpha=ALPHA) <= smallest_difference(other, one, alpha=ALPHA) + 1e-4


@given(samples, samples, st.floats(1e-4, 0.5), st.floats(1e-4, 0.5))
def test_being_surer_widens_the_bounds(one: Sample, other: Sample, alpha: float, other_alpha: float) -> None:
    surer, less_sure = sorted((alpha, other_alpha))

    assert smallest_mean(one, alpha=surer) <= smallest_mean(one, alpha=less_sure) + 1e-9
    assert smallest_difference(one, other, alpha=surer) <= smallest_difference(one, other, alpha=less_sure) + 1e-4


@given(samples, means)
def test_no_evidence_is_less_than_the_least(sample: Sample, mean: float) -> None:
    assert log_evidence(sample, mean) >= LEAST_EVIDENCE - 1e-9


def test_without_observations_anything_is_possible() -> None:
    nothing = Sample(0, 0)

    assert smallest_mean(nothing, alpha=ALPHA) == 0
    assert smallest_difference(nothing, nothing, alpha=ALPHA) == -1
    assert smallest_difference(nothing, Sample(0, 10**6), alpha=ALPHA) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("hits", [0, 1, 10**6, 5 * 10**8, 10**9 - 1, 10**9])
def test_huge_counts_give_sharp_bounds(hits: int) -> None:
    sample = Sample(hits, 10**9)

    assert smallest_mean(sample, alpha=ALPHA) == pytest.approx(sample.share, abs=2e-4)
    assert smallest_difference(sample, sample, alpha=ALPHA) == pytest.approx(0, abs=4e-4)


def chance_of_ever(chances: Sequence[float], is_wrong: Callable[[Sample, float], bool]) -> float:
    """Add up exactly how likely a bound is to be wrong after any of the observations."""
    open_, wrong = {0: 1.0}, 0.0
    for size, chance in enumerate(chances, start=1):
        mean = sum(chances[:size]) / size
        following: dict[int, float] = {}
        for hits, likely in open_.items():
            following[hits] = following.get(hits, 0) + likely * (1 - chance)
            following[hits + 1] = following.get(hits + 1, 0) + likely * chance
        wrong += sum(likely for hits, likely in following.items() if is_wrong(Sample(hits, size), mean))
        open_ = {hits: likely for hits, likely in following.items() if not is_wrong(Sample(hits, size), mean)}
    return wrong


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=60), st.sampled_from([0.3, 0.1, 0.025]))
def test_the_bound_of_drifting_chances_is_ever_wrong_with_probability_alpha_at_most(
    chances: list[float], alpha: float
) -> None:
    level = math.log(1 / alpha)

    assert chance_of_ever(chances, lambda sample, mean: log_evidence(sample, mean) >= level) <= alpha


@settings(deadline=None, max_examples=15)
@given(st.floats(0.001, 0.999), st.sampled_from([0.5, 0.1, 0.025]))
def test_the_bound_of_a_steady_chance_is_ever_wrong_with_probability_alpha_at_most(chance: float, alpha: float) -> None:
    level = math.log(1 / alpha)

    assert chance_of_ever([chance] * 120, lambda sample, mean: log_evidence(sample, mean) >= level) <= alpha


@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.5, 0.5), (0.3, 0.1), (0.05, 0.4)])
@pytest.mark.parametrize("others", [1, 2])
def test_the_bound_of_a_difference_is_ever_wrong_with_probability_alpha_at_most(
    shares: tuple[float, float], others: int
) -> None:
    alpha, wrong, open_ = 0.3, 0.0, {(0, 0): 1.0}
    sizes = [0, 0]
    for turn in itertools.islice(itertools.cycle([0, *[1] * others]), 18):
        sizes[turn] += 1
        following: dict[tuple[int, int], float] = {}
        for (hits, other_hits), likely in open_.items():
            for hit, chance in ((0, 1 - shares[turn]), (1, shares[turn])):
                state = (hits + hit, other_hits) if turn == 0 else (hits, other_hits + hit)
                following[state] = following.get(state, 0) + likely * chance
        for state in list(following):
            one, other = Sample(state[0], sizes[0]), Sample(state[1], sizes[1])
            if smallest_difference(one, other, alpha=alpha) > shares[0] - shares[1]:
                wrong += following.pop(state)
        open_ = following

    assert wrong <= alpha
