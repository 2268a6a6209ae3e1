"""JSON text to Python values, strictly, and values of any model to JSON text."""

from typing import Any

import numpy as np
import orjson

from modelendpoint_server.errors import InvalidRequest

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def parse_object(body: bytes, *, max_nesting: int) -> dict[str, Any]:
    """Parse a JSON object; raise ``InvalidRequest`` with the place of the first mistake."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise InvalidRequest('The body is JSON, but no object; send an object such as {"instances": [[...]]}.')
    if _may_be_deeper(body, max_nesting) and _is_deeper(document, max_nesting):
        raise InvalidRequest(f"The body is nested deeper than {max_nesting} levels.")
    return document


def _may_be_deeper(body: bytes, most: int) -> bool:
    """Look for opening brackets without closing ones between them, quickly; those in strings count too."""
    return b"(" * (most + 1) in body.translate(None, delete=_NO_BRACKETS).translate(_OPENING)


def _is_deeper(document: Any, most: int) -> bool:
    """Walk the document level by level."""
    level = [document]
    for _ in range(most + 1):
        level = [child for value in level for child in _children(value)]
        if not level:
            return False
    return True


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING = bytes.maketrans(b"[{", b"((")


def dump(document: Any) -> bytes:
    """Write JSON; NaN and infinities become null, as JSON has no word for them."""
    return orjson.dumps(document, option=_OPTIONS, default=_default)


def _default(value: Any) -> Any:
    """Turn what orjson does not know into what it does: arrays of strings or with gaps, NumPy scalars, bytes."""
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype.kind in "OUS" else np.ascontiguousarray(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(type(value).__name__)
