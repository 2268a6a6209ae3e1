"""The ways to ask for a prediction, each a pair of functions between bytes and arrays. No Flask here.

Both ways into the server, Flask's routes and the fast path in front of them, answer through these.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from modelendpoint_server.errors import NotAcceptable, UnsupportedMediaType
from modelendpoint_server.formats import csv_rows, open_inference, tabular_json
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.inference import Call, Result
from modelendpoint_server.signature import Signature

JSON = "application/json"
CSV = "text/csv"
BINARY = "application/octet-stream"
READ_AS_JSON = ("", JSON, "application/x-www-form-urlencoded")
"""Content types of JSON bodies: also what curl says when it is told nothing."""


class Head(NamedTuple):
    """What the headers of a request say about its body and the wanted answer."""

    content_type: str = JSON
    parameters: Mapping[str, str] = MappingProxyType({})
    """Parameters of the content type."""
    accept: str = ""
    header_length: str | None = None
    """Length of the JSON in front of raw tensors."""


class Answer(NamedTuple):
    """A successful answer."""

    body: bytes
    content_type: str = JSON
    header_length: int | None = None
    """Length of the JSON in front of raw tensors."""


class WireProtocol(Protocol):
    """One way to ask."""

    name: str

    def decode(self, body: bytes, head: Head, signature: Signature, limits: Limits) -> Call:
        """Turn a request into a call."""

    def encode(self, result: Result, call: Call, head: Head, signature: Signature) -> Answer:
        """Turn a result into an answer."""

    def decode_answer(self, answer: Answer, call: Call, signature: Signature) -> dict[str, Any]:
        """Read the outputs of an answer of our own: arrays; lists for those that are sequences and maps."""


class Rows:
    """Rows as JSON or CSV, by content type: V1, SageMaker, MLflow, Vertex AI and the plain ``/predict``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def decode(self, body: bytes, head: Head, signature: Signature, limits: Limits) -> Call:
        """Decode by content type."""
        if head.content_type in READ_AS_JSON:
            return tabular_json.decode(body, signature, limits)
        if head.content_type == CSV:
            header = {"present": True, "absent": False}.get(head.parameters.get("header", ""))
            return csv_rows.decode(body, signature, limits, header=header)
        raise UnsupportedMediaType(
            f"The content type {head.content_type} is not read here; send {JSON} or {CSV}.", field="content-type"
        )

    def encode(self, result: Result, call: Call, head: Head, signature: Signature) -> Answer:
        """Encode as JSON unless only CSV is wanted."""
        if not head.accept or _accepts(head.accept, JSON):
            return Answer(tabular_json.encode(result, signature))
        if _accepts(head.accept, CSV):
            header = "header=absent" not in head.accept.replace(" ", "").lower()
            kind = f"{CSV}; charset=utf-8; header={'present' if header else 'absent'}"
            return Answer(csv_rows.encode(result, header=header), kind)
        raise NotAcceptable(f"Only {JSON} and {CSV} are written; Accept asks for {head.accept}.", field="accept")

    def decode_answer(self, answer: Answer, call: Call, signature: Signature) -> dict[str, Any]:
        """Decode by content type."""
        names = call.outputs or signature.output_names
        if answer.content_type.startswith(CSV):
            header = not answer.content_type.endswith("header=absent")
            return csv_rows.decode_answer(answer.body, names, signature, header=header)
        return tabular_json.decode_answer(answer.body, names, signature)


class OpenInference:
    """The Open Inference Protocol (V2), as JSON or with raw tensors behind it."""

    def __init__(self, name: str, *, model: str, version: str) -> None:
        self.name = name
        self._model = model
        self._version = version

    def decode(self, body: bytes, head: Head, signature: Signature, limits: Limits) -> Call:
        """Decode JSON, and raw tensors where a header announces them."""
        if head.content_type not in READ_AS_JSON and head.header_length is None:
            raise UnsupportedMediaType(
                f"The content type {head.content_type} is not read here; send {JSON}, or raw tensors with the header"
                " Inference-Header-Content-Length.",
                field="content-type",
            )
        return open_inference.decode(body, signature, limits, header_length=head.header_length)

    def encode(self, result: Result, call: Call, head: Head, signature: Signature) -> Answer:
        """Encode as JSON, with raw tensors behind it where they were asked for."""
        body, length = open_inference.encode(result, call, signature, name=self._model, version=self._version)
        return Answer(body, JSON if length is None else BINARY, length)

    def decode_answer(self, answer: Answer, call: Call, signature: Signature) -> dict[str, Any]:
        """Decode JSON, and raw tensors behind it."""
        return open_inference.decode_answer(answer.body, signature, header_length=answer.header_length)


def _accepts(accept: str, content_type: str) -> bool:
    """Tell whether an Accept header lists the type; only types that are refused outright (q=0) do not count."""
    wanted = (content_type, content_type.split("/")[0] + "/*", "*/*")
    for part in accept.lower().split(","):
        name, *parameters = [piece.strip() for piece in part.split(";")]
        if name in wanted and not any(piece in ("q=0", "q=0.0") for piece in parameters):
            return True
    return False
