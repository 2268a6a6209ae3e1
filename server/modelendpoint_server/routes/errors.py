"""The one table from exceptions to HTTP status codes, and the one form of an error's body."""

import logging

import orjson
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from modelendpoint_server import errors

_LOG = logging.getLogger(__name__)

STATUS: dict[type[errors.RequestError], int] = {
    errors.InvalidRequest: 400,
    errors.UnknownModel: 404,
    errors.NotAcceptable: 406,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.InferenceFailed: 500,
    errors.ModelNotReady: 503,
    errors.Overloaded: 503,
    errors.DeadlineExceeded: 504,
}

_LONGEST_TEXT = 1000
RETRY_AFTER_SECONDS = {errors.ModelNotReady: "5", errors.Overloaded: "1"}


def register_error_handlers(app: Flask) -> None:
    """Answer every exception with JSON."""
    app.register_error_handler(errors.RequestError, _request_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _our_bug)


def _request_error(error: errors.RequestError) -> Response:
    kind = type(error)
    response = _json(STATUS[kind], str(error), kind.__name__, field=error.field)
    if kind in RETRY_AFTER_SECONDS:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS[kind]
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    code = "".join(part for part in error.name.title() if part.isalpha())
    if status == 404:
        return _json(404, "Nothing is at this path. GET / shows the paths of this endpoint.", "NotFound")
    response = _json(status, error.description or error.name, code)
    if allow := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(allow))
        response.data = _body(f"This path takes {', '.join(sorted(allow))}.", code, None)
    return response


def _our_bug(error: Exception) -> Response:
    _LOG.exception("Unexpected error")
    return _json(500, "The server has a bug; its log has the details.", "InternalError")


def _json(status: int, message: str, code: str, *, field: str | None = None) -> Response:
    return Response(_body(message, code, field), status=status, mimetype="application/json")


def _body(message: str, code: str, field: str | None) -> bytes:
    # Names of fields are the client's own text: of any length, and with lone surrogates, which JSON can't.
    body = {"error": _clean(message), "code": code} | ({"field": _clean(field)} if field is not None else {})
    return orjson.dumps(body)


def _clean(text: str) -> str:
    short = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
    return short.encode("utf-8", "replace").decode()
