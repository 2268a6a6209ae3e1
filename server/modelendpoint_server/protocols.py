"""The ways to ask for a prediction, each a pair of functions from bytes to bytes. No Flask here.

Both ways into the server, Flask's routes and the fast path in front of them, answer through these.
"""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from modelendpoint_server.errors import NotAcceptable, UnsupportedMediaType
from modelendpoint_server.formats import csv_rows, tabular_json
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.inference import Call, Result
from modelendpoint_server.signature import Signature

JSON = "application/json"
CSV = "text/csv"


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """What the headers of a request say about its body and the wanted answer, in lower case."""

    content_type: str = JSON
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    accept: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer."""

    body: bytes
    content_type: str = JSON


class WireProtocol(Protocol):
    """One way to ask."""

    name: str

    def decode(self, body: bytes, head: Head, signature: Signature, limits: Limits) -> Call:
        """Turn a request into a call."""

    def encode(self, result: Result, call: Call, head: Head, signature: Signature) -> Answer:
        """Turn a result into an answer."""


class Rows:
    """Rows as JSON or CSV, by content type: V1, SageMaker, MLflow, Vertex AI and the plain ``/predict``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def decode(self, body: bytes, head: Head, signature: Signature, limits: Limits) -> Call:
        """Decode by content type."""
        if head.content_type == CSV:
            header = {"present": True, "absent": False}.get(head.parameters.get("header", ""))
            return csv_rows.decode(body, signature, limits, header=header)
        if head.content_type in ("", JSON):
            return tabular_json.decode(body, signature, limits)
        raise UnsupportedMediaType(
            f"The content type {head.content_type} is not read here; send {JSON} or {CSV}.", field="content-type"
        )

    def encode(self, result: Result, call: Call, head: Head, signature: Signature) -> Answer:
        """Encode as JSON unless only CSV is wanted."""
        if _accepts(head.accept, JSON):
            return Answer(tabular_json.encode(result, signature))
        if _accepts(head.accept, CSV):
            return Answer(csv_rows.encode(result).encode(), f"{CSV}; charset=utf-8; header=present")
        raise NotAcceptable(f"Only {JSON} and {CSV} are written; Accept asks for {head.accept}.", field="accept")


def _accepts(accept: str, content_type: str) -> bool:
    """Tell whether an Accept header lists the type; only types that are refused outright (q=0) do not count."""
    if not accept:
        return True
    family = content_type.split("/")[0] + "/*"
    for part in accept.lower().split(","):
        name, _, parameters = part.strip().partition(";")
        if name.strip() in (content_type, family, "*/*") and parameters.replace(" ", "") not in ("q=0", "q=0.0"):
            return True
    return False
