"""Kubernetes' additions to CEL, and that every rule of every kind can be evaluated."""

from typing import Any

import pytest

from modelendpoint.linting.rules import Quantity, find_broken
from modelendpoint_operator.api.batch_crd import BATCH_PREDICTION
from modelendpoint_operator.api.crd import MODEL_ENDPOINT
from modelendpoint_operator.api.rules import Rule


def holds(rule: str, value: Any) -> bool:
    schema = {"x-kubernetes-validations": [{"rule": rule, "message": "no"}]}
    return not list(find_broken(value, schema, broken=[]))


@pytest.mark.parametrize(
    ("small", "large"),
    [("1", "2"), ("999m", "1"), ("1k", "1Ki"), ("1023Mi", "1Gi"), ("1e3", "1001"), ("0.5", "501m"), ("1u", "1m")],
)
def test_quantities_are_compared_by_their_amount(small: str, large: str) -> None:
    assert Quantity(small).amount < Quantity(large).amount
    rule = "quantity(string(self[0])).compareTo(quantity(string(self[1]))) < 0"
    assert (holds(rule, [small, large]), holds(rule, [large, small]), holds(rule, [small, small])) == (
        True,
        False,
        False,
    )


@pytest.mark.parametrize(("text", "is_one"), [("1Gi", True), ("1.5", True), ("1GB", False), ("", False), ("m", False)])
def test_what_a_quantity_is(text: str, is_one: bool) -> None:
    assert holds("isQuantity(self)", text) is is_one


@pytest.mark.parametrize(("items", "is_sorted"), [([], True), ([1], True), ([1, 1, 2], True), ([2, 1], False)])
def test_lists_are_sorted_or_not(items: list[int], is_sorted: bool) -> None:
    assert holds("self.isSorted()", items) is is_sorted


def test_matches_is_as_gos_regular_expressions_are() -> None:
    assert not holds("self.matches('^a$')", "a\n")
    assert holds("self.matches('(a+)+b')", "a" * 5000 + "b")


def test_a_broken_rule_is_told_at_the_field_that_it_is_about() -> None:
    schema = {
        "properties": {
            "steps": {
                "items": {
                    "x-kubernetes-validations": [{"rule": "self.a < 2", "message": "too much", "fieldPath": ".a"}]
                }
            }
        }
    }
    assert list(find_broken({"steps": [{"a": 1}, {"a": 2}]}, schema, broken=[])) == [
        (("steps", 1, "a"), "Forbidden: too much")
    ]


def test_a_part_with_a_mistake_is_not_asked() -> None:
    schema = {"x-kubernetes-validations": [{"rule": "self.a < 2", "message": "no"}]}
    assert list(find_broken({"a": "text"}, schema, broken=[("a",)])) == []


def test_a_number_without_a_fraction_is_compared_with_one_that_has_one() -> None:
    limits = {"type": "object", "properties": {"min": {"type": "number"}, "max": {"type": "number"}}}
    schema = {**limits, "x-kubernetes-validations": [{"rule": "self.min <= self.max", "message": "no"}]}
    assert list(find_broken({"min": 1, "max": 1.5}, schema, broken=[])) == []
    assert len(list(find_broken({"min": 2, "max": 1.5}, schema, broken=[]))) == 1


def test_a_rule_about_a_change_is_left_out() -> None:
    assert holds("has(self.a) == has(oldSelf.a) && false", {"a": 1})


SAMPLES: dict[str, Any] = {
    "metadata": {"name": "churn"},
    "spec": {
        "model": {"uri": "s3://a/b"}, "input": {"uri": "s3://a/b"}, "output": {"uri": "s3://a/c"}, "strategy": "Canary",
    },
    "uri": "s3://a/b", "strategy": "Canary",
    "model": {"uri": "s3://a/b"}, "input": {"uri": "s3://a/b"}, "output": {"uri": "s3://a/c"},
    "minReplicas": 1, "maxReplicas": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    "rule", [*MODEL_ENDPOINT.rules, *BATCH_PREDICTION.rules], ids=lambda rule: f"{rule.at} {rule.message}"[:70]
)
def test_every_rule_uses_only_what_is_known_here(rule: Rule) -> None:
    """Compile it and evaluate it on something: an unknown function would raise."""
    is_text = rule.at.endswith(
        ("uri", "memory", "cron", "timeZone", "priorityClassName", "items.name", "Origins.items")
    )
    assert holds(rule.rule, "s3://a/b" if is_text else SAMPLES) in (True, False)


def test_a_rule_about_changes_is_not_asked_of_a_file() -> None:
    schema = {"x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "can't be changed"}]}
    assert list(find_broken("text", schema, broken=[])) == []
