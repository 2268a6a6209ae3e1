"""Rollouts judged by response times: made-up distributions, in the buckets that a router counts them in."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from many import Bools, Buckets, Floats
from rollouts import FAILED, PASSED, RUNNING, UNDECIDED, Policy, Results, in_bursts
from scipy import stats

Distribution = Callable[[Floats], Floats]
"""Share of answers below a time in milliseconds."""


def log_normal(factor: float) -> Distribution:
    """Median 80 ms, 95 % below 182 ms, times a factor."""
    return lambda edges: stats.lognorm.cdf(edges, 0.5, scale=80 * factor)


def gamma(factor: float) -> Distribution:
    """Mean 40 ms, 95 % below 78 ms, times a factor."""
    return lambda edges: stats.gamma.cdf(edges, 4, scale=10 * factor)


def whole_milliseconds(longest: int = 500) -> Floats:
    """Edges of buckets that are a millisecond wide, and of a last one for the rest."""
    return np.append(np.arange(longest + 1.0), np.inf)


def like_envoy(longest: int = 3000) -> Floats:
    """Edges of Envoy's buckets: two significant digits."""
    return np.concatenate([np.arange(100.0), np.arange(100.0, 1000, 10), np.arange(1000.0, longest, 100), [np.inf]])


@dataclass(frozen=True)
class TimedTraffic:
    """Requests that come at random, and how long their answers take."""

    requests_per_second: float
    stable: Distribution
    candidate: Distribution
    edges: Floats
    burst: Distribution | None = None
    """What the answers of both take in bursts of some seconds."""


@dataclass(frozen=True)
class LatencyPolicy:
    """What LatencyGate has, beside what all gates have."""

    common: Policy
    percentile: float = 95
    percent: float = 20
    milliseconds: float = 10


def roll_out(traffic: TimedTraffic, policy: LatencyPolicy, *, runs: int, seed: int) -> Results:
    """Run many rollouts with the latency gate, judged every second."""
    rng = np.random.default_rng(seed)
    share_new, share_old, edges = shares(traffic)
    buckets = Buckets(edges, share=policy.percentile / 100, percent=policy.percent, milliseconds=policy.milliseconds)
    outcome, seconds, requests = np.zeros(runs, dtype=int), np.zeros(runs), np.zeros(runs)
    level = np.log(1 / policy.common.alpha)
    is_burst = np.zeros(runs, dtype=bool)
    share_burst = np.diff(traffic.burst(edges)) if traffic.burst else share_new

    def draw(rate: float, share: Floats, is_burst: Bools) -> Floats:
        return rng.poisson(rate * np.where(is_burst[:, None], share_burst, share)).astype(float)

    for weight, hold in policy.common.steps:
        here = np.nonzero(outcome == RUNNING)[0]
        new, old = (np.zeros((len(here), len(edges) - 1)) for _ in range(2))
        second = 0
        while len(here) and second < hold + policy.common.wait:
            second += 1
            if traffic.burst:
                is_burst = in_bursts(is_burst, rng)
            drawn = draw(traffic.requests_per_second * weight, share_new, is_burst[here])
            new += drawn
            old += draw(traffic.requests_per_second * (1 - weight), share_old, is_burst[here])
            seconds[here] += 1
            requests[here] += drawn.sum(axis=1)
            fails = buckets.fails(new, old, level)
            outcome[here[fails]] = FAILED
            done = fails
            if second >= hold:
                done = fails | (buckets.passes(new, old, level) & (new.sum(axis=1) >= policy.common.minimum))
            here, new, old = here[~done], new[~done], old[~done]
        if not policy.common.goes_on:
            outcome[here] = UNDECIDED
    outcome[outcome == RUNNING] = PASSED
    return Results(outcome, seconds, requests, np.zeros(runs))


def shares(traffic: TimedTraffic) -> tuple[Floats, Floats, Floats]:
    """Name the shares of answers per bucket, without buckets that hold next to nothing."""
    places = (traffic.candidate, traffic.stable, traffic.burst or traffic.stable)
    both = sum((place(traffic.edges) for place in places), np.zeros(len(traffic.edges)))
    kept = np.concatenate([[True], np.diff(both)[:-1] > 1e-4, [True]])
    edges = traffic.edges[kept]
    return np.diff(traffic.candidate(edges)), np.diff(traffic.stable(edges)), edges
