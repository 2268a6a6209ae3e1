"""The gate on response times: a percentile of the candidate's against the stable revision's.

An answer is slower than the true percentile with a known chance, so the share of answers below some time is evidence
about where the percentile is: nothing else is assumed about how response times are distributed. What is known of a
bucket is only that its answers lie between its edges, so they count for whichever is the more careful.

Assumed: the router sends each request to one of both at random, and within a period the response times of a revision
are independent and distributed alike. Times that rise and fall for both (a noisy neighbour) move both percentiles.

Source: Howard, Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
identification", Bernoulli 28 (2022), section 3, with the evidence of ``sequential`` in place of their bounds.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from modelendpoint_operator.api.gates import LatencyGate
from modelendpoint_operator.rollout.gates import comparison
from modelendpoint_operator.rollout.gates.finding import Bucket, Counts, Finding, Verdict
from modelendpoint_operator.rollout.gates.sequential import LEAST_EVIDENCE, Sample, log_evidence

GATE = "latency"

_NEGLIGIBLE = 1e-6
"""A logarithm of evidence that makes no difference. Edges that differ by no more are not all looked at."""


def judge(gate: LatencyGate, *, candidate: Counts, stable: Counts, minimum_requests: int, alpha: float) -> Finding:
    """Say whether the candidate's percentile is at most so much above the stable revision's.

    Each of Pass and Fail is ever wrong with probability ``alpha`` at most, over all looks at the counts of a period.
    What is allowed depends on how fast the stable revision is: ``threshold`` belongs to the end of the interval that
    decides.
    """
    new, old = _Times(candidate.latency, gate.percentile / 100), _Times(stable.latency, gate.percentile / 100)
    level = math.log(1 / alpha)
    best, worst = _best(gate, new, old, level), _worst(gate, new, old, level)
    verdict = comparison.verdict_on(
        comparison.Interval(best.excess, worst.excess), 0, is_enough=new.answers >= minimum_requests
    )
    old_percentile = {Verdict.FAIL: best.old, Verdict.PASS: worst.old}.get(verdict, old.percentile or 0.0)
    allowed = _allowed(gate, old_percentile)
    interval = comparison.Interval(best.new - best.old, worst.new - worst.old)
    missing, message = None, _message(new, old, interval, allowed)
    if verdict is Verdict.INSUFFICIENT_DATA:
        missing = _missing(gate, new, old, level, minimum_requests=minimum_requests)
        message += f"; {comparison.missing_text(missing)}"
    return Finding(
        gate=GATE,
        verdict=verdict,
        message=message,
        effect=None if new.percentile is None or old.percentile is None else new.percentile - old.percentile,
        lower=interval.lower if math.isfinite(interval.lower) else None,
        upper=interval.upper if math.isfinite(interval.upper) else None,
        threshold=allowed,
        candidate_requests=int(new.answers),
        stable_requests=int(old.answers),
        missing_requests=missing,
    )


def percentile_of(counts: Counts, percent: float) -> float | None:
    """Name a percentile of the response times in milliseconds; None without answers."""
    return _Times(counts.latency, percent / 100).percentile


def bounds(percent: float, *, candidate: Counts, stable: Counts, alpha: float) -> comparison.Interval:
    """Say how much higher a percentile of the candidate's is, in milliseconds; an end that is not known is infinite. Each
    end is ever wrong with probability ``alpha`` at most, over all looks."""
    gate = LatencyGate(percentile=percent, max_increase_percent=0, max_increase_milliseconds=0)
    new, old = _Times(candidate.latency, percent / 100), _Times(stable.latency, percent / 100)
    level = math.log(1 / alpha)
    best, worst = _best(gate, new, old, level), _worst(gate, new, old, level)
    return comparison.Interval(best.new - best.old, worst.new - worst.old)


@dataclass(frozen=True)
class _Edge:
    """A time where the percentile may be, and the evidence that it is not."""

    milliseconds: float
    evidence: float


@dataclass(frozen=True)
class _Pair:
    """Two percentiles that may be the true ones."""

    new: float
    old: float
    excess: float
    """By how much the candidate's is above what is allowed."""


@dataclass(frozen=True)
class _Times:
    """How long the answers of one revision took, and the percentile that is asked for, as a share."""

    buckets: Sequence[Bucket]
    share: float
    factor: float = 1.0
    """How many times as many answers there are, to ask what would be."""

    @property
    def answers(self) -> float:
        """Number of answers."""
        return self.factor * sum(bucket.answers for bucket in self.buckets)

    @property
    def percentile(self) -> float | None:
        """The percentile of these answers, as if they were spread evenly in their bucket; None without answers."""
        wanted, before = self.share * sum(bucket.answers for bucket in self.buckets), 0
        for bucket in self.buckets:
            if before + bucket.answers >= wanted > 0:
                width = bucket.upper_ms - bucket.lower_ms if math.isfinite(bucket.upper_ms) else 0.0
                return bucket.lower_ms + width * (wanted - before) / bucket.answers
            before += bucket.answers
        return None

    def times(self, factor: float) -> "_Times":
        """What it would be with so many times as many answers of the same kind."""
        return _Times(self.buckets, self.share, self.factor * factor)

    def from_below(self, level: float) -> list[_Edge]:
        """List from where on the percentile may be, by rising times and falling evidence."""
        size = self.answers
        edges = [(0.0, 0.0), *zip((bucket.lower_ms for bucket in self.buckets), self._sums(), strict=True)]

        def evidence(edge: tuple[float, float]) -> float:
            return log_evidence(Sample(max(0.0, size - edge[1]), size), 1 - self.share)

        first = bisect_left(edges, LEAST_EVIDENCE - level, key=lambda edge: -evidence(edge))
        last = bisect_left(edges, -LEAST_EVIDENCE - _NEGLIGIBLE, key=lambda edge: -evidence(edge))
        return [_Edge(edge[0], evidence(edge)) for edge in edges[first : last + 1]]

    def from_above(self, level: float) -> list[_Edge]:
        """List below which times the percentile may be, by rising times and rising evidence."""
        size = self.answers
        edges = list(zip([*(bucket.upper_ms for bucket in self.buckets), math.inf], [0.0, *self._sums()], strict=True))

        def evidence(edge: tuple[float, float]) -> float:
            return log_evidence(Sample(min(edge[1], size), size), self.share)

        first = bisect_left(edges, LEAST_EVIDENCE + _NEGLIGIBLE, key=evidence)
        end = bisect_left(edges, level - LEAST_EVIDENCE, key=evidence)
        return [_Edge(edge[0], evidence(edge)) for edge in edges[max(0, first - 1) : end]]

    def _sums(self) -> list[float]:
        return [self.factor * total for total in accumulate(bucket.answers for bucket in self.buckets)]


def _best(gate: LatencyGate, new: _Times, old: _Times, level: float) -> _Pair:
    """Find the possible pair that is best for the candidate."""
    pairs = _extreme_pairs(new.from_below(level), old.from_above(level), level)
    return min((_pair(gate, low, high) for low, high in pairs), key=_excess)


def _worst(gate: LatencyGate, new: _Times, old: _Times, level: float) -> _Pair:
    """Find the possible pair that is worst for the candidate."""
    pairs = _extreme_pairs(old.from_below(level), new.from_above(level), level)
    return max((_pair(gate, high, low) for low, high in pairs), key=_excess)


def _extreme_pairs(lows: Sequence[_Edge], highs: Sequence[_Edge], level: float) -> Iterator[tuple[float, float]]:
    """Give to each time that one percentile may be the highest that the other may be at once."""
    index = -1
    for low in lows:
        while index + 1 < len(highs) and low.evidence + highs[index + 1].evidence < level:
            index += 1
        if index >= 0:
            yield low.milliseconds, highs[index].milliseconds


def _pair(gate: LatencyGate, new: float, old: float) -> _Pair:
    # Rounded, so that 1.2 times 50 is 60.
    return _Pair(new, old, -math.inf if math.isinf(old) else round(new - old - _allowed(gate, old), 6))


def _excess(pair: _Pair) -> float:
    return pair.excess


def _allowed(gate: LatencyGate, old: float) -> float:
    return max(old * gate.max_increase_percent / 100, float(gate.max_increase_milliseconds))


def _missing(gate: LatencyGate, new: _Times, old: _Times, level: float, *, minimum_requests: int) -> int | None:
    """Estimate how many answers of the candidate are missing; a revision without any is taken to be like the other."""
    likely_new = new if new.answers else old.times(1 / max(1.0, old.answers))
    likely_old = old if old.answers else new
    if likely_new.percentile is None or likely_old.percentile is None:
        return minimum_requests
    is_worse = _pair(gate, likely_new.percentile, likely_old.percentile).excess > 0

    def tells(factor: float) -> bool:
        pair = (_best if is_worse else _worst)(gate, likely_new.times(factor), likely_old.times(factor), level)
        return pair.excess > 0 if is_worse else pair.excess <= 0

    return comparison.missing_requests(
        tells, size=likely_new.answers, answered=new.answers, minimum=0 if is_worse else minimum_requests
    )


def _message(new: _Times, old: _Times, interval: comparison.Interval, allowed: float) -> str:
    return (
        f"{GATE}: {100 * new.share:g} % of {_times_text('candidate', new, 'took up to')}, "
        f"of {_times_text('stable', old, 'took up to' if new.percentile is None else 'up to')}; "
        f"{_difference_text(interval, allowed)}, allowed are {comparison.number_text(allowed)}"
    )


def _times_text(name: str, times: _Times, tail: str) -> str:
    if times.percentile is None:
        return f"{name}'s 0 answers"
    return f"{name}'s {times.answers:,.0f} answers {tail} {comparison.number_text(times.percentile)} ms"


def _difference_text(interval: comparison.Interval, allowed: float) -> str:
    ends = (interval.lower, interval.upper)
    lower, upper = (comparison.number_text(end, beside=allowed, sign="+") for end in ends)
    if all(map(math.isfinite, ends)):
        return f"the difference is between {lower} and {upper} ms"
    if math.isfinite(interval.lower):
        return f"the difference is at least {lower} ms"
    return (
        f"the difference is at most {upper} ms" if math.isfinite(interval.upper) else "the difference may be anything"
    )
