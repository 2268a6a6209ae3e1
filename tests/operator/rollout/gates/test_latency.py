"""The gate on response times."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_operator.api.gates import LatencyGate
from modelendpoint_operator.rollout.gates.finding import Bucket, Counts, Finding, Verdict
from modelendpoint_operator.rollout.gates.latency import bounds, judge
from modelendpoint_operator.rollout.gates.sequential import Sample, log_evidence

ALPHA = 0.025


def whole_milliseconds(times: Iterable[float]) -> Counts:
    """Count answers in buckets of one millisecond."""
    counted = sorted(Counter(int(time) for time in times).items())
    buckets = [Bucket(lower_ms=time, upper_ms=time + 1, answers=answers) for time, answers in counted]
    return Counts(answers=sum(bucket.answers for bucket in buckets), latency=tuple(buckets))


def like_envoy(times: Iterable[float]) -> Counts:
    """Count answers in buckets with two significant digits, as Envoy's histograms have them."""
    counted: Counter[tuple[int, int]] = Counter()
    for time in times:
        whole = int(time)
        width = 10 ** max(0, len(str(whole)) - 2)
        counted[whole // width * width, whole // width * width + width] += 1
    buckets = [Bucket(lower_ms=low, upper_ms=high, answers=answers) for (low, high), answers in sorted(counted.items())]
    return Counts(answers=sum(bucket.answers for bucket in buckets), latency=tuple(buckets))


def log_normal(size: int, median: float, *, seed: int) -> list[float]:
    """Draw response times."""
    draw = random.Random(seed)
    return [draw.lognormvariate(math.log(median), 0.5) for _ in range(size)]


def judged(
    candidate: Counts, stable: Counts, *, gate: LatencyGate | None = None, minimum_requests: int = 50
) -> Finding:
    """Judge with the defaults of these tests."""
    gate = gate or LatencyGate(percentile=95, max_increase_percent=20, max_increase_milliseconds=10)
    return judge(gate, candidate=candidate, stable=stable, minimum_requests=minimum_requests, alpha=ALPHA)


@pytest.mark.parametrize("count", [whole_milliseconds, like_envoy])
@pytest.mark.parametrize(
    ("size", "factor", "verdict"),
    [
        pytest.param(2000, 1.0, Verdict.PASS, id="as fast passes"),
        pytest.param(2000, 0.5, Verdict.PASS, id="faster passes"),
        pytest.param(2000, 1.6, Verdict.FAIL, id="much slower fails"),
        pytest.param(300, 3.0, Verdict.FAIL, id="three times as slow fails soon"),
        pytest.param(60, 1.0, Verdict.INSUFFICIENT_DATA, id="few answers wait"),
        pytest.param(2000, 1.2, Verdict.INSUFFICIENT_DATA, id="close to what is allowed waits"),
    ],
)
def test_verdict(count: Callable[[Iterable[float]], Counts], size: int, factor: float, verdict: Verdict) -> None:
    candidate, stable = count(log_normal(size, 80 * factor, seed=1)), count(log_normal(9 * size, 80, seed=2))

    assert judged(candidate, stable).verdict is verdict


def test_a_short_time_may_grow_by_milliseconds() -> None:
    candidate, stable = log_normal(2000, 4, seed=1), log_normal(18000, 2, seed=2)

    assert judged(whole_milliseconds(candidate), whole_milliseconds(stable)).verdict is Verdict.PASS
    strict = LatencyGate(percentile=95, max_increase_percent=20, max_increase_milliseconds=0)
    assert judged(whole_milliseconds(candidate), whole_milliseconds(stable), gate=strict).verdict is Verdict.FAIL


def test_the_numbers_are_milliseconds_and_the_message_has_them() -> None:
    finding = judged(like_envoy(log_normal(2000, 128, seed=1)), like_envoy(log_normal(18000, 80, seed=2)))

    assert (finding.lower, finding.upper, finding.threshold) == (70, 140, 38)
    assert finding.effect == pytest.approx(99.18, abs=0.01)
    assert (finding.candidate_requests, finding.stable_requests) == (2000, 18000)
    assert finding.message == (
        "latency: 95 % of candidate's 2,000 answers took up to 280.8 ms, of stable's 18,000 answers up to 181.7 ms; "
        "the difference is between +70 and +140 ms, allowed are 38"
    )


def test_without_answers_the_gate_waits() -> None:
    some = whole_milliseconds(log_normal(5000, 80, seed=1))

    for candidate, stable in ((Counts(), some), (some, Counts()), (Counts(), Counts())):
        finding = judged(candidate, stable)
        assert finding.verdict is Verdict.INSUFFICIENT_DATA
        assert (finding.missing_requests or 0) > 0
        assert "'s 0 answers" in finding.message


def test_no_candidate_without_stable_answers_is_failed() -> None:
    slow = whole_milliseconds([9000.0] * 5000)

    assert judged(slow, Counts()).lower is None
    assert judged(slow, Counts()).verdict is Verdict.INSUFFICIENT_DATA


def test_a_bucket_without_an_upper_edge_is_never_a_pass_when_the_percentile_is_in_it() -> None:
    open_ended = Bucket(lower_ms=100, upper_ms=math.inf, answers=1000)
    counts = Counts(answers=10000, latency=(Bucket(lower_ms=0, upper_ms=50, answers=9000), open_ended))
    finding = judged(counts, counts)

    assert finding.verdict is Verdict.INSUFFICIENT_DATA
    assert (finding.lower, finding.upper) == (None, None)
    assert math.isfinite(finding.effect or 0)
    assert "the difference may be anything" in finding.message


def test_a_candidate_in_the_open_bucket_fails_against_a_fast_stable_revision() -> None:
    fast = Counts(answers=10000, latency=(Bucket(lower_ms=1, upper_ms=2, answers=10000),))
    slow = Counts(answers=1000, latency=(Bucket(lower_ms=1000, upper_ms=math.inf, answers=1000),))
    finding = judged(slow, fast)

    assert finding.verdict is Verdict.FAIL
    assert (finding.lower, finding.upper) == (998, None)
    assert "the difference is at least +998 ms, allowed are 10" in finding.message


def test_huge_counts_are_judged() -> None:
    stable = Counts(answers=2 * 10**9, latency=tuple(_uniform(10, 110, answers=2 * 10**7)))
    same, slower = (
        Counts(answers=10**9, latency=tuple(_uniform(10 + shift, 110 + shift, answers=10**7))) for shift in (0, 30)
    )

    assert judged(same, stable).verdict is Verdict.PASS
    assert judged(slower, stable).verdict is Verdict.FAIL
    assert judged(slower, stable).lower == pytest.approx(30, abs=2)


def _uniform(low: int, high: int, *, answers: int) -> Iterable[Bucket]:
    return (Bucket(lower_ms=time, upper_ms=time + 1, answers=answers) for time in range(low, high))


def test_a_pass_waits_for_the_minimum_of_requests() -> None:
    times = whole_milliseconds([5.0] * 400)
    finding = judged(times, times, minimum_requests=1000)

    assert (finding.verdict, finding.missing_requests) == (Verdict.INSUFFICIENT_DATA, 600)


few_times = st.lists(st.integers(1, 20), max_size=300).map(lambda times: [float(time) for time in times])


def tried_one_by_one(
    candidate: list[float], stable: list[float], percentile: float, allowed: tuple[float, int]
) -> tuple[float, float]:
    """Find by how much the candidate is slower than allowed, at best and at worst, among all pairs of percentiles that the
    answers do not speak against."""
    share, level = percentile / 100, math.log(1 / ALPHA)
    tried = [*(0.25 + step / 2 for step in range(46)), 1e6]

    def above(times: list[float], percentile: float) -> float:
        """Weigh the evidence that the true percentile is above this; answers took up to a millisecond longer."""
        return log_evidence(Sample(sum(time > percentile for time in times), len(times)), 1 - share)

    def below(times: list[float], percentile: float) -> float:
        return log_evidence(Sample(sum(time + 1 <= percentile for time in times), len(times)), share)

    def excesses(against: Iterable[tuple[float, float, float]]) -> list[float]:
        return [
            new - old - max(old * allowed[0] / 100, allowed[1]) for new, old, evidence in against if evidence < level
        ]

    pairs = list(itertools.product(tried, tried))
    new_above, old_below = {x: above(candidate, x) for x in tried}, {x: below(stable, x) for x in tried}
    new_below, old_above = {x: below(candidate, x) for x in tried}, {x: above(stable, x) for x in tried}
    best = min(excesses((new, old, new_above[new] + old_below[old]) for new, old in pairs), default=math.inf)
    worst = max(excesses((new, old, new_below[new] + old_above[old]) for new, old in pairs), default=-math.inf)
    return best, worst


@settings(deadline=None)
@given(few_times, few_times, st.sampled_from([50.0, 90.0, 99.0]), st.sampled_from([(20.0, 0), (0.0, 5), (50.0, 3)]))
def test_the_verdict_is_that_of_all_pairs_of_percentiles_tried_one_by_one(
    candidate: list[float], stable: list[float], percentile: float, allowed: tuple[float, int]
) -> None:
    gate = LatencyGate(percentile=percentile, max_increase_percent=allowed[0], max_increase_milliseconds=allowed[1])
    finding = judged(whole_milliseconds(candidate), whole_milliseconds(stable), gate=gate, minimum_requests=1)
    best, worst = tried_one_by_one(candidate, stable, percentile, allowed)

    # The tried ones are half a millisecond apart, so they know no better.
    if finding.verdict is Verdict.FAIL:
        assert best > 0
    elif best > 0.6:
        pytest.fail(f"should have failed: {finding.message}")
    if finding.verdict is Verdict.PASS:
        assert worst <= 0
    elif worst < -0.6 and best <= 0 and candidate:
        pytest.fail(f"should have passed: {finding.message}")


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(20, 400), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([50.0, 90.0]))
def test_the_bounds_are_those_of_all_pairs_of_percentiles_tried_one_by_one(
    seed: int, size: int, factor: float, percentile: float
) -> None:
    candidate = [min(20.0, float(int(time))) for time in log_normal(size, 5 * factor, seed=seed)]
    stable = [min(20.0, float(int(time))) for time in log_normal(2 * size, 5, seed=seed + 1)]
    found = bounds(percentile, candidate=whole_milliseconds(candidate), stable=whole_milliseconds(stable), alpha=ALPHA)
    best, worst = tried_one_by_one(candidate, stable, percentile, (0.0, 0))

    # An end that is not known is infinite, and far away among the tried ones. These are half a millisecond apart.
    assert best == pytest.approx(found.lower, abs=1) if math.isfinite(found.lower) else best < -1e5
    assert worst == pytest.approx(found.upper, abs=1) if math.isfinite(found.upper) else worst > 1e5


@settings(deadline=None, max_examples=30)
@given(st.integers(20, 500), st.sampled_from([1.0, 1.1, 1.4, 2.0]), st.integers(0, 1000))
def test_about_as_many_answers_as_are_missing_decide(size: int, factor: float, seed: int) -> None:
    candidate = like_envoy(log_normal(size, 60 * factor, seed=seed))
    stable = like_envoy(log_normal(size * 5, 60, seed=seed + 1))
    before = judged(candidate, stable)
    if before.missing_requests is None:
        return
    factor = 1 + before.missing_requests / size

    def grown(times: int) -> Verdict:
        return judged(_repeated(candidate, times), _repeated(stable, times)).verdict

    assert grown(math.ceil(factor)) is not Verdict.INSUFFICIENT_DATA
    assert factor == 1 or grown(math.floor(factor / 1.3) or 1) is Verdict.INSUFFICIENT_DATA


def _repeated(counts: Counts, times: int) -> Counts:
    buckets = tuple(
        Bucket(lower_ms=bucket.lower_ms, upper_ms=bucket.upper_ms, answers=bucket.answers * times)
        for bucket in counts.latency
    )
    return Counts(answers=sum(bucket.answers for bucket in buckets), latency=buckets)
