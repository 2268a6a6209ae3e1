"""The short way for plain predictions, in front of Flask's dispatch, which costs ten times what the model does.

It answers byte for byte what the Flask route answers, because both go through ``service``. Whatever is not plain, and
every error, is handed to Flask, together with the bytes that were read already and the error that was met.
"""

import io
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from modelendpoint_server.access_log import AccessLog
from modelendpoint_server.protocols import CSV, JSON, Head, WireProtocol
from modelendpoint_server.service import LARGE_BODY, Service

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

ARRIVED = "modelendpoint.arrived"
"""Key of the environ: when the request arrived, by ``time.perf_counter``."""
FAILURE = "modelendpoint.failure"
"""Key of the environ: the exception that the fast path met; the Flask route raises it instead of trying again."""

_HEADS = {
    JSON: Head(),
    "application/json; charset=utf-8": Head(),
    CSV: Head(content_type=CSV),
}
_UNUSUAL = (
    "HTTP_CONTENT_ENCODING",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_EXPECT",
    "HTTP_INFERENCE_HEADER_CONTENT_LENGTH",
)
_ANY = (None, "*/*", JSON)


class FastPath:
    """Answers plain predictions itself, and passes everything else on."""

    def __init__(self, app: "WSGIApplication", service: Service, access_log: AccessLog) -> None:
        self._app = app
        self._service = service
        self._access_log = access_log
        self._protocols = service.paths()
        self._most = min(service.settings.max_body_bytes, LARGE_BODY)

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        protocol = self._protocols.get(environ["PATH_INFO"])
        if protocol is None:
            return self._app(environ, start_response)
        arrived = time.perf_counter()
        head, length = _HEADS.get(environ.get("CONTENT_TYPE", "")), environ.get("CONTENT_LENGTH", "")
        if head is None or not self._is_plain(environ, length):
            return self._app(environ, start_response)
        body = environ["wsgi.input"].read(int(length))
        try:
            answer = self._service.answer(body, protocol, head)
        except Exception as error:  # noqa: BLE001  (Flask's route raises it again)
            environ.update({"wsgi.input": io.BytesIO(body), ARRIVED: arrived, FAILURE: error})
            return self._app(environ, start_response)
        content, headers = self._service.finish(answer, environ)
        start_response("200 OK", headers + self._service.identity(environ))
        self._count(environ, protocol, arrived)
        self._service.capture.take(environ, protocol.name, head=head, request=body, answer=answer)
        return [content]

    def _is_plain(self, environ: dict[str, Any], length: str) -> bool:
        return (
            environ["REQUEST_METHOD"] == "POST"
            and length.isdecimal()
            and int(length) <= self._most
            and environ.get("HTTP_ACCEPT") in _ANY
            and environ.keys().isdisjoint(_UNUSUAL)
        )

    def _count(self, environ: dict[str, Any], protocol: WireProtocol, arrived: float) -> None:
        seconds = time.perf_counter() - arrived
        self._service.metrics.count_request(protocol.name, 200, seconds)
        if self._access_log.is_on:
            self._access_log.write(environ, status=200, seconds=seconds)
