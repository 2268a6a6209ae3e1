"""What counts of a variant and of stable say: intervals that hold however often one looks, and text."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_operator.api.gates import ErrorRateGate, Gates, LatencyGate
from modelendpoint_operator.api.status import DifferenceStatus, ResultsStatus
from modelendpoint_operator.rollout.comparing import compare
from modelendpoint_operator.rollout.gates.finding import Bucket, Counts

GATES = Gates()


def told(own: Counts, stable: Counts | None, gates: Gates = GATES) -> ResultsStatus:
    since = "2026-01-01T00:00:00Z"
    return ResultsStatus.model_validate({"since": since, "revision": 3, **compare(own, stable, gates)})


def counts(answers: int, failed: int = 0, *, milliseconds: int = 10) -> Counts:
    lower = float(milliseconds)
    bucket = Bucket(lower_ms=lower, upper_ms=lower + 1, answers=answers)
    return Counts(answers=answers, server_errors=failed, latency=(bucket,) if answers else ())


def is_shown(difference: DifferenceStatus | None) -> bool:
    """Say whether an interval leaves out that there is no difference."""
    if difference is None:
        return False
    lower, upper = difference.lower, difference.upper
    return (lower is not None and lower > 0) or (upper is not None and upper < 0)


class Traffic:
    """Requests that fail and take their time by chance."""

    def __init__(self, seed: int, *, failing: float, milliseconds: float) -> None:
        self._chance, self._failing, self._milliseconds = random.Random(seed), failing, milliseconds
        self._times: dict[int, int] = {}
        self._answers = self._failed = 0

    def go_on(self, requests: int) -> Counts:
        self._answers += requests
        self._failed += sum(self._chance.random() < self._failing for _ in range(requests))
        for _ in range(requests):
            took = int(self._chance.expovariate(1 / self._milliseconds))
            self._times[took] = self._times.get(took, 0) + 1
        buckets = [
            Bucket(lower_ms=float(took), upper_ms=took + 1.0, answers=answers)
            for took, answers in sorted(self._times.items())
        ]
        return Counts(answers=self._answers, server_errors=self._failed, latency=tuple(buckets))


def looked_at(seed: int, *, failing: float, milliseconds: float = 20.0, looks: int = 20) -> list[ResultsStatus]:
    """Look again and again at a variant with a tenth of the requests, beside stable with 5 % errors and 20 ms."""
    own = Traffic(seed, failing=failing, milliseconds=milliseconds)
    stable = Traffic(seed + 100_000, failing=0.05, milliseconds=20.0)
    return [told(own.go_on(20), stable.go_on(180)) for _ in range(looks)]


def test_two_that_are_alike_are_hardly_ever_told_apart_at_any_of_many_looks() -> None:
    experiments = [looked_at(seed, failing=0.05, looks=12) for seed in range(30)]

    # Each interval may miss the truth at some look in 5 % of the experiments: more than 6 of 30 would be one chance in 700.
    for part in ("errors", "latency"):
        shown = sum(any(is_shown(getattr(look, part)) for look in looks) for looks in experiments)
        assert shown <= 6, f"{shown} of 30 show a difference in {part}"


@pytest.mark.parametrize("seed", range(5))
def test_twenty_points_more_errors_are_seen_and_stay_seen(seed: int) -> None:
    looks = looked_at(seed, failing=0.25)

    first = next(number for number, look in enumerate(looks) if is_shown(look.errors))
    assert first < 10, "200 requests are enough"
    assert all(is_shown(look.errors) for look in looks[first + 1 :])
    last = looks[-1].errors
    assert last is not None and last.lower is not None and last.upper is not None
    assert 0 < last.lower < 20 < last.upper
    assert not is_shown(looks[-1].latency)


@pytest.mark.parametrize("seed", range(5))
def test_times_twice_as_long_are_seen(seed: int) -> None:
    last = looked_at(seed, failing=0.05, milliseconds=40.0)[-1]

    assert is_shown(last.latency)
    assert not is_shown(last.errors)


numbers = st.integers(0, 2000)


@settings(max_examples=60, deadline=None)
@given(numbers, numbers, numbers, numbers, st.integers(0, 300), st.integers(0, 300))
def test_what_was_measured_lies_in_its_interval_and_swapping_sides_turns_it(
    own: int, own_failed: int, other: int, other_failed: int, took: int, other_took: int
) -> None:
    one = counts(max(own, own_failed), own_failed, milliseconds=took)
    two = counts(max(other, other_failed), other_failed, milliseconds=other_took)
    there, back = told(one, two), told(two, one)
    if not one.answers or not two.answers:
        assert there.errors is there.latency is None
        return
    for difference, turned in ((there.errors, back.errors), (there.latency, back.latency)):
        assert difference is not None and turned is not None and difference.effect is not None
        for end, other_end, sign in ((difference.lower, turned.upper, -1), (difference.upper, turned.lower, 1)):
            assert (end is None) == (other_end is None)
            if end is not None and other_end is not None:
                assert end == pytest.approx(-other_end, abs=1e-3)
                assert sign * end >= sign * difference.effect - 1e-3


def test_nothing_is_compared_without_stable_or_without_requests() -> None:
    alone = told(counts(100, 5), None)
    assert (alone.stable, alone.errors, alone.latency) == (None, None, None)
    assert alone.summary == "100 requests, 5 % failed, p95 10.9 ms"

    assert told(Counts(), counts(100)).summary == "no requests yet"
    assert told(counts(7), Counts()).errors is None


def test_the_line_has_the_numbers_and_both_intervals() -> None:
    found = told(counts(1000, 60, milliseconds=30), counts(9000, 90, milliseconds=20))

    assert found.own.error_percent == 6
    assert found.errors is not None and found.errors.effect == 5
    assert found.summary == "1,000 requests, 6 % failed (+2.6 to +8.1 points), p95 30.9 ms (+9 to +11 ms)"


def test_an_end_that_is_not_known_is_not_named() -> None:
    found = told(counts(3, milliseconds=30), counts(9000, milliseconds=20))

    assert found.latency is not None and (found.latency.lower is None, found.latency.upper is None) == (False, True)
    assert "p95 30.9 ms (at least +9 ms)" in found.summary


def test_what_counts_as_failed_and_which_percentile_is_the_gates_to_say() -> None:
    own = Counts(answers=100, client_errors=50, latency=counts(100).latency)
    assert told(own, counts(900)).own.error_percent == 50

    gates = Gates(error_rate=ErrorRateGate(count_client_errors=False), latency=LatencyGate(percentile=50))
    found = told(own, counts(900), gates)
    assert found.own.error_percent == 0
    assert "p50 10.5 ms" in found.summary
