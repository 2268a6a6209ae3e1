"""Prove the gates by simulation: false rollbacks, power, delay, and fixed thresholds on the same traffic.

`PYTHONPATH=operator .venv/bin/python benchmarks/gates/run.py --out DIRECTORY` writes the tables and the plot.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from agreement import disagreements
from figure import draw
from response_times import LatencyPolicy, TimedTraffic, gamma, like_envoy, log_normal, whole_milliseconds
from response_times import roll_out as roll_out_timed
from rollouts import FAILED, PASSED, UNDECIDED, Policy, Results, Traffic, roll_out
from rules import compare_errors, compare_latencies
from tightness import widths

RATES = (1, 10, 100, 1000)
BASES = (0.0, 0.001, 0.01, 0.05)
AA_RUNS, WAITING_RUNS, POWER_RUNS, RULE_RUNS, TIMED_RUNS = 10_000, 2_000, 500, 1_000, 200
WAITING = Policy(wait=3600, goes_on=False)
"""Gates of one's own: a step waits an hour for more data, then for a person."""
BOTH_GATES = 0.05 / 4
"""Part of the error that is allowed, for each of two gates in each of two steps."""
TIMED_WAITING = Policy(alpha=BOTH_GATES, wait=600, goes_on=False)
PLACES = (("log-normal, Envoy's", log_normal, like_envoy()), ("gamma, whole ms", gamma, whole_milliseconds()))
"""Distributions of response times, and the buckets that they are counted in."""
Row = list[str]
Figures = dict[str, dict[str, float]]


def main() -> None:
    """Run everything, or the named sections."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help=f"run these alone, or none to draw again: {', '.join(SECTIONS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of rollouts, to try something out")
    arguments = parser.parse_args()
    kept = arguments.out / "results.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"rows": {}, "figures": {}}
    for name in SECTIONS if arguments.only is None else arguments.only:
        began = time.perf_counter()
        results["rows"][name] = list(SECTIONS[name][2](arguments.scale, results["figures"]))
        sys.stderr.write(f"{name}: {time.perf_counter() - began:.0f} s\n")
        kept.write_text(json.dumps(results))
    tables = [_table(name, results["rows"][name]) for name in SECTIONS if name in results["rows"]]
    (arguments.out / "results.md").write_text("\n".join(tables))
    draw(results["figures"], arguments.out / "results.png")


def _table(name: str, rows: list[Row]) -> str:
    title, head, _ = SECTIONS[name]
    return "\n".join([f"### {title}\n", _row(head), _row(["---"] * len(head)), *map(_row, rows), ""])


def agreement(scale: float, _: Figures) -> Iterator[Row]:
    """Hold the simulation's gates to the operator's."""
    for gate, tried, differ, verdicts in disagreements(int(1500 * scale)):
        yield [gate, f"{tried:,}", verdicts, str(differ)]


def no_worse(scale: float, figures: Figures) -> Iterator[Row]:
    """A candidate that is the stable revision over again."""
    for rate in RATES:
        for base in BASES:
            runs = int(AA_RUNS * scale)
            by_default = roll_out(Traffic(rate, base, base), Policy(), runs=runs, seed=1)
            waiting = roll_out(Traffic(rate, base, base), WAITING, runs=int(WAITING_RUNS * scale), seed=2)
            figures.setdefault(f"pass {base:.1%}", {})[str(rate)] = _median(waiting, PASSED)
            yield [
                f"{rate:,}",
                f"{base:.1%}",
                f"{(by_default.outcome == FAILED).sum()} of {runs:,}",
                f"{(waiting.outcome == FAILED).sum()} of {len(waiting.outcome):,}",
                f"{waiting.share(PASSED):.1%}",
                _times(waiting, PASSED),
            ]


def just_allowed(scale: float, _: Figures) -> Iterator[Row]:
    """The hardest candidate that must not fail: as much worse as is allowed."""
    for rate in RATES:
        for base in BASES:
            runs = int(AA_RUNS * scale)
            results = roll_out(Traffic(rate, base, base + 0.02), Policy(), runs=runs, seed=3)
            yield [f"{rate:,}", f"{base:.1%}", f"{(results.outcome == FAILED).sum()} of {runs:,}", "5.0%"]


def worse(scale: float, figures: Figures) -> Iterator[Row]:
    """Candidates with more errors."""
    for increase, threshold in ((0.01, 0.02), (0.01, 0.005), (0.05, 0.02), (0.20, 0.02), (1.0, 0.02)):
        for rate in RATES:
            runs = int(POWER_RUNS * scale)
            traffic = Traffic(rate, 0.001, min(1.0, 0.001 + increase))
            by_default = roll_out(traffic, Policy(threshold=threshold), runs=runs, seed=4)
            policy = Policy(threshold=threshold, wait=3600, goes_on=False)
            waiting = roll_out(traffic, policy, runs=runs, seed=5)
            caught = waiting.outcome == FAILED
            if threshold == 0.02 and increase > 0.02:
                figures.setdefault(f"fail +{increase:.0%}", {})[str(rate)] = _median(waiting, FAILED)
            yield [
                f"+{100 * increase:g}",
                f"{100 * threshold:g}",
                f"{rate:,}",
                f"{by_default.share(FAILED):.1%}",
                f"{waiting.share(FAILED):.1%}",
                f"{waiting.share(PASSED):.1%}",
                _times(waiting, FAILED),
                f"{np.median(waiting.requests[caught]):,.0f}" if caught.any() else "",
                f"{np.median(waiting.failed[caught]):,.0f}" if caught.any() else "",
            ]


def response_times(scale: float, figures: Figures) -> Iterator[Row]:
    """Candidates that are as fast, or slower."""
    for place, distribution, edges in PLACES:
        for factor, percent in ((1.0, 20), (1.2, 20), (1.2, 5), (1.5, 20)):
            for rate in (10, 100, 1000) if (factor, percent) != (1.2, 20) else (100,):
                policy = LatencyPolicy(TIMED_WAITING, percent=percent, milliseconds=0 if percent == 5 else 10)
                traffic = TimedTraffic(rate, distribution(1.0), distribution(factor), edges)
                results = roll_out_timed(traffic, policy, runs=int(TIMED_RUNS * scale), seed=6)
                caught = results.outcome == FAILED
                if place.startswith("log") and percent == 20 and factor != 1.2:
                    end = FAILED if factor > 1 else PASSED
                    figures.setdefault(f"latency x{factor}", {})[str(rate)] = _median(results, end)
                yield [
                    place,
                    f"x {factor:g}",
                    f"{percent} % or {policy.milliseconds:g} ms",
                    f"{rate:,}",
                    f"{caught.sum()} of {len(caught):,}",
                    f"{results.share(PASSED):.1%}",
                    f"{results.share(UNDECIDED):.1%}",
                    _times(results, FAILED if caught.mean() > 0.5 else PASSED),
                    f"{np.median(results.requests[caught]):,.0f}" if caught.mean() > 0.5 else "",
                ]


def as_fast(scale: float, _: Figures) -> Iterator[Row]:
    """Candidates that are as fast, and such that are as slow as is allowed, in a default rollout."""
    runs = int(AA_RUNS * scale)
    for place, distribution, edges in PLACES:
        for factor, milliseconds in ((1.0, 10.0), (1.2, 0.0)):
            for rate in (10, 100):
                traffic = TimedTraffic(rate, distribution(1.0), distribution(factor), edges)
                policy = LatencyPolicy(Policy(alpha=BOTH_GATES), milliseconds=milliseconds)
                results = roll_out_timed(traffic, policy, runs=runs, seed=16)
                failed = (results.outcome == FAILED).sum()
                yield [place, f"x {factor:g}", f"20 % or {milliseconds:g} ms", f"{rate:,}", f"{failed} of {runs:,}"]


def assumptions(scale: float, _: Figures) -> Iterator[Row]:
    """A candidate that is no worse, where what the gates assume does not hold."""
    runs = int(AA_RUNS * scale)
    troubles = (
        ("both fail 20 times as often in bursts", 20.0, 1),
        ("failures come 5 at once to one revision", 1.0, 5),
        ("failures come 20 at once to one revision", 1.0, 20),
    )
    for name, bursts, clump in troubles:
        for rate in (10, 100, 1000):
            traffic = Traffic(rate, 0.01, 0.01, bursts=bursts, clump=clump)
            results = roll_out(traffic, Policy(), runs=runs, seed=14)
            yield ["errorRate", name, f"{rate:,}", f"{(results.outcome == FAILED).sum()} of {runs:,}"]
    for rate in (10, 100):
        slowed = TimedTraffic(rate, log_normal(1), log_normal(1), like_envoy(), burst=log_normal(3))
        timed = roll_out_timed(slowed, LatencyPolicy(Policy(alpha=BOTH_GATES)), runs=runs, seed=15)
        yield [
            "latency",
            "both take 3 times as long in bursts",
            f"{rate:,}",
            f"{(timed.outcome == FAILED).sum()} of {runs:,}",
        ]


def fixed_thresholds(scale: float, figures: Figures) -> Iterator[Row]:
    """The same errors, judged by fixed thresholds."""
    runs = int(RULE_RUNS * scale)
    for base, increase in (
        (0.0, 0.0),
        (0.001, 0.0),
        (0.01, 0.0),
        (0.05, 0.0),
        (0.001, 0.05),
        (0.001, 0.20),
        (0.05, 0.05),
    ):
        for rate in RATES:
            compared = compare_errors(Traffic(rate, base, base + increase), Policy(), runs=runs, seed=7)
            if not increase:
                for name, at in compared.items():
                    figures.setdefault(f"rule {name}", {})[f"{base:.1%} at {rate}"] = float(np.isfinite(at).mean())
            yield [f"{base:.1%}", f"+{100 * increase:g}", f"{rate:,}", *map(_rolled_back, compared.values())]


def fixed_latency(scale: float, _: Figures) -> Iterator[Row]:
    """The same response times, judged by fixed thresholds."""
    runs = int(200 * scale)
    policy = LatencyPolicy(Policy(alpha=0.0125))
    for base, factor in ((1.0, 1.0), (2.2, 1.0), (1.0, 1.5), (0.25, 3.0)):
        for rate in (1, 10, 100):
            traffic = TimedTraffic(rate, log_normal(base), log_normal(base * factor), like_envoy())
            compared = compare_latencies(traffic, policy, runs=runs, seed=8)
            yield [f"{256 * base:.0f} ms", f"x {factor:g}", f"{rate:,}", *map(_rolled_back, compared.values())]


def choices(scale: float, _: Figures) -> Iterator[Row]:
    """What a smaller or larger maxIncreasePercent costs in requests of the candidate, at a weight of 10 %."""
    runs = int(500 * scale)
    for threshold in (0.005, 0.01, 0.02, 0.03, 0.05):
        row = [f"{100 * threshold:g}"]
        for base in BASES:
            policy = Policy(threshold=threshold, minimum=1, steps=((0.1, 1),), wait=3000, goes_on=False)
            row.append(_requests(roll_out(Traffic(50, base, base), policy, runs=runs, seed=9), PASSED))
        for increase in (0.05, 0.20):
            policy = Policy(threshold=threshold, steps=((0.1, 3000),))
            results = roll_out(Traffic(50, 0.001, 0.001 + increase), policy, runs=runs, seed=10)
            row.append(_requests(results, FAILED))
        yield row


def percentiles(scale: float, _: Figures) -> Iterator[Row]:
    """What a higher percentile costs in requests of the candidate, at a weight of 10 %."""
    runs = int(300 * scale)
    for percentile in (50, 90, 95, 99):
        row = [str(percentile)]
        for factor, end in ((1.0, PASSED), (1.5, FAILED), (2.0, FAILED)):
            common = Policy(alpha=BOTH_GATES, minimum=1, steps=((0.1, 1),), wait=3000, goes_on=False)
            traffic = TimedTraffic(50, log_normal(1), log_normal(factor), like_envoy())
            results = roll_out_timed(traffic, LatencyPolicy(common, percentile=percentile), runs=runs, seed=11)
            row.append(_requests(results, end))
        yield row


def tightness(_: float, __: Figures) -> Iterator[Row]:
    """Ours beside what else there is."""
    for share, size, of_ours, others in widths():
        yield [f"{share:g}", f"{size:,}", f"{of_ours:.4f}", *(f"{other / of_ours:.2f}" for other in others)]


def _row(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"


def _median(results: Results, outcome: int) -> float:
    there = results.outcome == outcome
    return float(np.median(results.seconds[there])) if there.mean() > 0.5 else float("nan")


def _times(results: Results, outcome: int) -> str:
    there = results.outcome == outcome
    if not there.any():
        return ""
    return f"{np.median(results.seconds[there]):,.0f} / {np.quantile(results.seconds[there], 0.9):,.0f}"


def _requests(results: Results, outcome: int) -> str:
    there = results.outcome == outcome
    if there.mean() < 0.9:
        return f"({there.mean():.0%})"
    return f"{np.median(results.requests[there]):,.0f} / {np.quantile(results.requests[there], 0.9):,.0f}"


def _rolled_back(at: np.ndarray) -> str:
    back = np.isfinite(at)
    return f"{back.mean():.1%}" + (f" ({np.median(at[back]):,.0f} s)" if back.any() else "")


Section = Callable[[float, Figures], Iterator[Row]]
SECTIONS: dict[str, tuple[str, Row, Section]] = {
    "agreement": (
        "The simulation judges as the operator does",
        ["gate", "counts tried", "Pass / Fail / InsufficientData", "differ"],
        agreement,
    ),
    "no_worse": (
        "A candidate that is no worse: false rollbacks, and time until it is through",
        [
            "requests/s",
            "errors of both",
            "rolled back, default rollout",
            "rolled back, waiting",
            "through, waiting",
            "seconds until through, median / p90",
        ],
        no_worse,
    ),
    "just_allowed": (
        "A candidate that is as much worse as is allowed (+2 points), default rollout",
        ["requests/s", "errors of stable", "rolled back", "allowed"],
        just_allowed,
    ),
    "worse": (
        "A candidate with more errors (stable: 0.1 %)",
        [
            "points",
            "maxIncrease",
            "requests/s",
            "caught, default rollout",
            "caught, waiting",
            "passed, waiting",
            "seconds, median / p90",
            "its requests, median",
            "failed, median",
        ],
        worse,
    ),
    "response_times": (
        "Response times (95th percentile; each step waits up to ten minutes more)",
        [
            "distribution, buckets",
            "candidate",
            "allowed",
            "requests/s",
            "rolled back",
            "passed",
            "undecided",
            "seconds, median / p90",
            "its requests until caught",
        ],
        response_times,
    ),
    "as_fast": (
        "Response times that are no worse, or just as slow as is allowed: false rollbacks in a default rollout (allowed: 2.5 %)",
        ["distribution, buckets", "candidate", "allowed", "requests/s", "rolled back"],
        as_fast,
    ),
    "assumptions": (
        "A candidate that is no worse, in traffic that is not independent (default rollout)",
        ["gate", "traffic", "requests/s", "rolled back"],
        assumptions,
    ),
    "fixed_thresholds": (
        "The same traffic under fixed thresholds, ten minutes: rolled back (median second)",
        ["errors of stable", "points", "requests/s", "ModelEndpoint", "Flagger 5", "Flagger 10", "Argo Rollouts"],
        fixed_thresholds,
    ),
    "fixed_latency": (
        "The same response times under a fixed threshold",
        ["p99 of stable", "candidate", "requests/s", "ModelEndpoint", "Flagger 5", "Flagger 10"],
        fixed_latency,
    ),
    "choices": (
        "Requests of the candidate until the verdict, by maxIncreasePercent (median / p90; in brackets the share that got one in 3,000 s, if below 90 %)",
        ["maxIncreasePercent", *(f"Pass, {base:.1%} errors" for base in BASES), "Fail, +5 points", "Fail, +20 points"],
        choices,
    ),
    "percentiles": (
        "Requests of the candidate until the verdict, by percentile (median / p90)",
        ["percentile", "Pass, as fast", "Fail, x 1.5", "Fail, x 2"],
        percentiles,
    ),
    "tightness": (
        "Width of the bounds of one share, 95 %, and how many times as wide others are",
        ["share", "observations", "ours", "best λ known beforehand", "beta-binomial", "empirical Bernstein"],
        tightness,
    ),
}

if __name__ == "__main__":
    main()
