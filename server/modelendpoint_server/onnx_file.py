"""The few facts of an ONNX file that ONNX Runtime does not tell: its opset. Reads the protobuf wire format, bounded.

No model is interpreted here, and the file is not trusted: anything odd is simply "not known".
"""

from pathlib import Path
from typing import BinaryIO

_OPSET_IMPORT = 8
"""Number of the field ``opset_import`` in ONNX's ModelProto; an OperatorSetIdProto has domain = 1, version = 2."""


def read_opset(path: Path) -> int | None:
    """Return the version of the default operator set; ``None`` when the file does not tell."""
    try:
        with open(path, "rb") as file:
            return _scan(file)
    except (OSError, EOFError, ValueError):
        return None


def _scan(file: BinaryIO) -> int | None:
    while (key := _varint(file, at_end=True)) is not None:
        number, kind = key >> 3, key & 7
        if kind == 2:
            length = _varint(file) or 0
            if number == _OPSET_IMPORT:
                version = _default_opset(file.read(min(length, 1024)))
                if version is not None:
                    return version
            else:
                file.seek(length, 1)
        elif kind == 0:
            _varint(file)
        elif kind in (1, 5):
            file.seek(8 if kind == 1 else 4, 1)
        else:
            raise ValueError(kind)
    return None


def _default_opset(entry: bytes) -> int | None:
    domain, version, position = b"", None, 0
    while position < len(entry):
        key, position = entry[position], position + 1
        value, position = _varint_in(entry, position)
        if key == 0x0A:
            domain, position = entry[position : position + value], position + value
        elif key == 0x10:
            version = value
    return version if domain in (b"", b"ai.onnx") else None


def _varint_in(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise EOFError
        value |= (data[position] & 0x7F) << shift
        position += 1
        if not data[position - 1] & 0x80:
            break
    return value, position


def _varint(file: BinaryIO, *, at_end: bool = False) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            if at_end and shift == 0:
                return None
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return value
    raise ValueError("varint")
