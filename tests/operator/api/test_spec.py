"""The models and the CRD agree: what the API server lets through parses, and what it refuses does not."""

from copy import deepcopy
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from modelendpoint_operator.api.crd import MODEL_ENDPOINT, build_schema, schema_at
from modelendpoint_operator.api.spec import ModelEndpointSpec
from support.schemas import as_json_schema, valid_values

SPEC = as_json_schema(schema_at(build_schema(MODEL_ENDPOINT), "spec"))
VALIDATOR = jsonschema.Draft202012Validator(SPEC)
SPECS = valid_values(SPEC)

STRANGE = st.sampled_from(
    [
        0,
        1,
        -1,
        101,
        10**9,
        1.5,
        True,
        False,
        "",
        "x",
        "3",
        "2Gi",
        "-1",
        "1e3",
        "Canary",
        "s3://m/k",
        "s3://m/\n",
        [],
        {},
    ]
)
"""Values that are right at some places and wrong at others."""


def parses(spec: Any) -> bool:
    try:
        ModelEndpointSpec.model_validate(spec)
    except ValidationError:
        return False
    return True


def places(value: Any) -> list[tuple[Any, Any]]:
    """List every place in a document, as container and key."""
    if isinstance(value, dict):
        return [place for key in value for place in [(value, key), *places(value[key])]]
    if isinstance(value, list):
        return [place for key in range(len(value)) for place in [(value, key), *places(value[key])]]
    return []


@st.composite
def specs_with_one_change(draw: st.DrawFn) -> Any:
    spec = deepcopy(draw(SPECS))
    container, key = draw(st.sampled_from(places(spec)))
    change = draw(st.sampled_from(["replace", "remove", "add"]))
    if change == "replace":
        container[key] = draw(STRANGE)
    elif change == "remove":
        del container[key]
    elif isinstance(container, dict):
        container[draw(st.sampled_from(["name", "replicas", "weight", "uri", "resources"]))] = draw(STRANGE)
    return spec


@settings(max_examples=100, deadline=None)
@given(SPECS)
def test_what_the_schema_accepts_parses(spec: Any) -> None:
    ModelEndpointSpec.model_validate(spec)


@settings(max_examples=300, deadline=None)
@given(specs_with_one_change())
def test_schema_and_models_give_the_same_verdict(spec: Any) -> None:
    assert VALIDATOR.is_valid(spec) == parses(spec)


@settings(max_examples=50, deadline=None)
@given(SPECS)
def test_what_was_parsed_is_accepted_when_it_is_written_again(spec: Any) -> None:
    written = ModelEndpointSpec.model_validate(spec).model_dump(mode="json", by_alias=True, exclude_none=True)
    VALIDATOR.validate(written)
    assert ModelEndpointSpec.model_validate(written) == ModelEndpointSpec.model_validate(spec)


@pytest.mark.parametrize(("written", "text"), [(2, "2"), ("2", "2"), ("1500m", "1500m"), ("0.5", "0.5")])
def test_a_quantity_keeps_the_text_of_its_author(written: object, text: str) -> None:
    spec = {"model": {"uri": "s3://m/k"}, "server": {"resources": {"limits": {"cpu": written}}}}
    limits = ModelEndpointSpec.model_validate(spec).server.resources.limits
    assert limits is not None
    assert limits.cpu == text
