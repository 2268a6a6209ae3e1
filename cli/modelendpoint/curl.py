"""Ready ``curl`` lines for an endpoint, made from its own OpenAPI document. Pure."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST = 2000
"""Bodies with more characters are not shown: nobody types a picture."""
_PROTOCOLS = {
    "/predict": "rows as JSON",
    "/v1/models/": "KServe V1, TensorFlow Serving",
    "/v2/models/": "Open Inference Protocol (KServe V2, Triton)",
    "/invocations": "SageMaker, MLflow",
}


@dataclass(frozen=True)
class CurlLine:
    """One request, and which protocol it speaks."""

    protocol: str
    command: str


def curl_lines(openapi: Mapping[str, Any], url: str) -> list[CurlLine]:
    """Write one line for each way to ask for a prediction."""
    lines: list[CurlLine] = []
    for path, operations in openapi["paths"].items():
        content = operations.get("post", {}).get("requestBody", {}).get("content", {})
        example = content.get("application/json", {}).get("example")
        protocol = next((name for start, name in _PROTOCOLS.items() if path.startswith(start)), None)
        if example is None or protocol is None:
            continue
        lines.append(_line(protocol, url + path, "application/json", json.dumps(example)))
        if path == "/predict" and "text/csv" in content and (csv := _as_csv(example)) is not None:
            lines.append(_line("rows as CSV", url + path, "text/csv", csv))
    return lines


def _line(protocol: str, url: str, content_type: str, body: str) -> CurlLine:
    data = shlex.quote(body) if len(body) <= _LONGEST else "@FILE"
    return CurlLine(protocol, f"curl {url} -H 'Content-Type: {content_type}' -d {data}")


def _as_csv(example: Mapping[str, Any]) -> str | None:
    """Write the first of the rows as CSV; ``None`` when a row is no line of numbers."""
    row = (example.get("instances") or [None])[0]
    cells = list(row.values()) if isinstance(row, dict) else row
    if not isinstance(cells, list) or not all(isinstance(cell, int | float) for cell in cells):
        return None
    return ",".join(json.dumps(cell) for cell in cells)
