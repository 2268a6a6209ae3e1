"""Rollouts on made-up traffic: what the router counts every second, and what the gates make of it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import many
import numpy as np
from many import Bools, Floats

DEFAULT_STEPS = ((0.10, 60), (0.50, 60))
"""Weight and holdSeconds of the two steps that spec.rollout has by default."""
RUNNING, PASSED, FAILED, UNDECIDED = 0, 1, 2, 3


@dataclass(frozen=True)
class Traffic:
    """Requests that come at random, and how likely each is to fail."""

    requests_per_second: float
    stable_fails: float
    candidate_fails: float
    bursts: float = 1.0
    """In bursts of some seconds both fail so many times as often."""
    clump: int = 1
    """So many failures at once hit the same revision, as from a broken client that sticks to it."""


@dataclass(frozen=True)
class Policy:
    """The gate, the steps, and how long a step may wait for more data after its hold."""

    threshold: float = 0.02
    alpha: float = 0.025
    minimum: int = 50
    steps: Sequence[tuple[float, int]] = DEFAULT_STEPS
    wait: int = 0
    goes_on: bool = True
    """Go to the next step with too little data after the wait, as the default gate does; else stop undecided."""


@dataclass(frozen=True)
class Results:
    """One number for each rollout."""

    outcome: np.ndarray
    seconds: Floats
    """From the first traffic to the outcome."""
    requests: Floats
    """Requests of the candidate until then."""
    failed: Floats
    """Those of them that failed."""

    def share(self, outcome: int) -> float:
        """Share of rollouts that ended so."""
        return float((self.outcome == outcome).mean())


def counted(
    traffic: Traffic, weight: float, runs: int, rng: np.random.Generator, *, seconds: int = 1
) -> Iterator[tuple[Floats, ...]]:
    """Draw failed and all requests of the candidate, then of the stable revision, look by look."""
    requests = seconds * traffic.requests_per_second
    to_candidate, to_stable = requests * weight, requests * (1 - weight)
    rates = [
        to_candidate * traffic.candidate_fails,
        to_candidate * (1 - traffic.candidate_fails),
        to_stable * traffic.stable_fails,
        to_stable * (1 - traffic.stable_fails),
    ]
    is_burst = np.zeros(runs, dtype=bool)
    while True:
        if traffic.bursts != 1:
            is_burst = in_bursts(is_burst, rng)
        more = np.where(is_burst, traffic.bursts, 1.0)
        bad, stable_bad = (traffic.clump * rng.poisson(rates[arm] / traffic.clump * more) for arm in (0, 2))
        good, stable_good = (rng.poisson(rates[arm], runs) for arm in (1, 3))
        yield tuple(count.astype(float) for count in (bad, bad + good, stable_bad, stable_bad + stable_good))


def in_bursts(before: Bools, rng: np.random.Generator) -> Bools:
    """Begin and end bursts: five seconds long on average, every minute or so."""
    draws = rng.random(len(before))
    return np.asarray(np.where(before, draws > 0.2, draws < 0.02))


def roll_out(traffic: Traffic, policy: Policy, *, runs: int, seed: int) -> Results:
    """Run many rollouts with the error rate gate, judged every second."""
    rng = np.random.default_rng(seed)
    outcome = np.zeros(runs, dtype=int)
    seconds, requests, failed = np.zeros(runs), np.zeros(runs), np.zeros(runs)
    level = np.log(1 / policy.alpha)
    for weight, hold in policy.steps:
        counts = [np.zeros(runs) for _ in range(4)]
        in_step = outcome == RUNNING
        # A look every second, or every few where the candidate gets less than a request a second.
        tick = max(1, min(5, int(1 / (traffic.requests_per_second * weight))))
        looks = counted(traffic, weight, runs, rng, seconds=tick)
        for second, drawn in zip(itertools.count(tick, tick), looks, strict=False):
            (here,) = np.nonzero(in_step)
            if not len(here):
                break
            for count, more in zip(counts, drawn, strict=True):
                count += more
            seconds[here] += tick
            requests[here] += drawn[1][here]
            failed[here] += drawn[0][here]
            new, old = (counts[0][here], counts[1][here]), (counts[2][here], counts[3][here])
            # While a step waits: only where the candidate answered or the stable revision failed.
            news = (drawn[1][here] + drawn[2][here] > 0) | (second <= hold)
            fails, passes = np.zeros(len(here), dtype=bool), np.zeros(len(here), dtype=bool)
            fails[news] = many.is_above(_at(new, news), _at(old, news), policy.threshold, level)
            if second >= hold:
                passes[news] = many.is_above(_at(old, news), _at(new, news), -policy.threshold, level)
                passes &= (new[1] >= policy.minimum) & ~fails
            outcome[here[fails]] = FAILED
            in_step[here[fails | passes]] = False
            if second >= hold + policy.wait:
                if not policy.goes_on:
                    outcome[in_step] = UNDECIDED
                break
    outcome[outcome == RUNNING] = PASSED
    return Results(outcome, seconds, requests, failed)


def _at(sample: tuple[Floats, Floats], where: Bools) -> tuple[Floats, Floats]:
    return sample[0][where], sample[1][where]
