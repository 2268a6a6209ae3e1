"""The plot: how soon the gates decide, and how often fixed thresholds roll back what is no worse."""

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

Figures = dict[str, dict[str, float]]


def draw(figures: Figures, path: Path) -> None:
    """Draw both halves, when there is something for both."""
    if not any(title.startswith("rule ") for title in figures) or not any(
        title.startswith("pass") for title in figures
    ):
        return
    plot, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5))
    for name, styles in {"pass": "-", "fail": "--", "latency": ":"}.items():
        for title, points in figures.items():
            if title.startswith(name):
                there = {int(rate): value for rate, value in points.items() if math.isfinite(value)}
                left.plot(list(there), list(there.values()), styles, marker="o", label=_named(title))
    left.set(
        xscale="log", yscale="log", ylim=(0.5, 100_000), xlabel="requests/s of the endpoint", ylabel="seconds, median"
    )
    left.set_title("Time until the verdict (candidate at 10 %, then 50 %)")
    left.legend(fontsize=8, ncols=2, loc="upper right")
    rules = {title.removeprefix("rule "): points for title, points in figures.items() if title.startswith("rule ")}
    for index, (name, points) in enumerate(rules.items()):
        places = [place + (index - 1.5) * 0.2 for place in range(len(points))]
        right.bar(places, [100 * value for value in points.values()], width=0.2, label=name)
        right.set_xticks(range(len(points)), [f"{title}/s" for title in points], rotation=75, fontsize=8)
    right.set(ylabel="rolled back, %", xlabel="errors of both revisions at requests per second")
    right.set_title("Rolled back although no worse (same traffic)")
    right.legend(fontsize=8)
    plot.tight_layout()
    plot.savefig(path, dpi=90)


def _named(title: str) -> str:
    kind, what = title.split(" ", 1)
    if kind == "latency":
        return "Pass, as fast" if what == "x1.0" else f"Fail, response times {what}"
    return f"Pass, both {what} errors" if kind == "pass" else f"Fail, {what.replace('%', ' points of')} errors"
