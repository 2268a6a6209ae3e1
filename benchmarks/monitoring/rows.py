"""Rows of all kinds of columns, and ways in which they drift. Made up, so that what is true is known."""

from collections.abc import Callable, Mapping

import numpy as np

from modelendpoint_server.monitor.sample import Column

Rows = dict[str, Column]
Random = np.random.Generator
Change = Callable[[Random, Rows], None]

_PLANS = np.array(["basic", "plus", "pro"], object)
_SHOPS = np.array([f"shop{number:02d}" for number in range(40)], object)
_SEATS = np.array([f"seat{number:02d}" for number in range(60)], object)
_WORDS = np.array([f"w{number}" for number in range(2000)], object)


def _zipf(values: Column) -> Column:
    weights = 1 / np.arange(1, len(values) + 1)
    return np.asarray(weights / weights.sum())


_SHOP_SHARES, _WORD_SHARES = _zipf(_SHOPS) ** 2 / (_zipf(_SHOPS) ** 2).sum(), _zipf(_WORDS)


def draw(random: Random, count: int) -> Rows:
    """Draw independent rows: fifteen inputs and a score."""
    age = random.normal(40, 10, count)
    balance = np.where(random.random(count) < 0.7, 0.0, random.gamma(2, 500, count))
    income = random.lognormal(10, 1, count)
    income[random.random(count) < 0.02] = np.nan
    return {
        "age": age,
        "weight": random.normal(70, 15, count),
        "income": income,
        "ratio": random.standard_cauchy(count),
        "balance": balance,
        "visits": random.poisson(200, count),
        "children": random.integers(0, 5, count),
        "fraud": random.random(count) < 0.01,
        "unit": np.ones(count),
        "plan": _choose(random, _PLANS, count, np.array([0.6, 0.3, 0.1])),
        "shop": _choose(random, _SHOPS, count, _SHOP_SHARES),
        "hour": random.integers(0, 24, count),
        "week": random.integers(0, 40, count),
        "seat": random.choice(_SEATS, count),
        "word": _choose(random, _WORDS, count, _WORD_SHARES),
        "score": _score(random, age, balance),
    }


def _choose(random: Random, values: Column, count: int, shares: Column) -> Column:
    places = np.searchsorted(np.cumsum(shares), random.random(count))
    return np.asarray(values[np.minimum(places, len(values) - 1)])


OUTPUTS = ("score",)


def _score(random: Random, age: Column, balance: Column) -> Column:
    return np.asarray(1 / (1 + np.exp(-((age - 40) / 10 + balance / 1000 - 1 + random.normal(0, 0.3, len(age))))))


def _shift(deviations: float) -> Change:
    def change(random: Random, rows: Rows) -> None:
        rows["age"] = rows["age"] + 10 * deviations
        rows["score"] = _score(random, rows["age"], rows["balance"])

    return change


def _new_category(share: float) -> Change:
    def change(random: Random, rows: Rows) -> None:
        rows["plan"] = np.where(random.random(len(rows["plan"])) < share, "max", rows["plan"])

    return change


def _missing(share: float) -> Change:
    def change(random: Random, rows: Rows) -> None:
        rows["age"] = np.where(random.random(len(rows["age"])) < share, np.nan, rows["age"])

    return change


def _unit(random: Random, rows: Rows) -> None:
    rows["weight"] = rows["weight"] * 2.2046


def _swap(random: Random, rows: Rows) -> None:
    rows["age"], rows["weight"] = rows["weight"], rows["age"]
    rows["score"] = _score(random, rows["age"], rows["balance"])


def _frozen(random: Random, rows: Rows) -> None:
    rows["visits"] = np.full(len(rows["visits"]), 200)


CHANGES: Mapping[str, tuple[str, Change]] = {
    "mean of a column + 0.5 standard deviations": ("age", _shift(0.5)),
    "mean of a column + 0.2 standard deviations": ("age", _shift(0.2)),
    "new category, 5 % of the rows": ("plan", _new_category(0.05)),
    "new category, 1 % of the rows": ("plan", _new_category(0.01)),
    "10 % missing": ("age", _missing(0.1)),
    "3 % missing": ("age", _missing(0.03)),
    "unit: kilograms become pounds": ("weight", _unit),
    "two columns swapped": ("age", _swap),
    "a column that stands still": ("visits", _frozen),
}
"""What is changed, and the column in which it has to be found."""
