"""Hold the simulation's gates to the operator's, on counts of all sizes."""

from collections.abc import Iterator
from functools import partial

import many
import numpy as np
from response_times import TimedTraffic, gamma, like_envoy, log_normal, shares, whole_milliseconds

from modelendpoint_operator.api.gates import ErrorRateGate, LatencyGate
from modelendpoint_operator.rollout.gates import error_rate, latency
from modelendpoint_operator.rollout.gates.finding import Bucket, Counts, Verdict

ALPHA = 0.025
LEVEL = float(np.log(1 / ALPHA))


def disagreements(tried: int) -> Iterator[tuple[str, int, int, str]]:
    """Name for each gate how many counts were tried, how many verdicts differ, and which verdicts there were."""
    for gate, pair in (("errorRate", _error_pair), ("latency", _latency_pair)):
        rng = np.random.default_rng(12)
        pairs = [pair(rng) for _ in range(tried)]
        verdicts = [sum(ours is verdict for ours, _ in pairs) for verdict in Verdict]
        yield gate, tried, sum(ours is not theirs for ours, theirs in pairs), " / ".join(map(str, verdicts))


def _error_pair(rng: np.random.Generator) -> tuple[Verdict, Verdict]:
    sizes = np.round(10 ** rng.uniform(0, 5, 2))
    base = rng.choice([0, 0.001, 0.01, 0.05])
    failed = rng.binomial(sizes.astype(int), [base + rng.choice([0, 0, 0.05, 0.2]), base]).astype(float)
    new, old = ((failed[index : index + 1], sizes[index : index + 1]) for index in (0, 1))
    ours = _verdict(bool(many.is_above(new, old, 0.02, LEVEL)[0]), bool(many.is_above(old, new, -0.02, LEVEL)[0]))
    candidate, stable = (
        Counts(answers=int(size), server_errors=int(bad)) for bad, size in zip(failed, sizes, strict=True)
    )
    gate = ErrorRateGate(max_increase_percent=2)
    finding = error_rate.judge(gate, candidate=candidate, stable=stable, minimum_requests=1, alpha=ALPHA)
    return ours, finding.verdict


def _latency_pair(rng: np.random.Generator) -> tuple[Verdict, Verdict]:
    is_envoy = rng.random() < 0.5
    edges = like_envoy() if is_envoy else whole_milliseconds()
    distribution = log_normal if is_envoy else gamma
    percentile = float(rng.choice([50, 90, 95, 99]))
    factor = float(rng.choice([0.8, 1, 1, 1.2, 1.5, 2]))
    share_new, share_old, kept = shares(TimedTraffic(1, distribution(1), distribution(factor), edges))
    draw = partial(_answers, rng)
    new, old = draw(share_new), draw(share_old)
    buckets = many.Buckets(kept, share=percentile / 100, percent=20, milliseconds=10)
    ours = _verdict(bool(buckets.fails(new, old, LEVEL)[0]), bool(buckets.passes(new, old, LEVEL)[0]))
    finding = latency.judge(
        LatencyGate(percentile=percentile, max_increase_percent=20, max_increase_milliseconds=10),
        candidate=_counts(new[0], kept),
        stable=_counts(old[0], kept),
        minimum_requests=1,
        alpha=ALPHA,
    )
    return ours, finding.verdict


def _answers(rng: np.random.Generator, chances: many.Floats) -> many.Floats:
    size = int(10 ** rng.uniform(1, 5))
    return rng.multinomial(size, chances / chances.sum())[None].astype(float)


def _counts(answers: many.Floats, edges: many.Floats) -> Counts:
    buckets = tuple(
        Bucket(lower_ms=float(low), upper_ms=float(high), answers=int(number))
        for low, high, number in zip(edges[:-1], edges[1:], answers, strict=True)
        if number
    )
    return Counts(answers=int(answers.sum()), latency=buckets)


def _verdict(fails: bool, passes: bool) -> Verdict:
    return Verdict.FAIL if fails else Verdict.PASS if passes else Verdict.INSUFFICIENT_DATA
