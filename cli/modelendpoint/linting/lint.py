"""One document against the CRDs of this version of the operator. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from modelendpoint.linting.documents import Document, Finding, Place
from modelendpoint.linting.metadata import find_in_metadata
from modelendpoint.linting.rules import find_broken, find_forbidden
from modelendpoint.linting.structure import Mistake, Schema, as_field, complete, find_invalid, find_unknown
from modelendpoint_operator import names
from modelendpoint_operator.api.batch_crd import BATCH_PREDICTION
from modelendpoint_operator.api.crd import MODEL_ENDPOINT, build_schema

SCHEMAS: Mapping[str, Schema] = {
    resource.kind: build_schema(resource) for resource in (MODEL_ENDPOINT, BATCH_PREDICTION)
}
"""Our kinds."""


def is_ours(document: Document, *, is_named: bool) -> bool:
    """Tell whether a document is to be looked at; the others are left to those who know them.

    In a file that was named itself, what says nothing of its kind was meant to be an object.
    """
    value = document.value
    if not isinstance(value, dict) or "kind" not in value or "apiVersion" not in value:
        return is_named
    return value["kind"] in SCHEMAS or str(value["apiVersion"]).startswith(f"{names.GROUP}/")


def lint_document(document: Document) -> list[Finding]:
    """List what the API server would refuse, in the order of the lines."""
    mistakes = [
        *((place, "is there twice; the API server takes the last one") for place in document.twice),
        *_find(document.value),
    ]
    findings = [
        Finding(file=document.file, line=document.line(place), field=as_field(place), message=message)
        for place, message in mistakes
    ]
    return sorted(findings, key=lambda finding: finding.line)


def lint_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """List what the API server would refuse to change in an object, each with its field."""
    schema = SCHEMAS.get(after["kind"])
    if schema is None:
        return []
    was, wanted = (complete({"spec": body["spec"]}, schema) for body in (before, after))
    return [f"{as_field(place)}: {message}" for place, message in find_forbidden(wanted, was, schema)]


def _find(value: Any) -> Iterator[Mistake]:
    if not isinstance(value, dict):
        yield (), "is no Kubernetes object: an object with apiVersion, kind, metadata and spec is expected"
        return
    missing = [name for name in ("apiVersion", "kind") if not value.get(name)]
    if missing:
        yield (missing[0],), "Required value"
        return
    kind, version = value["kind"], value["apiVersion"]
    if version != names.API_VERSION or kind not in SCHEMAS:
        known = ", ".join(f"{known} in {names.API_VERSION}" for known in SCHEMAS)
        yield ("kind",), f'no matches for kind "{kind}" in version "{version}"; there is {known}'
        return
    yield from find_in_metadata(value)
    yield from _find_in_object(value, SCHEMAS[kind])


def _find_in_object(value: dict[str, Any], schema: Schema) -> Iterator[Mistake]:
    """Look at everything but the metadata; a status is dropped, as the API server does."""
    given = {name: part for name, part in value.items() if name not in ("metadata", "status")}
    completed = complete(given, schema) | {"metadata": value.get("metadata")}
    mistakes = [*find_unknown(given, schema), *find_invalid(complete(given, schema), schema)]
    yield from mistakes
    broken: list[Place] = [place for place, _ in mistakes]
    if not isinstance(value.get("metadata"), dict) or not isinstance(value["metadata"].get("name"), str):
        broken.append(("metadata",))
    yield from find_broken(completed, schema, broken)
