"""The few facts of an ONNX file that must be known before ONNX Runtime sees it, read from its protobuf wire format.

The file is not trusted: every length is checked, depth and number of messages are bounded, and weights are stepped over
without being read. It walks all messages that may hold a tensor, so that no reference to another file is overlooked.
"""

import dataclasses
import mmap
from collections.abc import Iterator
from pathlib import Path

from modelendpoint_server.errors import ModelInvalid

_DEEPEST = 100
_MOST_MESSAGES = 20_000_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Numbers of those fields of onnx.proto that lead to a tensor; by message, to the message that the field holds.
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 8: "Opset", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}


@dataclasses.dataclass(frozen=True)
class ExternalTensor:
    """Where a tensor's values are, outside the model's file."""

    location: str
    offset: str
    length: str


@dataclasses.dataclass(frozen=True)
class OnnxFacts:
    """What the file says about itself."""

    opset: int | None
    """Version of the default operator set."""
    external: tuple[ExternalTensor, ...]


def read_onnx(path: Path) -> OnnxFacts:
    """Read the facts; raise ``ModelInvalid`` for a file that is no ONNX model."""
    with open(path, "rb") as file:
        if not path.stat().st_size:
            raise ModelInvalid("The model's file is empty. Upload it anew.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _Reader(data)
            try:
                reader.walk("Model", 0, len(data), depth=0)
            except _Malformed as error:
                raise ModelInvalid(f"The model's file is no ONNX model ({error}). Upload it anew.") from error
            return OnnxFacts(reader.opset, tuple(reader.external))


class _Malformed(Exception):
    """The bytes are no protobuf message."""


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._messages = 0
        self.opset: int | None = None
        self.external: list[ExternalTensor] = []

    def walk(self, message: str, start: int, end: int, *, depth: int) -> None:
        """Visit a message and everything in it that may hold a tensor."""
        self._messages += 1
        if depth > _DEEPEST or self._messages > _MOST_MESSAGES:
            raise _Malformed("it is nested too deeply or has too many parts")
        children = _FIELDS[message]
        entries: list[tuple[int, int]] = []
        for number, kind, low, high in self._fields(start, end):
            child = children.get(number) if kind == _BYTES else None
            if child == "Entry":
                entries.append((low, high))
            elif child == "Opset":
                self._take_opset(low, high)
            elif child is not None:
                self.walk(child, low, high, depth=depth + 1)
        if entries:
            self._take_external(entries)

    def _fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield number, wire type and the range of the value of each field."""
        position = start
        while position < end:
            key, position = self._varint(position, end)
            number, kind = key >> 3, key & 7
            low = position
            if kind == _VARINT:
                _, position = self._varint(position, end)
            elif kind == _BYTES:
                length, low = self._varint(position, end)
                position = low + length
            elif kind in (_FIXED64, _FIXED32):
                position += 8 if kind == _FIXED64 else 4
            else:
                raise _Malformed(f"wire type {kind}")
            if position > end or number == 0:
                raise _Malformed("a field ends behind its message")
            yield number, kind, low, position

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if position >= end:
                raise _Malformed("it ends too early")
            byte = self._data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value, position
        raise _Malformed("a number is too long")

    def _take_opset(self, start: int, end: int) -> None:
        domain, version = b"", None
        for number, kind, low, high in self._fields(start, end):
            if number == 1 and kind == _BYTES:
                domain = self._data[low:high]
            elif number == 2 and kind == _VARINT:
                version, _ = self._varint(low, high)
        if domain in (b"", b"ai.onnx"):
            self.opset = version

    def _take_external(self, entries: list[tuple[int, int]]) -> None:
        """Note each location that a tensor names: a reader may take the first or the last of several."""
        values: dict[str, list[str]] = {"location": [], "offset": [], "length": []}
        for start, end in entries:
            fields = {number: self._data[low:high] for number, kind, low, high in self._fields(start, end)}
            key = fields.get(1, b"").decode("utf-8", "replace")
            values.setdefault(key, []).append(fields.get(2, b"").decode("utf-8", "surrogateescape"))
        for location in values["location"] or [""]:
            self.external.append(
                ExternalTensor(location, (values["offset"] or ["0"])[-1], (values["length"] or [""])[-1])
            )
