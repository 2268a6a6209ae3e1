"""The columns that ``kubectl get`` shows, filled in from an object: the CRD names them, and nobody else does. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from modelendpoint_operator.api.crd import CustomResource
from modelendpoint_operator.batch.progress import duration_text

_STEP = re.compile(r'\.([A-Za-z0-9]+)(?:\[\?\(@\.([A-Za-z]+)=="([^"]*)"\)\])?')
"""A field, and which item of it is meant: all of JSONPath that our columns use."""


def headings(resource: CustomResource) -> list[str]:
    """Name the columns as kubectl does."""
    return ["NAME", *(title.upper() for title, *_ in resource.columns)]


def cells(resource: CustomResource, body: Mapping[str, Any], *, now: datetime) -> list[str]:
    """Fill in the columns for one object; of times kubectl shows how long ago they were."""
    found = ((kind, _find(body, path)) for _, kind, path, _ in resource.columns)
    return [str(body["metadata"]["name"]), *(_shown(kind, value, now=now) for kind, value in found)]


def _find(value: Any, path: str) -> Any:
    for name, key, wanted in _STEP.findall(path):
        value = value.get(name) if isinstance(value, Mapping) else None
        if key:
            value = _item(value, key, wanted)
    return value


def _item(value: Any, key: str, wanted: str) -> Any:
    items = value if isinstance(value, Sequence) else ()
    return next((item for item in items if item.get(key) == wanted), None)


def _shown(kind: str, value: Any, *, now: datetime) -> str:
    if value is None:
        return ""
    return duration_text(now - datetime.fromisoformat(value)) if kind == "date" else str(value)
