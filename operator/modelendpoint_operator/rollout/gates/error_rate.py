"""The gate on failed requests: candidate against stable, or the candidate alone when there is no stable revision yet.

Assumed: the router sends each request to one of both at random. The chance that a request fails may change over time;
the bounds are those of its mean over the period.
"""

from modelendpoint_operator.api.gates import ErrorRateGate
from modelendpoint_operator.rollout.gates import comparison
from modelendpoint_operator.rollout.gates.finding import Counts, Finding, Verdict
from modelendpoint_operator.rollout.gates.sequential import Sample, smallest_difference, smallest_mean

GATE = "errorRate"


def judge(
    gate: ErrorRateGate, *, candidate: Counts, stable: Counts | None, minimum_requests: int, alpha: float
) -> Finding:
    """Say whether the candidate's share of failed requests is at most so much above the stable revision's.

    Each of Pass and Fail is ever wrong with probability ``alpha`` at most, over all looks at the counts of a period.
    Without a stable revision the share itself must be at most as much.
    """
    new = _failed(candidate, gate)
    old = _failed(stable, gate) if stable else None
    interval = comparison.Interval(_lower(new, old, alpha), _upper(new, old, alpha))
    threshold = gate.max_increase_percent
    verdict = comparison.verdict_on(interval, threshold, is_enough=candidate.answers >= minimum_requests)
    missing = None
    if verdict is Verdict.INSUFFICIENT_DATA:
        missing = _missing(new, old, gate, minimum_requests=minimum_requests, alpha=alpha)
    return Finding(
        gate=GATE,
        verdict=verdict,
        message=_message(new, old, interval, threshold)
        + (f"; {comparison.missing_text(missing)}" if verdict is Verdict.INSUFFICIENT_DATA else ""),
        effect=_effect(new, old) if new.size else None,
        lower=interval.lower,
        upper=interval.upper,
        threshold=threshold,
        candidate_requests=candidate.answers,
        stable_requests=stable.answers if stable else None,
        missing_requests=missing,
    )


def failed_percent(counts: Counts, gate: ErrorRateGate) -> float:
    """Say what share of the requests failed; 0 without any."""
    return 100 * _failed(counts, gate).share


def bounds(gate: ErrorRateGate, *, candidate: Counts, stable: Counts, alpha: float) -> comparison.Interval:
    """Say how much larger the candidate's share of failed requests is, in percentage points. Each end is ever wrong with
    probability ``alpha`` at most, over all looks."""
    new, old = _failed(candidate, gate), _failed(stable, gate)
    return comparison.Interval(_lower(new, old, alpha), _upper(new, old, alpha))


def _failed(counts: Counts, gate: ErrorRateGate) -> Sample:
    return Sample(counts.server_errors + (counts.client_errors if gate.count_client_errors else 0), counts.answers)


def _lower(new: Sample, old: Sample | None, alpha: float) -> float:
    """Bound the increase from below, in percentage points."""
    return 100 * (smallest_mean(new, alpha=alpha) if old is None else smallest_difference(new, old, alpha=alpha))


def _upper(new: Sample, old: Sample | None, alpha: float) -> float:
    """Bound the increase from above: what is left to 100, or the stable revision's increase with its sign turned."""
    if old is None:
        return 100 * (1 - smallest_mean(new.complement, alpha=alpha))
    return 100 * -smallest_difference(old, new, alpha=alpha)


def _effect(new: Sample, old: Sample | None) -> float:
    return 100 * (new.share - (old.share if old else 0.0))


def _missing(
    new: Sample, old: Sample | None, gate: ErrorRateGate, *, minimum_requests: int, alpha: float
) -> int | None:
    """Estimate how many answers of the candidate are missing; a revision without any is taken to be like the other."""
    likely_new = new if new.size else Sample(old.share if old else 0.0, 1)
    likely_old = old if old is None or old.size else likely_new
    is_worse = _effect(likely_new, likely_old) > gate.max_increase_percent

    def tells(factor: float) -> bool:
        more_new, more_old = likely_new.times(factor), likely_old.times(factor) if likely_old else None
        if is_worse:
            return _lower(more_new, more_old, alpha) > gate.max_increase_percent
        return _upper(more_new, more_old, alpha) <= gate.max_increase_percent

    return comparison.missing_requests(
        tells, size=likely_new.size, answered=new.size, minimum=0 if is_worse else minimum_requests
    )


def _message(new: Sample, old: Sample | None, interval: comparison.Interval, threshold: float) -> str:
    sign = "" if old is None else "+"
    lower = comparison.number_text(interval.lower, beside=threshold, sign=sign)
    upper = comparison.number_text(interval.upper, beside=threshold, sign=sign)
    shares = _share_text("candidate", new, " requests failed")
    if old is None:
        return f"{GATE}: {shares}; its share is between {lower} and {upper} %, allowed are {threshold:g}"
    shares += ", " + _share_text("stable", old, "" if new.size else " requests failed")
    return f"{GATE}: {shares}; the difference is between {lower} and {upper} points, allowed are {threshold:g}"


def _share_text(name: str, sample: Sample, tail: str) -> str:
    if not sample.size:
        return f"{name} had no requests"
    return f"{name} {comparison.percent_text(sample.share)} of {sample.size:,}{tail}"
