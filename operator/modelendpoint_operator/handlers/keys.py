"""Which object needs a pass when something has changed: the object itself, or the parent that its labels name. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from modelendpoint_operator import names


class Key(NamedTuple):
    """An object that may need a pass."""

    kind: str
    namespace: str
    name: str


PARENTS = (
    (names.LABEL_ENDPOINT, names.KIND),
    (names.LABEL_BATCH, names.BATCH_KIND),
    (names.LABEL_SCHEDULE, names.BATCH_KIND),
)
"""Labels of children that name their parent, and the parent's kind."""


def parent_of(metadata: Mapping[str, Any]) -> Key | None:
    """Name the object that a child belongs to."""
    labels = metadata.get("labels", {})
    found = (Key(kind, metadata["namespace"], labels[label]) for label, kind in PARENTS if labels.get(label))
    return next(found, None)
