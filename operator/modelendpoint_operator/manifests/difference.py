"""Whether an object in the cluster still is what we want it to be."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from modelendpoint_operator import names


def with_applied_hash(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Mark a manifest with the hash of its content, so that a field which we stop sending is noticed."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:12]
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), names.ANNOTATION_APPLIED_HASH: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def differs(wanted: Any, live: Any) -> bool:
    """Say whether a live object lacks something of the wanted one.

    What is there besides (defaults of the API server, fields of others) is none of our business. A value that the API
    server writes in another way (``1000m`` as ``1``) differs for ever; applying it again then changes nothing.
    """
    if isinstance(wanted, Mapping):
        return not isinstance(live, Mapping) or any(_misses(value, live, key) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            not isinstance(live, list)
            or len(wanted) != len(live)
            or any(differs(ours, theirs) for ours, theirs in zip(wanted, live, strict=True))
        )
    return bool(wanted != live)


def _misses(value: Any, live: Mapping[str, Any], key: str) -> bool:
    if value in ({}, [], None) or (value == "" and key == "value"):
        # The API server drops what is empty.
        return bool(live.get(key))
    return key not in live or differs(value, live[key])
