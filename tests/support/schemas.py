"""Values that a part of the CRD accepts, for property tests."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]


def as_json_schema(schema: Schema) -> Schema:
    """Read a part of the CRD as the API server does: strict about fields, a pattern ends where the text ends."""
    plain = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-") and key != "default"}
    if "exclusiveMinimum" in plain:  # in OpenAPI 3.0 it says how the minimum is meant
        plain["exclusiveMinimum"] = plain.pop("minimum")
    if "pattern" in plain:
        plain["pattern"] = plain["pattern"].removesuffix("$") + r"\Z"  # in Python, `$` matches before a line feed, too
    for keyword in ("items", "additionalProperties"):
        if keyword in plain:
            plain[keyword] = as_json_schema(plain[keyword])
    if "properties" in plain:
        plain["properties"] = {name: as_json_schema(part) for name, part in plain["properties"].items()}
        plain["additionalProperties"] = False
    return plain


def valid_values(schema: Schema) -> st.SearchStrategy[Any]:
    """Generate every kind of value that a part of the schema accepts (of the result of ``as_json_schema``)."""
    if "anyOf" in schema:  # a quantity
        return st.integers(schema["minimum"], 10**9) | _texts(schema)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _KINDS[schema["type"]](schema)


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda time: f"{time.isoformat()}Z")
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 100)
    if "pattern" not in schema:
        return st.text(min_size=shortest, max_size=min(longest, 100))
    pattern: str = schema["pattern"]
    return st.from_regex(pattern).filter(lambda text: shortest <= len(text) <= longest)


def _objects(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        return st.dictionaries(st.text(max_size=10), valid_values(schema["additionalProperties"]), max_size=3)
    fields = {name: valid_values(part) for name, part in schema["properties"].items()}
    required = schema.get("required", [])
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


def _floats(schema: Schema) -> st.SearchStrategy[float]:
    least = schema.get("minimum", schema.get("exclusiveMinimum", -1e9))
    return st.floats(least, schema.get("maximum", 1e9), exclude_min="exclusiveMinimum" in schema)


_KINDS: dict[str, Callable[[Schema], st.SearchStrategy[Any]]] = {
    "boolean": lambda _: st.booleans(),
    "number": lambda schema: _floats(schema),
    "integer": lambda schema: st.integers(schema.get("minimum", -1), schema.get("maximum", 2**31)),
    "string": _texts,
    "array": lambda schema: st.lists(
        valid_values(schema["items"]), min_size=schema.get("minItems", 0), max_size=min(5, schema.get("maxItems", 5))
    ),
    "object": _objects,
}
