"""The CEL rules of a schema, evaluated as the API server does. Which rules there are must not be here."""

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel

from modelendpoint.linting.documents import Place
from modelendpoint.linting.structure import Mistake, Schema, below

_QUANTITY = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)(?:[eE]([+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")
_DECIMAL = {
    unit: Decimal(1000) ** power for power, unit in enumerate(["n", "u", "m", "", "k", "M", "G", "T", "P", "E"], -3)
}
_BINARY = {unit: Decimal(1024) ** power for power, unit in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], 1)}
_PARENT_STEPS = re.compile(r"\.([A-Za-z0-9_]+)|\[([0-9]+)\]")


def find_broken(value: Any, schema: Schema, broken: Sequence[Place], place: Place = ()) -> Iterator[Mistake]:
    """Evaluate the rules of every part of a value that has no mistake in itself or below."""
    if not any(other[: len(place)] == place for other in broken):
        for rule in schema.get("x-kubernetes-validations", ()):
            # What an update may change can't be said of a file: there is nothing before it.
            if not _needs_the_old(rule) and not _holds(rule, {"self": _as_cel(value, schema)}):
                yield _mistake(rule, place)
    if isinstance(value, dict):
        for name, part in value.items():
            yield from find_broken(part, below(schema, name), broken, (*place, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from find_broken(item, schema.get("items", {}), broken, (*place, index))


def find_forbidden(value: Any, before: Any, schema: Schema, place: Place = ()) -> Iterator[Mistake]:
    """Evaluate the rules about changes, of every part that was there before."""
    for rule in schema.get("x-kubernetes-validations", ()):
        known = {"self": _as_cel(value, schema), "oldSelf": _as_cel(before, schema)}
        if _needs_the_old(rule) and not _holds(rule, known):
            yield _mistake(rule, place)
    if isinstance(value, dict) and isinstance(before, dict):
        for name in value.keys() & before.keys():
            yield from find_forbidden(value[name], before[name], below(schema, name), (*place, name))


def _needs_the_old(rule: Mapping[str, str]) -> bool:
    """Tell whether a rule is about a change; the API server leaves it out, too, when there is no object yet."""
    return "oldSelf" in rule["rule"]


def _mistake(rule: Mapping[str, str], place: Place) -> Mistake:
    return (*place, *_steps(rule.get("fieldPath", ""))), f"Forbidden: {rule['message']}"


def _holds(rule: Mapping[str, str], known: Mapping[str, Any]) -> bool:
    return bool(_program(rule["rule"]).evaluate(dict(known)))


def _as_cel(value: Any, schema: Schema) -> Any:
    """Give a value the type that its schema says: a number without a fraction is a double all the same."""
    if isinstance(value, dict):
        return celtypes.MapType({celtypes.StringType(k): _as_cel(v, below(schema, k)) for k, v in value.items()})
    if isinstance(value, list):
        return celtypes.ListType([_as_cel(item, schema.get("items", {})) for item in value])
    if schema.get("type") == "number":
        return celtypes.DoubleType(value)
    if schema.get("type") == "integer":
        return celtypes.IntType(value)
    return json_to_cel(value)


@functools.cache
def _program(rule: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(rule), functions=dict(_FUNCTIONS))


def _steps(field_path: str) -> Place:
    return tuple(name or int(index) for name, index in _PARENT_STEPS.findall(field_path))


class Quantity:
    """A Kubernetes quantity as a CEL value."""

    def __init__(self, text: str) -> None:
        found = _QUANTITY.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no quantity")
        number, exponent, unit = found.groups()
        self.amount = Decimal(number) * (Decimal(10) ** int(exponent) if exponent else (_DECIMAL | _BINARY)[unit or ""])


def _quantity(text: str) -> Quantity:
    return Quantity(str(text))


def _is_quantity(text: Any) -> celtypes.BoolType:
    return celtypes.BoolType(isinstance(text, str) and _QUANTITY.fullmatch(text) is not None)


def _compare_to(one: Quantity, other: Quantity) -> celtypes.IntType:
    return celtypes.IntType((one.amount > other.amount) - (one.amount < other.amount))


def _is_sorted(items: Sequence[Any]) -> celtypes.BoolType:
    return celtypes.BoolType(all(one <= other for one, other in itertools.pairwise(items)))


def _sum(items: Sequence[celtypes.IntType]) -> celtypes.IntType:
    return celtypes.IntType(sum(items))


_FUNCTIONS: Mapping[str, Any] = {
    "quantity": _quantity,
    "isQuantity": _is_quantity,
    "compareTo": _compare_to,
    "isSorted": _is_sorted,
    "sum": _sum,
}
"""Functions that Kubernetes adds to CEL, as far as our rules use them."""
