"""Fixed thresholds per window, as Flagger and Argo Rollouts have them, beside our gates on the very same traffic."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import many
import numpy as np
from many import Bools, Floats
from response_times import LatencyPolicy, TimedTraffic, shares
from rollouts import Policy, Traffic, counted

STEPS = ((0.10, 300), (0.50, 300))
"""Ten windows of a minute. Ours needs less time; theirs needs it to come to a verdict at all."""
WINDOW = 60


@dataclass
class FixedRule:
    """A candidate alone against a number, once a window; failed windows add up."""

    name: str
    runs: int
    failed_windows: int
    """So many failed windows roll back."""
    success_rate: float = 0.0
    slowest_ms: float = np.inf
    """Largest 99th percentile that is right, interpolated in its bucket."""
    windows: Floats = field(init=False)
    rolled_back_at: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Begin without failed windows."""
        self.windows = np.zeros(self.runs)
        self.rolled_back_at = np.full(self.runs, np.inf)

    def look(self, second: int, bad: Bools) -> None:
        """Count a window that failed."""
        self.windows += bad
        self.rolled_back_at[(self.windows >= self.failed_windows) & np.isinf(self.rolled_back_at)] = second


def rules(runs: int) -> list[FixedRule]:
    """List what is compared.

    Flagger: the numbers of its documentation; a window without traffic fails, failed ones add up until `threshold`.
    Argo Rollouts: the success rate of its documentation, whose failureLimit of 3 is passed by the fourth.
    """
    return [
        FixedRule("Flagger, threshold 5", runs, 5, success_rate=0.99, slowest_ms=500),
        FixedRule("Flagger, threshold 10", runs, 10, success_rate=0.99, slowest_ms=500),
        FixedRule("Argo Rollouts, failureLimit 3", runs, 4, success_rate=0.95),
    ]


def compare_errors(traffic: Traffic, policy: Policy, *, runs: int, seed: int) -> dict[str, Floats]:
    """Name for each rule, and for our gate, the second in which each rollout was rolled back."""
    rng = np.random.default_rng(seed)
    compared, ours, clock = rules(runs), np.full(runs, np.inf), 0
    for weight, hold in STEPS:
        counts, window = [np.zeros(runs) for _ in range(4)], [np.zeros(runs) for _ in range(4)]
        for second, drawn in zip(range(1, hold + 1), counted(traffic, weight, runs, rng), strict=False):
            clock += 1
            for count, in_window, more in zip(counts, window, drawn, strict=True):
                count += more
                in_window += more
            fails = many.is_above(
                (counts[0], counts[1]), (counts[2], counts[3]), policy.threshold, np.log(1 / policy.alpha)
            )
            ours[fails & np.isinf(ours)] = clock
            if second % WINDOW == 0:
                success = 1 - window[0] / np.maximum(window[1], 1)
                for rule in compared:
                    rule.look(clock, (success < rule.success_rate) | (window[1] == 0))
                window = [np.zeros(runs) for _ in range(4)]
    return {"ModelEndpoint": ours} | {rule.name: rule.rolled_back_at for rule in compared}


def compare_latencies(traffic: TimedTraffic, policy: LatencyPolicy, *, runs: int, seed: int) -> dict[str, Floats]:
    """Do the same for response times."""
    rng = np.random.default_rng(seed)
    compared, ours, clock = rules(runs)[:2], np.full(runs, np.inf), 0
    share_new, share_old, edges = shares(traffic)
    buckets = many.Buckets(
        edges, share=policy.percentile / 100, percent=policy.percent, milliseconds=policy.milliseconds
    )
    for weight, hold in STEPS:
        new, old, window = (np.zeros((runs, len(edges) - 1)) for _ in range(3))
        for second in range(1, hold + 1):
            clock += 1
            drawn = rng.poisson(traffic.requests_per_second * weight * share_new, new.shape)
            new, window = new + drawn, window + drawn
            old = old + rng.poisson(traffic.requests_per_second * (1 - weight) * share_old, old.shape)
            open_ = np.isinf(ours)
            ours[open_] = np.where(
                buckets.fails(new[open_], old[open_], np.log(1 / policy.common.alpha)), clock, np.inf
            )
            if second % WINDOW == 0:
                slow = _percentile(window, edges, 0.99)
                for rule in compared:
                    rule.look(clock, (slow > rule.slowest_ms) | (window.sum(axis=1) == 0))
                window = np.zeros_like(window)
    return {"ModelEndpoint": ours} | {rule.name: rule.rolled_back_at for rule in compared}


def _percentile(answers: Floats, edges: Sequence[float] | Floats, share: float) -> Floats:
    """Interpolate a percentile in its bucket, as Prometheus does."""
    sums = answers.cumsum(axis=1)
    wanted = share * sums[:, -1]
    index = np.minimum((sums < wanted[:, None]).sum(axis=1), len(edges) - 2)
    rows = np.arange(len(answers))
    inside = answers[rows, index]
    below = sums[rows, index] - inside
    lows, highs = np.asarray(edges)[index], np.asarray(edges)[index + 1]
    widths = np.where(np.isinf(highs), 0.0, highs - lows)
    return np.asarray(lows + widths * (wanted - below) / np.maximum(inside, 1))
