"""Orders given by annotations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelendpoint_operator.rollout.orders import Verb, open_orders, still_given, value_to_give

PROMOTE, ABORT, RETRY = "modelendpoint.dev/promote", "modelendpoint.dev/abort", "modelendpoint.dev/retry"


@pytest.mark.parametrize(
    ("value", "revision"),
    [
        ("2", 2),
        (" 2 ", 2),
        ("2/again", 2),
        ("2/", 2),
        ("012", 12),
        ("", None),
        ("two", None),
        ("2x", None),
        ("-2", None),
        ("2.0", None),
        ("²", None),
        ("٢", None),
        ("1234567890", None),
    ],
)
def test_the_number_in_front_names_the_revision(value: str, revision: int | None) -> None:
    order = open_orders({PROMOTE: value}, {})[Verb.PROMOTE]

    assert (order.revision, order.value) == (revision, value)


@given(st.text())
def test_no_value_breaks_the_reading(value: str) -> None:
    assert open_orders({RETRY: value}, {})[Verb.RETRY].value == value


def test_an_order_that_was_carried_out_is_not_open() -> None:
    assert open_orders({ABORT: "2"}, {ABORT: "2"}) == {}
    assert open_orders({ABORT: "3"}, {ABORT: "2"}).keys() == {Verb.ABORT}
    assert open_orders({ABORT: "2"}, {PROMOTE: "2"}).keys() == {Verb.ABORT}


def test_other_annotations_are_no_orders() -> None:
    assert open_orders({"example.com/promote": "2", "modelendpoint.dev/note": "2"}, {}) == {}


def test_an_order_is_forgotten_with_its_annotation() -> None:
    handled = {PROMOTE: "2", ABORT: "1", RETRY: "3"}

    assert still_given({PROMOTE: "2", ABORT: "4"}, handled) == {PROMOTE: "2"}


@pytest.mark.parametrize("handled", [{}, {PROMOTE: "2"}, {PROMOTE: "2/1"}, {PROMOTE: "1"}, {PROMOTE: "2/2"}])
def test_the_value_in_the_advice_is_carried_out(handled: dict[str, str]) -> None:
    value = value_to_give(Verb.PROMOTE, 2, step=1, handled=handled)

    assert open_orders({PROMOTE: value}, handled)[Verb.PROMOTE].revision == 2


def test_a_verb_is_said_as_people_say_it() -> None:
    words = ["promote", "abort", "retry", "promote-full", "pause", "resume", "rollback-to"]
    assert [verb.word for verb in Verb] == words
    assert [verb.value for verb in Verb] == [f"modelendpoint.dev/{word}" for word in words]
