"""The CRD document: structural, described, bounded, and complete."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import Field

from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.batch_crd import BATCH_PREDICTION
from modelendpoint_operator.api.crd import (
    MODEL_ENDPOINT,
    CustomResource,
    build_crd,
    build_model_schema,
    build_schema,
    schema_at,
)

KINDS = (MODEL_ENDPOINT, BATCH_PREDICTION)
SCHEMAS = {kind.kind: build_schema(kind) for kind in KINDS}
SCHEMA = SCHEMAS[MODEL_ENDPOINT.kind]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every part of a schema with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from walk(part, f"{path}.{name}".removeprefix("."))
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from walk(schema[keyword], f"{path}.{keyword}")


PARTS = {(name, path): part for name, schema in SCHEMAS.items() for path, part in walk(schema)}
FIELDS = {
    (name, path): part
    for (name, path), part in PARTS.items()
    if path and path.rpartition(".")[2] not in {"items", "additionalProperties"}
}


def test_every_field_is_described_in_one_paragraph() -> None:
    for (_, path), part in FIELDS.items():
        if not path.startswith("metadata"):
            assert part["description"], path
            assert "\n" not in part["description"], path
            assert "``" not in part["description"], path


def test_every_part_has_one_type() -> None:
    for path, part in PARTS.items():
        assert ("type" in part) != part.get("x-kubernetes-int-or-string", False), path


def test_nothing_is_left_that_a_structural_schema_refuses() -> None:
    for path, part in PARTS.items():
        assert not {"$ref", "title", "oneOf", "allOf", "const", "$defs"} & set(part), path
        assert part.get("additionalProperties") is not False, path
        assert None not in (part.get("default", ""), *part.get("enum", [])), path


def test_every_text_and_list_in_spec_is_bounded_so_that_rules_stay_cheap() -> None:
    for (_, path), part in PARTS.items():
        if path.startswith("spec"):
            if part.get("type") == "string" and "enum" not in part:
                assert "maxLength" in part, path
            if part.get("type") == "array":
                assert "maxItems" in part, path
            if part.get("type") == "integer":
                assert {"minimum", "maximum"} <= set(part), path


def test_no_field_names_a_namespace_but_that_of_a_gateway_which_itself_says_whose_routes_it_takes() -> None:
    named = {path for _, path in FIELDS if "namespace" in path.lower()}
    assert named == {"spec.routing.gateway.parentRefs.items.namespace"}


def test_lists_hold_no_defaults_in_their_items() -> None:
    for (_, path), part in PARTS.items():
        if ".items" in path:
            assert "default" not in part, path


@every_kind
def test_lists_with_identity_are_merged_by_it(kind: CustomResource) -> None:
    for path, key in kind.list_keys.items():
        part = schema_at(SCHEMAS[kind.kind], path)
        assert part["x-kubernetes-list-map-keys"] == [key]
        assert key in part["items"]["required"]


def test_status_is_unobserved_until_the_operator_has_written_it() -> None:
    for schema in SCHEMAS.values():
        assert schema["properties"]["status"]["default"] == {"observedGeneration": -1}
    assert not [path for (_, path), part in PARTS.items() if path.startswith("status.") and "default" in part]


def test_quantities_may_be_written_as_numbers() -> None:
    cpu = schema_at(SCHEMA, "spec.server.resources.limits.cpu")
    assert cpu["x-kubernetes-int-or-string"] is True
    assert cpu["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert cpu["pattern"]


def test_nested_objects_are_defaulted_by_the_server() -> None:
    assert schema_at(SCHEMA, "spec.rollout")["default"] == {}
    assert schema_at(SCHEMA, "spec.rollout.steps")["default"] == [
        {"weight": 10, "holdSeconds": 60},
        {"weight": 50, "holdSeconds": 60},
    ]
    assert schema_at(SCHEMA, "spec.server.resources")["default"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"memory": "1Gi"},
    }


@every_kind
def test_every_rule_stands_in_the_schema_at_its_place(kind: CustomResource) -> None:
    for rule in kind.rules:
        part = schema_at(SCHEMAS[kind.kind], rule.at)
        assert rule.as_validation() in part["x-kubernetes-validations"]
        schema_at(part, rule.field.removeprefix("."))  # the field to blame exists


@every_kind
def test_columns_and_scale_point_at_fields_that_exist(kind: CustomResource) -> None:
    (version,) = build_crd(kind)["spec"]["versions"]
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    paths += version["subresources"].get("scale", {}).values()
    for path in paths:
        plain = path.replace('conditions[?(@.type=="Ready")]', "conditions.items").removeprefix(".")
        if not plain.startswith("metadata."):
            schema_at(SCHEMAS[kind.kind], plain)


@every_kind
def test_the_crd_is_small_enough_for_a_plain_kubectl_apply(kind: CustomResource) -> None:
    # It is kept in an annotation, and all of these together may have 256 KiB.
    assert len(yaml.safe_dump(build_crd(kind))) < 240_000


def test_a_constraint_that_a_crd_cannot_say_is_refused_at_build_time() -> None:
    class Odd(ApiModel):
        amount: int = Field(multiple_of=3)

    with pytest.raises(ValueError, match="multipleOf"):
        build_model_schema(Odd)
