"""One line for each request, on demand: who waited how long for what. Never a payload, a query or a credential."""

import logging
import re
from collections.abc import Mapping
from typing import Any

_LOG = logging.getLogger("modelendpoint_server.access")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


class AccessLog:
    """Writes the lines."""

    def __init__(self, *, is_on: bool) -> None:
        self.is_on = is_on

    def write(self, environ: Mapping[str, Any], *, status: int, seconds: float) -> None:
        """Write one line."""
        line = {
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("PATH_INFO"),
            "status": status,
            "milliseconds": round(seconds * 1000, 3),
            "request_bytes": environ.get("CONTENT_LENGTH"),
            **request_context(environ),
        }
        _LOG.info("Request", extra=line)


def request_context(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return what ties log lines of one request together: its id and its W3C trace."""
    context = {}
    if request_id := environ.get("HTTP_X_REQUEST_ID"):
        context["request_id"] = request_id[:256]
    if match := _TRACEPARENT.fullmatch(environ.get("HTTP_TRACEPARENT", "")):
        context["trace_id"], context["parent_id"] = match.group(1), match.group(2)
    return context
