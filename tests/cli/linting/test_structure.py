"""A value is right here when the CRD's schema says so: compared with a JSON schema validator, on any values."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from modelendpoint.linting.lint import SCHEMAS
from modelendpoint.linting.structure import as_field, complete, find_invalid, find_unknown
from support.schemas import as_json_schema, valid_values

SPECS = {kind: schema["properties"]["spec"] for kind, schema in SCHEMAS.items()}
ANYTHING = st.recursive(
    st.booleans() | st.integers(-3, 2000) | st.floats(-2, 2, allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def is_right(value: Any, schema: Any) -> bool:
    """Tell what a JSON schema can tell, too; it knows no lists whose items have a key."""
    mistakes = [*find_unknown(value, schema), *find_invalid(value, schema)]
    return all(message.startswith("Duplicate value") for _, message in mistakes)


def places(value: Any) -> list[list[Any]]:
    """List the ways to all parts of a value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [[], *([key, *below] for key, part in parts for below in places(part))]


def replaced(value: Any, place: list[Any], new: Any) -> Any:
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = replaced(value[place[0]], place[1:], new)
    return copy


@pytest.mark.parametrize("kind", SPECS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_whatever_the_schema_takes_is_right(kind: str, data: st.DataObject) -> None:
    value = data.draw(valid_values(as_json_schema(SPECS[kind])))
    assert is_right(value, SPECS[kind])
    assert is_right(complete(value, SPECS[kind]), SPECS[kind])


@pytest.mark.parametrize("kind", SPECS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_part_that_is_replaced_by_anything_is_right_when_the_schema_says_so(kind: str, data: st.DataObject) -> None:
    schema = as_json_schema(SPECS[kind])
    value = data.draw(valid_values(schema))
    value = replaced(value, data.draw(st.sampled_from(places(value))), data.draw(ANYTHING))
    assert is_right(value, SPECS[kind]) == Draft202012Validator(schema).is_valid(value)


def test_places_are_written_as_the_api_server_does() -> None:
    assert as_field(("spec", "steps", 0, "weight")) == "spec.steps[0].weight"
    assert as_field(()) == ""


def test_defaults_are_filled_in_at_every_depth_but_not_over_what_is_there() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 3}}},
            "c": {"type": "integer", "default": 1},
        },
    }
    assert complete({"c": 2, "d": None}, schema) == {"c": 2, "a": {"b": 3}}
