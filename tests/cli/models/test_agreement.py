"""How answers of two models are compared; what each model computes is worked out here by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from onnx import helper

from modelendpoint.errors import CliError
from modelendpoint.models.agreement import Delta, compare_answers
from modelendpoint.models.opened import OpenModel
from modelendpoint_server.golden import Tolerance
from modelendpoint_server.inference import Call
from support import model_zoo
from support.onnx_models import linear_model

Open = Callable[[bytes], OpenModel]
TOLERANCE = Tolerance(absolute=1e-5, relative=1e-4)


def ask(values: list[list[float]]) -> tuple[Call, Call]:
    call = Call({"features": np.array(values, dtype=np.float32)})
    return call, call


def test_numbers_have_a_distance_and_the_largest_comes_first(opened: Open) -> None:
    old, new = opened(linear_model([1.0]).data), opened(linear_model([1.5]).data)
    (found,) = compare_answers(old, new, ask([[0.0], [2.0], [-4.0]]), TOLERANCE, shown=2).outputs
    assert (found.is_label, found.rows, found.differing_rows, found.largest, found.mean) == (False, 3, 2, 2.0, 1.0)
    assert found.deltas == [
        Delta(row=2, place="[0]", old=-4.0, new=-6.0),
        Delta(row=1, place="[0]", old=2.0, new=3.0),
    ]


def test_a_difference_within_the_tolerance_is_shown_but_does_not_count(opened: Open) -> None:
    old, new = opened(linear_model([1.0]).data), opened(linear_model([1.00005]).data)
    (found,) = compare_answers(old, new, ask([[1.0]]), TOLERANCE, shown=5).outputs
    assert found.differing_rows == 0
    assert found.largest == pytest.approx(5e-5, rel=0.01)
    assert len(found.deltas) == 1


def test_labels_flip_and_have_no_distance(opened: Open) -> None:
    rows = Call({"x": np.array([[1, 5], [2, 2]], dtype=np.int64)})
    old = opened(model_zoo.identity("INT64", (None, 2)))
    ports = ("INT64", (None, 2))
    negation = [helper.make_node("Neg", ["x"], ["y"])]
    new = opened(model_zoo.build(negation, [("x", *ports)], [("y", *ports)]))
    (found,) = compare_answers(old, new, (rows, rows), TOLERANCE, shown=1).outputs
    assert (found.is_label, found.differing_rows, found.largest) == (True, 2, 0.0)
    assert found.deltas == [Delta(row=0, place="[0]", old=1, new=-1)]


def test_maps_are_compared_key_by_key(opened: Open) -> None:
    data = model_zoo.classifier(features=2, zipmap=True)
    call = Call({"x": np.array([[1.0, 2.0], [0.0, 0.0]], dtype=np.float32)})
    agreement = compare_answers(opened(data), opened(data), (call, call), TOLERANCE, shown=5)
    assert [output.output for output in agreement.outputs] == ["label", "probabilities"]
    assert [output.is_label for output in agreement.outputs] == [True, False]
    assert [output.differing_rows for output in agreement.outputs] == [0, 0]


def test_a_row_that_one_model_refuses_does_not_hide_the_others(opened: Open) -> None:
    old, new = opened(model_zoo.lookup([0.0, 1.0, 2.0])), opened(model_zoo.lookup([0.0, 1.5]))
    call = Call({"x": np.array([0, 2, 1], dtype=np.int64)})
    agreement = compare_answers(old, new, (call, call), TOLERANCE, shown=5)
    assert [(refusal.row, refusal.model) for refusal in agreement.refusals] == [(1, new.place)]
    assert "out of data bounds" in agreement.refusals[0].reason
    (found,) = agreement.outputs
    assert (found.rows, found.differing_rows, found.deltas) == (2, 1, [Delta(row=2, place="", old=1.0, new=1.5)])


def test_no_number_agrees_with_no_number_only(opened: Open) -> None:
    old, new = opened(model_zoo.logarithm()), opened(model_zoo.identity("FP32", (None, 2)))
    call = Call({"x": np.array([[-1.0, 1.0]], dtype=np.float32)})
    (same,) = compare_answers(old, old, (call, call), TOLERANCE, shown=5).outputs
    assert (same.differing_rows, same.largest) == (0, 0.0)
    (other,) = compare_answers(old, new, (call, call), TOLERANCE, shown=1).outputs
    assert (other.differing_rows, other.largest) == (1, math.inf)


def test_a_model_of_one_row_is_asked_row_by_row(opened: Open) -> None:
    old, new = opened(model_zoo.identity("FP32", (None, 2))), opened(model_zoo.identity("FP32", (1, 2)))
    call = Call({"x": np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)})
    agreement = compare_answers(old, new, (call, call), TOLERANCE, shown=5)
    assert (agreement.rows, list(agreement.refusals)) == (3, [])
    assert [(output.rows, output.differing_rows) for output in agreement.outputs] == [(3, 0)]


def test_a_model_of_another_number_of_rows_is_not_compared(opened: Open) -> None:
    old, new = opened(model_zoo.identity("FP32", (None, 2))), opened(model_zoo.identity("FP32", (3, 2)))
    call = Call({"x": np.ones((3, 2), dtype=np.float32)})
    with pytest.raises(CliError, match="takes another number of rows at once"):
        compare_answers(old, new, (call, call), TOLERANCE, shown=5)


def test_labels_decide_where_there_are_some(opened: Open) -> None:
    data = model_zoo.classifier(features=2, zipmap=False)
    call = Call({"x": np.zeros((1, 2), dtype=np.float32)})
    agreement = compare_answers(opened(data), opened(data), (call, call), TOLERANCE, shown=0)
    assert [output.output for output in agreement.judged] == ["label"]
    scores = opened(linear_model([1.0]).data)
    assert [output.output for output in compare_answers(scores, scores, ask([[1.0]]), TOLERANCE, shown=0).judged] == [
        "score"
    ]
