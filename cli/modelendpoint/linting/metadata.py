"""What the API server asks of the metadata of every object, whatever its kind. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from modelendpoint.linting.structure import Mistake, find_invalid, find_unknown

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SCHEMA = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("name", "generateName", "namespace", "uid", "resourceVersion")},
        "labels": _TEXTS,
        "annotations": _TEXTS,
        "finalizers": {"type": "array", "items": {"type": "string"}},
        "ownerReferences": {"type": "array", "items": {"type": "object", "additionalProperties": {}}},
        # The API server writes these; they are in what `kubectl get -o yaml` prints.
        "creationTimestamp": {},
        "deletionTimestamp": {},
        "deletionGracePeriodSeconds": {},
        "generation": {},
        "selfLink": {},
        "managedFields": {"type": "array"},
    },
}
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    " end with an alphanumeric character"
)
_LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character"
)
_LONGEST_NAME, _LONGEST_LABEL = 253, 63


def find_in_metadata(document: dict[str, Any]) -> Iterator[Mistake]:
    """Find what is wrong with an object's metadata."""
    metadata = document.get("metadata")
    if metadata is None:
        yield ("metadata",), "Required value"
        return
    yield from find_unknown(metadata, SCHEMA, ("metadata",))
    yield from find_invalid(metadata, SCHEMA, ("metadata",))
    if not isinstance(metadata, dict):
        return
    name = metadata.get("name")
    if not name and not metadata.get("generateName"):
        yield ("metadata", "name"), "Required value: name or generateName is required"
    if isinstance(name, str) and name and not (_SUBDOMAIN.fullmatch(name) and len(name) <= _LONGEST_NAME):
        yield ("metadata", "name"), f'Invalid value: "{name}": {_SUBDOMAIN_RULE}'
    labels = metadata.get("labels")
    for key, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, str) and not (_LABEL_VALUE.fullmatch(value) and len(value) <= _LONGEST_LABEL):
            yield ("metadata", "labels", key), f'Invalid value: "{value}": {_LABEL_RULE}'
