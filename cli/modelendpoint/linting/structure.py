"""A value against a structural schema, in the API server's own words. Pure.

The words are those of ``k8s.io/apiextensions-apiserver`` (1.34); the cluster tests compare them with a real one.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import re2

from modelendpoint.linting.documents import Place

Schema = Mapping[str, Any]
Mistake = tuple[Place, str]

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_whole(value),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def as_field(place: Place) -> str:
    """Write a place as the API server does: ``spec.rollout.steps[0].weight``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def below(schema: Schema, name: str) -> Schema:
    """Find the schema of a field; an empty one, which takes everything, for a field that is unknown."""
    found: Schema = schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
    return found


def complete(value: Any, schema: Schema) -> Any:
    """Leave out nulls and fill in defaults, as is done before anything is looked at."""
    if isinstance(value, dict) and "properties" in schema:
        given = {name: part for name, part in value.items() if part is not None}
        absent = {
            name: part["default"]
            for name, part in schema["properties"].items()
            if "default" in part and name not in given
        }
        return {name: complete(part, below(schema, name)) for name, part in (given | absent).items()}
    if isinstance(value, dict) and "additionalProperties" in schema:
        return {name: complete(part, schema["additionalProperties"]) for name, part in value.items()}
    if isinstance(value, list) and "items" in schema:
        return [complete(item, schema["items"]) for item in value]
    return value


def find_unknown(value: Any, schema: Schema, place: Place = ()) -> Iterator[Mistake]:
    """Find the fields that no schema knows; kubectl's strict validation refuses them."""
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from find_unknown(item, schema["items"], (*place, index))
    if not isinstance(value, dict):
        return
    if "additionalProperties" in schema:
        for name, part in value.items():
            yield from find_unknown(part, schema["additionalProperties"], (*place, name))
        return
    known = schema.get("properties", {})
    for name, part in value.items():
        if name in known:
            yield from find_unknown(part, known[name], (*place, name))
        else:
            yield (*place, name), f'unknown field "{as_field((*place, name))}"{_guess(name, known)}'


def find_invalid(value: Any, schema: Schema, place: Place = ()) -> Iterator[Mistake]:
    """Find the values that have another type or are beyond a limit, and the ones that are missing."""
    if (kinds := _kinds(schema)) and not any(_TYPES[kind](value) for kind in kinds):
        found, wanted = _type_of(value), ",".join(kinds)
        yield place, f'Invalid value: "{found}": {as_field(place)} in body must be of type {wanted}: "{found}"'
        return
    yield from ((place, message) for message in _limits(value, schema, as_field(place)))
    if isinstance(value, dict):
        yield from _fields(value, schema, place)
    elif isinstance(value, list):
        yield from _items(value, schema, place)


def _fields(value: Mapping[str, Any], schema: Schema, place: Place) -> Iterator[Mistake]:
    for name in schema.get("required", ()):
        if name not in value:
            yield (*place, name), "Required value"
    for name, part in value.items():
        yield from find_invalid(part, below(schema, name), (*place, name))


def _items(value: list[Any], schema: Schema, place: Place) -> Iterator[Mistake]:
    keys = schema.get("x-kubernetes-list-map-keys")
    seen: list[Any] = []
    for index, item in enumerate(value):
        yield from find_invalid(item, schema.get("items", {}), (*place, index))
        if keys and isinstance(item, dict):
            identity = {key: item.get(key) for key in keys}
            if identity in seen:
                yield (*place, index), f"Duplicate value: {json.dumps(identity, separators=(',', ':'))}"
            seen.append(identity)


def _kinds(schema: Schema) -> list[str]:
    if schema.get("x-kubernetes-int-or-string"):
        return ["integer", "string"]
    return [schema["type"]] if "type" in schema else []


def _limits(value: Any, schema: Schema, field: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"Unsupported value: {_shown(value)}: supported values: {', '.join(map(_shown, schema['enum']))}"
    if isinstance(value, str):
        yield from _text_limits(value, schema, field)
    elif isinstance(value, list):
        yield from _list_limits(value, schema, field)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_limits(value, schema, field)


def _text_limits(value: str, schema: Schema, field: str) -> Iterator[str]:
    """The first mistake only: who corrects the length has another text."""
    if len(value) > schema.get("maxLength", len(value)):
        yield f"Too long: may not be more than {schema['maxLength']} bytes"
    elif len(value) < schema.get("minLength", 0):
        yield f"Invalid value: {_shown(value)}: {field} in body should be at least {schema['minLength']} chars long"
    elif "pattern" in schema and not _matches(schema["pattern"], value):
        yield f"Invalid value: {_shown(value)}: {field} in body should match '{schema['pattern']}'"


def _list_limits(value: list[Any], schema: Schema, field: str) -> Iterator[str]:
    count = len(value)
    if count > schema.get("maxItems", count):
        yield f"Too many: {count}: must have at most {schema['maxItems']} items"
    if count < schema.get("minItems", 0):
        yield f"Invalid value: {count}: {field} in body should have at least {schema['minItems']} items"


def _number_limits(value: float, schema: Schema, field: str) -> Iterator[str]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and (value < least or (value == least and schema.get("exclusiveMinimum"))):
        word = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield f"Invalid value: {_shown(value)}: {field} in body should be {word} {least}"
    if most is not None and value > most:
        yield f"Invalid value: {_shown(value)}: {field} in body should be less than or equal to {most}"


def _matches(pattern: str, value: str) -> bool:
    """Search as Go does: linear time, and ``$`` is the very end."""
    return re2.search(pattern, value) is not None


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    return next(kind for kind, fits in _TYPES.items() if fits(value))


def _shown(value: Any) -> str:
    """Show a value as JSON, without the credentials that a URI may hold."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"(://)[^/@\s]*@", r"\1…@", text)


def _guess(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
