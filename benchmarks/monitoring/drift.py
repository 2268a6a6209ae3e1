"""False alarms and detection of the monitor's drift statistics, with the product's own code on made-up rows.

Prints the tables of README.md. No traffic and no cluster: what comes from them is tested in ``tests/cluster``.
"""

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from rows import CHANGES, OUTPUTS, Change, Random, Rows, draw
from scipy import stats

from modelendpoint_server.monitor.building import ProfileBuilder
from modelendpoint_server.monitor.drift import Thresholds, Verdict, judge
from modelendpoint_server.monitor.reference import Profile
from modelendpoint_server.monitor.sample import Column
from modelendpoint_server.monitor.series import series_of
from modelendpoint_server.monitor.significance import same_shares
from modelendpoint_server.monitor.sketches import sketch

ALPHA = 0.001
ANY_EFFECT = Thresholds(psi=0.0, missing=0.0, out_of_range=0.0, unseen=0.0)
"""With these only significance stands between chance and a finding."""
_WINDOWS_EACH = 100
"""Windows that are judged by one reference: what is odd in a reference is odd in all of its windows."""


def profile_of(rows: Rows) -> Profile:
    """Make the profile of a reference."""
    builder = ProfileBuilder()
    inputs = {name: column for name, column in rows.items() if name not in OUTPUTS}
    builder.add(inputs, {name: rows[name] for name in OUTPUTS}, rows=len(rows["age"]))
    return builder.build(model_sha256="")[0]


def verdict_of(profile: Profile, rows: Rows, thresholds: Thresholds) -> Verdict:
    """Judge a window."""
    series = series_of(rows, profile.summarised)
    return judge(
        profile,
        {name: sketch(profile.by_name[name], values) for name, values in series.items()},
        thresholds,
        alpha=ALPHA,
    )


def references(random: Random, rows: int, windows: int) -> Iterator[tuple[Rows, Profile, int]]:
    """Yield references with the number of windows for each."""
    for first in range(0, windows, _WINDOWS_EACH):
        reference = draw(random, rows)
        yield reference, profile_of(reference), min(_WINDOWS_EACH, windows - first)


def false_alarms(windows: int) -> None:
    """Count windows without a change that have a finding."""
    print("| rows of the reference | rows of a window | windows | allowed | alarms | alarms if any effect counted |")
    print("|---|---|---|---|---|---|")
    kinds: Counter[str] = Counter()
    for before, after in ((20_000, 1000), (20_000, 100), (2000, 1000), (1000, 5000), (200, 1000)):
        random = np.random.default_rng(before + after)
        alarms = significant = 0
        for _, profile, count in references(random, before, windows):
            for _ in range(count):
                rows = draw(random, after)
                found = verdict_of(profile, rows, ANY_EFFECT).findings
                significant += bool(found)
                alarms += bool(found and verdict_of(profile, rows, Thresholds()).findings)
                kinds.update(f"{finding.kind} {finding.figures.column}" for finding in found)
        print(
            f"| {before:,} | {after:,} | {windows:,} | {windows * ALPHA:.0f} | {alarms} | {significant} |", flush=True
        )
    print("\nFindings if any effect counted, of all settings: ", dict(kinds.most_common()) or "none")


def _ks(alpha: float) -> Callable[[Rows, Rows], bool]:
    """Say that a window drifts when any column of numbers does by a Kolmogorov-Smirnov test of the rows themselves."""

    def drifts(reference: Rows, rows: Rows) -> bool:
        numbers = [name for name, column in rows.items() if column.dtype.kind != "O"]
        return any(
            stats.ks_2samp(_present(reference[name]), _present(rows[name]), method="asymp").pvalue <= alpha
            for name in numbers
        )

    return drifts


def _present(column: Column) -> Column:
    numbers = column.astype(np.float64)
    return numbers[np.isfinite(numbers)]


def other_rules(windows: int) -> None:
    """Count what simpler rules say of windows without a change, and of a mean that moved by 0.5 and 0.2 standard deviations."""
    print(
        "| rule | rows of a window | without a change | + 0.5 standard deviations found | + 0.2 standard deviations found |"
    )
    print("|---|---|---|---|---|")
    rules: dict[str, Callable[[Rows, Profile, Rows], bool]] = {
        "ours": lambda reference, profile, rows: bool(verdict_of(profile, rows, Thresholds()).findings),
        "PSI ≥ 0.1 in any column": lambda reference, profile, rows: any(
            figures.psi >= 0.1 for figures in verdict_of(profile, rows, Thresholds()).figures
        ),
        "KS test, p ≤ 0.05 in any column (scipy)": lambda reference, profile, rows: _ks(0.05)(reference, rows),
        "KS test, p ≤ 0.001 / columns (scipy)": lambda reference, profile, rows: _ks(ALPHA / 13)(reference, rows),
    }
    for after in (100, 1000):
        for rule, drifts in rules.items():
            random = np.random.default_rng(after)
            found = Counter[str]()
            for reference, profile, count in references(random, 5000, windows):
                for _ in range(count):
                    for change in (
                        "",
                        "mean of a column + 0.5 standard deviations",
                        "mean of a column + 0.2 standard deviations",
                    ):
                        found[change] += drifts(reference, profile, _drifted(random, after, change))
            shares = " | ".join(f"{100 * found[change] / windows:.1f} %" for change in ("", *list(CHANGES)[:2]))
            print(f"| {rule} | {after:,} | {shares} |", flush=True)


def _drifted(random: Random, count: int, change: str) -> Rows:
    rows = draw(random, count)
    if change:
        CHANGES[change][1](random, rows)
    return rows


def detection(runs: int) -> None:
    """Count the windows until a change is found in its column."""
    print(
        "| change | rows of a window | runs | found in the first window | windows until found, median / p95 | missed in 10 |"
    )
    print("|---|---|---|---|---|---|")
    for name, (column, change) in CHANGES.items():
        for after in (1000, 100):
            random = np.random.default_rng(17)
            waits = [
                _windows_until(random, profile, column, change, after)
                for _, profile, count in references(random, 20_000, runs)
                for _ in range(count)
            ]
            first, missed = waits.count(1), sum(math.isinf(wait) for wait in waits)
            middle, late = (_wait(np.quantile(waits, share, method="higher")) for share in (0.5, 0.95))
            print(
                f"| {name} | {after:,} | {runs} | {100 * first / runs:.1f} % | {middle} / {late} | {missed} |",
                flush=True,
            )


def _windows_until(random: Random, profile: Profile, column: str, change: Change, after: int) -> float:
    for window in range(1, 11):
        rows = draw(random, after)
        change(random, rows)
        if any(finding.figures.column == column for finding in verdict_of(profile, rows, Thresholds()).findings):
            return window
    return math.inf


def _wait(windows: float) -> str:
    return "over 10" if math.isinf(windows) else f"{windows:.0f}"


def tail(tables: int) -> None:
    """Compare how often the G-test falls below a level with the level, and with the uncorrected one."""
    print(
        "| rows of the reference | rows of a window | bins | tables | at 0.01 | at 0.001 | at 0.0001 | uncorrected and not pooled, at 0.001 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for before, after, bins in (
        (20_000, 1000, 20),
        (20_000, 200, 20),
        (20_000, 100, 20),
        (1000, 1000, 65),
        (500, 1000, 20),
    ):
        random = np.random.default_rng(after)
        shares = np.full(bins, 1 / bins)
        old, new = random.multinomial(before, shares, tables), random.multinomial(after, shares, tables)
        ours = np.array([same_shares(reference, window) for reference, window in zip(old, new, strict=True)])
        below = " | ".join(f"{(ours <= level).mean() / level:.2f}" for level in (0.01, 0.001, 0.0001))
        plain = (_uncorrected(old, new) <= 0.001).mean() / 0.001
        print(f"| {before:,} | {after:,} | {bins} | {tables:,} | {below} | {plain:.2f} |", flush=True)


def _uncorrected(old: Column, new: Column) -> Column:
    """Compute the plain G-test of many tables, without pooling."""
    total = old + new
    size = (old + new).sum(axis=1, keepdims=True)
    parts = (old * np.log(np.where(old, old, 1)) + new * np.log(np.where(new, new, 1))).sum(axis=1)
    sums = [(part.sum(axis=1) * np.log(part.sum(axis=1))) for part in (old, new)]
    bins = (total * np.log(np.where(total, total, 1))).sum(axis=1)
    statistic = 2 * (parts - sums[0] - sums[1] - bins + (size * np.log(size))[:, 0])
    return np.asarray(stats.chi2.sf(statistic, old.shape[1] - 1))


def main() -> None:
    """Print the sections that were asked for."""
    sections = {
        "tail": (tail, 50_000),
        "alarms": (false_alarms, 3000),
        "detection": (detection, 200),
        "rules": (other_rules, 300),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=sections, default=list(sections))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the windows")
    options = parser.parse_args()
    for name in options.only:
        section, windows = sections[name]
        print(f"\n### {name}\n")
        section(max(10, round(windows * options.scale)))


if __name__ == "__main__":
    main()
