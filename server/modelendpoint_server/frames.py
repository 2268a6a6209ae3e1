"""What a model server sends to its endpoint's monitor, as bytes and back. No sockets here.

::

    frame = three lengths (4 bytes each, big-endian), then a head (JSON), the request's body and the answer's body

A connection begins with an introduction, a frame without bodies; every frame after it is one exchange, or figures of the
server. The monitor answers now and then with the number of exchanges (4 bytes, big-endian) that it has taken since it last
did.
"""

import dataclasses
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from modelendpoint_server.errors import InvalidFrame
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.report import signature_as_json
from modelendpoint_server.signature import Signature, TensorSpec

MOST_BYTES = 32 * 2**20
"""A longer frame is none of ours: what is larger finds no room in a server's queue."""
_VERSION = 1
_LENGTHS = struct.Struct(">III")
_COUNT = struct.Struct(">I")
_FIGURES = b"figures "
"""How the head of such a frame begins; that of an exchange is an object of JSON."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Introduction:
    """Who sends, and what is needed to read the bodies."""

    endpoint: str
    revision: str
    variant: str
    sha256: str
    signature: Signature
    limits: Limits

    def as_bytes(self) -> bytes:
        """Write the frame."""
        head = orjson.dumps(
            {
                "version": _VERSION,
                "endpoint": self.endpoint,
                "revision": self.revision,
                "variant": self.variant,
                "sha256": self.sha256,
                "signature": {**signature_as_json(self.signature), "columns": self.signature.columns},
                "limits": dataclasses.asdict(self.limits),
            }
        )
        return _LENGTHS.pack(len(head), 0, 0) + head

    @classmethod
    def from_frame(cls, frame: "Frame") -> "Introduction":
        """Read the frame; raise ``InvalidFrame``."""
        try:
            told = orjson.loads(frame.head)
            if told["version"] != _VERSION:
                raise InvalidFrame(f"Version {told['version']} is not known here.")
            signature = told["signature"]
            return cls(
                endpoint=told["endpoint"],
                revision=told["revision"],
                variant=told["variant"],
                sha256=told["sha256"],
                signature=Signature(
                    tuple(map(_spec, signature["inputs"])),
                    tuple(map(_spec, signature["outputs"])),
                    tuple(signature["columns"]),
                ),
                limits=Limits(**told["limits"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidFrame(f"No introduction: {error!r}.") from error


class Figures(NamedTuple):
    """What a server has counted since it last told."""

    sampled: int
    """Requests that belong to the sample."""
    dropped: int
    """Those of them that will never be sent."""

    def as_bytes(self) -> bytes:
        """Write the frame."""
        head = _FIGURES + orjson.dumps([self.sampled, self.dropped])
        return _LENGTHS.pack(len(head), 0, 0) + head

    @classmethod
    def from_frame(cls, frame: "Frame") -> "Figures | None":
        """Read the frame; ``None`` when it is one of another kind."""
        if not frame.head.startswith(_FIGURES):
            return None
        try:
            sampled, dropped = orjson.loads(frame.head.removeprefix(_FIGURES))
            return cls(int(sampled), int(dropped))
        except (ValueError, TypeError) as error:
            raise InvalidFrame(f"No figures: {error!r}.") from error


class Exchange(NamedTuple):
    """A request and its answer, as they were on the wire."""

    request_id: str
    time: float
    """When it was answered, in seconds since 1970."""
    protocol: str
    status: int
    request: bytes
    answer: bytes
    content_type: str = ""
    parameters: Mapping[str, str] | None = None
    header_length: str | None = None
    answer_type: str = ""
    answer_header_length: int | None = None

    @property
    def size(self) -> int:
        """About how many bytes of memory it holds."""
        return len(self.request) + len(self.answer) + 1024

    def as_parts(self) -> tuple[bytes, bytes, bytes]:
        """Write the frame, in parts so that no body is copied."""
        head = orjson.dumps(
            {
                "id": self.request_id,
                "time": self.time,
                "protocol": self.protocol,
                "status": self.status,
                "contentType": self.content_type,
                "parameters": dict(self.parameters or {}),
                "headerLength": self.header_length,
                "answerType": self.answer_type,
                "answerHeaderLength": self.answer_header_length,
            }
        )
        lengths = _LENGTHS.pack(len(head), len(self.request), len(self.answer))
        return lengths + head, self.request, self.answer

    @classmethod
    def from_frame(cls, frame: "Frame") -> "Exchange":
        """Read the frame; raise ``InvalidFrame``."""
        try:
            head = orjson.loads(frame.head)
            return cls(
                request_id=str(head["id"]),
                time=float(head["time"]),
                protocol=str(head["protocol"]),
                status=int(head["status"]),
                request=frame.request,
                answer=frame.answer,
                content_type=head["contentType"],
                parameters=head["parameters"],
                header_length=head["headerLength"],
                answer_type=head["answerType"],
                answer_header_length=head["answerHeaderLength"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidFrame(f"No exchange: {error!r}.") from error


class Frame(NamedTuple):
    """A frame before its head is read."""

    head: bytes
    request: bytes
    answer: bytes


def take_frame(buffer: bytearray) -> Frame | None:
    """Take a whole frame from the beginning of what was received; ``None`` while it is not all there."""
    if len(buffer) < _LENGTHS.size:
        return None
    head, request, answer = _LENGTHS.unpack_from(buffer)
    end = _LENGTHS.size + head + request + answer
    if end > MOST_BYTES:
        raise InvalidFrame(f"A frame of {end} bytes is too long.")
    if len(buffer) < end:
        return None
    first, second = _LENGTHS.size + head, _LENGTHS.size + head + request
    frame = Frame(
        bytes(buffer[_LENGTHS.size : first]),
        bytes(buffer[first:second]),
        bytes(buffer[second:end]),
    )
    del buffer[:end]
    return frame


def write_count(taken: int) -> bytes:
    """Write how many exchanges the monitor has taken."""
    return _COUNT.pack(taken)


def take_counts(buffer: bytearray) -> int:
    """Take all whole counts from what was received, and add them up."""
    whole = len(buffer) // _COUNT.size * _COUNT.size
    total = sum(int(count) for (count,) in _COUNT.iter_unpack(bytes(buffer[:whole])))
    del buffer[:whole]
    return total


def _spec(told: Mapping[str, Any]) -> TensorSpec:
    dimensions = tuple(None if size < 0 else int(size) for size in told["shape"])
    return TensorSpec(told["name"], told["datatype"], dimensions, told.get("kind", "tensor"))
