"""The page at ``/`` and the OpenAPI document."""

import base64
import hashlib
import re
from importlib import resources
from typing import Any

import orjson
from flask import Blueprint, Response

from modelendpoint_server.made_up import count_values, example_csv, example_request, example_v2
from modelendpoint_server.openapi import build_openapi
from modelendpoint_server.service import Service

_MOST_VALUES = 4000
"""Examples with more values are not put on the page: nobody types a picture."""


def document_routes(service: Service) -> Blueprint:
    """Make the routes that explain the endpoint."""
    routes = Blueprint("documents", __name__)
    page = resources.files("modelendpoint_server.routes").joinpath("page.html").read_text("utf-8")
    policy = _policy(page)

    @routes.get("/")
    def show_page() -> Response:
        # "<" would end the script element that holds the data.
        data = orjson.dumps(_facts(service)).replace(b"<", b"\\u003c").decode()
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return Response(page.replace("__FACTS__", data), mimetype="text/html", headers=headers)

    @routes.get("/openapi.json")
    def openapi() -> Response:
        signature = service.lifecycle.predictor().signature
        document = build_openapi(signature, name=service.name, version=service.version)
        return Response(orjson.dumps(document), mimetype="application/json")

    return routes


def _facts(service: Service) -> dict[str, Any]:
    """Collect what the page shows."""
    report = service.lifecycle.report()
    facts: dict[str, Any] = {
        "name": service.name,
        "revision": service.settings.revision,
        "report": report.as_json(),
        "examples": None,
    }
    if report.signature is not None:
        signature = report.signature
        facts["values"] = count_values(signature)
        if facts["values"] <= _MOST_VALUES:
            facts["examples"] = {
                "json": example_request(signature),
                "csv": example_csv(signature),
                "v2": example_v2(signature),
            }
    return facts


def _policy(page: str) -> str:
    """Allow the page's own style and script, known by their hashes, and requests to this endpoint; nothing else."""
    style, script = (_hashes(page, tag) for tag in ("style", "script"))
    return f"default-src 'none'; connect-src 'self'; style-src {style}; script-src {script}; frame-ancestors 'none'"


def _hashes(page: str, tag: str) -> str:
    texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)
