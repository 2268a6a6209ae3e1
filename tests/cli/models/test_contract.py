"""Which differences of two signatures break applications."""

import pytest

from modelendpoint.models.contract import compare_signatures
from modelendpoint_server.signature import Dimension, Signature, TensorSpec

X = TensorSpec("x", "FP32", (None, 3))
Y = TensorSpec("y", "FP32", (None, 1))


def a_signature(
    *,
    inputs: tuple[TensorSpec, ...] = (X,),
    outputs: tuple[TensorSpec, ...] = (Y,),
    columns: tuple[str, ...] = ("a", "b", "c"),
) -> Signature:
    return Signature(inputs=inputs, outputs=outputs, columns=columns)


def an_input(datatype: str, *dimensions: Dimension) -> tuple[TensorSpec, ...]:
    return (TensorSpec("x", datatype, dimensions),)


def an_output(datatype: str, *dimensions: Dimension, kind: str = "tensor") -> tuple[TensorSpec, ...]:
    return (TensorSpec("y", datatype, dimensions, kind),)


BREAKING = [
    (a_signature(inputs=(TensorSpec("z", "FP32", (None, 3)),)), ["input x is gone", "input z is new"]),
    (a_signature(inputs=(X, TensorSpec("z", "FP32", (None, 3)))), ["input z is new"]),
    (a_signature(inputs=an_input("FP64", None, 3)), ["input x FP32 → FP64"]),
    (a_signature(inputs=an_input("FP32", None, 4)), ["input x shape [-1, 3] → [-1, 4]"]),
    (a_signature(inputs=an_input("FP32", 1, 3)), ["input x shape [-1, 3] → [1, 3]"]),
    (a_signature(inputs=an_input("FP32", None, 3, 1)), ["input x shape [-1, 3] → [-1, 3, 1]"]),
    (a_signature(outputs=(TensorSpec("z", "FP32", (None, 1)),)), ["output y is gone", "output z is new"]),
    (a_signature(outputs=an_output("INT64", None, 1)), ["output y FP32 → INT64"]),
    (a_signature(outputs=an_output("FP32", None, None)), ["output y shape [-1, 1] → [-1, -1]"]),
    (a_signature(outputs=an_output("FP32", kind="map")), ["output y FP32 → map of FP32"]),
    (a_signature(columns=("b", "a", "c")), ["columns have another order"]),
    (a_signature(columns=("a", "b", "d")), ["columns have other names: c → d"]),
    (a_signature(columns=()), ["columns have no names any more"]),
]


@pytest.mark.parametrize(("new", "said"), BREAKING, ids=[said[0] for _, said in BREAKING])
def test_a_change_that_applications_notice_is_breaking(new: Signature, said: list[str]) -> None:
    changes = compare_signatures(a_signature(), new)
    for sentence in said:
        assert [change for change in changes if f"{change.where} {change.what}".startswith(sentence)], changes
    assert changes[0].is_breaking


@pytest.mark.parametrize(
    "new",
    [
        a_signature(inputs=an_input("FP32", None, None)),
        a_signature(outputs=(Y, TensorSpec("z", "INT64", (None,)))),
        a_signature(outputs=an_output("FP32", 1, 1)),
    ],
    ids=["a free axis", "one more output", "a fixed axis of an output"],
)
def test_a_change_that_no_application_notices_is_told_and_not_breaking(new: Signature) -> None:
    changes = compare_signatures(a_signature(), new)
    assert [change.is_breaking for change in changes] == [False]


def test_new_names_for_columns_that_had_none_change_nothing() -> None:
    assert compare_signatures(a_signature(columns=()), a_signature()) == []


def test_another_name_of_a_free_axis_is_no_change() -> None:
    assert compare_signatures(a_signature(), a_signature(inputs=an_input("FP32", "batch", 3))) == []
