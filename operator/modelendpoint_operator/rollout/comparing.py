"""What the counts of a variant or shadow say, beside those of stable in the same time: numbers, intervals, one line of text.

Where the counts come from must not be here.
"""

import math

from modelendpoint_operator.api.gates import ErrorRateGate, Gates, LatencyGate
from modelendpoint_operator.api.status import DifferenceStatus, MeasuredStatus
from modelendpoint_operator.rollout.gates import error_rate, latency
from modelendpoint_operator.rollout.gates.comparison import Interval, number_text, percent_text
from modelendpoint_operator.rollout.gates.finding import Counts
from modelendpoint_operator.rollout.measuring import as_status

CONFIDENCE = 0.95
"""Chance that an interval holds the true difference, at all looks together."""
EACH_END = (1 - CONFIDENCE) / 2

DECIMALS = 4


def compare(own: Counts, stable: Counts | None, gates: Gates) -> dict[str, object]:
    """Say what follows from the counts, as fields of ``ResultsStatus``. Without ``stable`` nothing is compared.

    What counts as failed, and which percentile is compared, is as the endpoint's gates have it.
    """
    errors, percent = gates.error_rate or ErrorRateGate(), (gates.latency or LatencyGate()).percentile
    by_errors = by_times = None
    if stable is not None and own.answers and stable.answers:
        by_errors = _by_errors(own, stable, errors)
        by_times = _by_times(own, stable, percent)
    return {
        "summary": _summary(own, errors, percent, by_errors, by_times),
        "own": _measured(own, errors),
        "stable": None if stable is None else _measured(stable, errors),
        "errors": by_errors,
        "latency": by_times,
    }


def _measured(counts: Counts, gate: ErrorRateGate) -> MeasuredStatus:
    percentiles = {
        f"p{percent}_milliseconds": _rounded(latency.percentile_of(counts, percent)) for percent in (50, 95, 99)
    }
    failed = round(error_rate.failed_percent(counts, gate), DECIMALS)
    return MeasuredStatus(**{**as_status(counts).model_dump(), **percentiles, "error_percent": failed})


def _by_errors(own: Counts, stable: Counts, gate: ErrorRateGate) -> DifferenceStatus:
    effect = error_rate.failed_percent(own, gate) - error_rate.failed_percent(stable, gate)
    return _difference(effect, error_rate.bounds(gate, candidate=own, stable=stable, alpha=EACH_END))


def _by_times(own: Counts, stable: Counts, percent: float) -> DifferenceStatus | None:
    ends = latency.percentile_of(own, percent), latency.percentile_of(stable, percent)
    if ends[0] is None or ends[1] is None:
        return None
    return _difference(ends[0] - ends[1], latency.bounds(percent, candidate=own, stable=stable, alpha=EACH_END))


def _difference(effect: float, interval: Interval) -> DifferenceStatus:
    return DifferenceStatus(effect=_rounded(effect), lower=_rounded(interval.lower), upper=_rounded(interval.upper))


def _rounded(value: float | None) -> float | None:
    """Leave out what is not known: JSON has no infinity."""
    return round(value, DECIMALS) if value is not None and math.isfinite(value) else None


def _summary(
    own: Counts,
    gate: ErrorRateGate,
    percent: float,
    by_errors: DifferenceStatus | None,
    by_times: DifferenceStatus | None,
) -> str:
    if not own.answers:
        return "no requests yet"
    failed = percent_text(error_rate.failed_percent(own, gate) / 100)
    parts = [f"{own.answers:,} requests", f"{failed} failed{_interval_text(by_errors, 'points')}"]
    taken = latency.percentile_of(own, percent)
    if taken is not None:
        parts.append(f"p{percent:g} {number_text(taken)} ms{_interval_text(by_times, 'ms')}")
    return ", ".join(parts)


def _interval_text(difference: DifferenceStatus | None, unit: str) -> str:
    if difference is None:
        return ""
    lower, upper = (
        None if end is None else number_text(end, beside=0, sign="+") for end in (difference.lower, difference.upper)
    )
    if lower is not None and upper is not None:
        return f" ({lower} to {upper} {unit})"
    if lower is None and upper is None:
        return ""
    return f" (at least {lower} {unit})" if upper is None else f" (at most {upper} {unit})"
