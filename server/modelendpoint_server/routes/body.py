"""A request's body, unpacked and within its limit."""

import contextlib
import zlib

from flask import Request

from modelendpoint_server.admission import LargeBodies
from modelendpoint_server.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from modelendpoint_server.service import LARGE_BODY

_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""How zlib is told which wrapping to expect."""


def read_body(request: Request, *, most: int, large: LargeBodies) -> bytes:
    """Read the whole body; raise ``BodyTooLarge`` as soon as it is clear that it is."""
    length = request.content_length
    if length is not None and length > most:
        raise _too_large(most)
    with large.reading() if length is None or length > LARGE_BODY else contextlib.nullcontext():
        body = request.stream.read(most + 1)
    if len(body) > most:
        raise _too_large(most)
    if length is not None and len(body) < length:
        raise InvalidRequest(f"The body ended after {len(body)} of {length} bytes.")
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    return body if encoding in ("identity", "") else _unpack(body, encoding, most)


def _unpack(body: bytes, encoding: str, most: int) -> bytes:
    if encoding not in _WINDOW:
        raise UnsupportedMediaType(
            f"The content encoding {encoding} is not read; send gzip, deflate or none.", field="content-encoding"
        )
    unpacked = bytearray()
    while body:
        stream = zlib.decompressobj(_WINDOW[encoding])
        try:
            unpacked += stream.decompress(body, most + 1 - len(unpacked))
        except zlib.error as error:
            raise InvalidRequest(f"The body is not {encoding}: {error}.", field="content-encoding") from error
        if len(unpacked) > most:
            raise _too_large(most)
        if not stream.eof:
            raise InvalidRequest(f"The {encoding} body ends too early.", field="content-encoding")
        body = stream.unused_data
    return bytes(unpacked)


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {most} bytes. Send the rows in several requests.")
