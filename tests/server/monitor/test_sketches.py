"""Counts of rows: they add up, and they are what numpy counts."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_server.monitor.reference import Categories, ColumnProfile, Numbers
from modelendpoint_server.monitor.series import Series
from modelendpoint_server.monitor.sketches import Sketch, empty, fits, sketch

NUMBERS = Numbers(
    name="x", rows=40, missing=0, minimum=-3.0, maximum=3.0, mean=0.0, deviation=1.0,
    edges=(-1.0, 0.0, 2.0), counts=(10, 10, 10, 10),
)  # fmt: skip
LEVELS = Categories(name="level", rows=30, missing=0, values=(1.0, 2.0, 5.0), counts=(10, 10, 10), rare=(7.0,))
TEXTS = Categories(name="plan", rows=30, missing=0, values=("a", "b"), counts=(10, 10), others=10, rare=("c",))

NUMBER = st.one_of(st.sampled_from([math.nan, math.inf, -1.0, 0.0, 2.0, 5.0]), st.floats(-10, 10))
TEXT = st.one_of(st.none(), st.sampled_from(["a", "b", "c", ""]))


def series(values: list[Any]) -> Series:
    if any(isinstance(value, str) or value is None for value in values):
        texts = np.empty(len(values), object)
        texts[:] = values
        return texts
    return np.array(values, np.float64)


def plain(one: Sketch) -> dict[str, Any]:
    return {
        "counts": one.counts.tolist(),
        "missing": one.missing,
        "outside": one.outside,
        "total": pytest.approx(one.total),
        "minimum": one.minimum,
        "maximum": one.maximum,
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [(NUMBERS, NUMBER), (LEVELS, NUMBER), (TEXTS, TEXT)],
    ids=["numbers", "few numbers", "texts"],
)
@given(data=st.data())
@settings(deadline=None)
def test_sketches_of_parts_add_up_to_that_of_the_whole_in_any_order(
    column: ColumnProfile, value: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    parts = data.draw(st.lists(st.lists(value, max_size=20), min_size=1, max_size=5))
    kind = object if column is TEXTS else np.float64
    whole = sketch(column, series([one for part in parts for one in part]).astype(kind))
    summed = empty(column)
    for part in data.draw(st.permutations(parts)):
        summed = sketch(column, series(part).astype(kind)).plus(summed)
    assert plain(summed) == plain(whole)
    assert whole.rows == sum(map(len, parts))


@given(st.lists(NUMBER))
def test_numbers_are_counted_as_numpy_does(values: list[float]) -> None:
    found = sketch(NUMBERS, np.array(values, np.float64))
    finite = np.array([value for value in values if math.isfinite(value)])
    expected, _ = np.histogram(finite, [-math.inf, -1.0, 0.0, 2.0, math.inf])
    assert found.counts.tolist() == expected.tolist()
    assert found.missing == len(values) - len(finite)
    assert found.outside == int(((finite < -3) | (finite > 3)).sum())


def test_categories_are_counted_each_the_rare_ones_together_and_the_unknown_ones() -> None:
    assert sketch(LEVELS, np.array([1, 1, 5, 3, 9, 7, math.nan])).counts.tolist() == [2, 0, 1, 1, 2]
    found = sketch(TEXTS, series(["b", None, "z", "b", "y", "c"]))
    assert (found.counts.tolist(), found.missing, found.rows) == ([0, 2, 1, 2], 1, 6)


def test_a_column_of_texts_does_not_fit_a_profile_of_numbers() -> None:
    texts, numbers = series(["a"]), series([1.0])
    assert [fits(column, texts) for column in (NUMBERS, LEVELS, TEXTS)] == [False, False, True]
    assert [fits(column, numbers) for column in (NUMBERS, LEVELS, TEXTS)] == [True, True, False]
