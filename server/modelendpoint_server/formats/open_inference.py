"""The Open Inference Protocol (V2) over REST, with Triton's binary tensor extension both ways.

https://github.com/kserve/open-inference-protocol and the ``binary_tensor_data`` extension of the Triton server.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import simdjson

from modelendpoint_server.bfloat16 import from_bfloat16, to_bfloat16
from modelendpoint_server.errors import InvalidRequest
from modelendpoint_server.formats import json_body, quick
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.formats.values import read_back, to_tensor
from modelendpoint_server.inference import Call, Result
from modelendpoint_server.signature import Signature, Tensor, TensorSpec

HEADER_LENGTH = "inference-header-content-length"
"""Header that says where the JSON ends and the raw tensors begin."""

_REQUEST_KEYS = frozenset({"id", "inputs", "outputs", "parameters"})
_LARGEST_SHAPE = 2**40
_PLAIN_KEYS = frozenset({"name", "shape", "datatype", "data"})


def decode(body: bytes, signature: Signature, limits: Limits, *, header_length: str | None = None) -> Call:
    """Decode an inference request; raise ``InvalidRequest``."""
    if header_length is None:
        call = _quick(body, signature)
        if call is not None:
            return call
        return _decode(json_body.parse_object(body, max_nesting=limits.max_nesting), _Tail(b""), signature, limits)
    end = _header_end(header_length, body)
    document = json_body.parse_object(body[:end], max_nesting=limits.max_nesting)
    tail = _Tail(memoryview(body)[end:])
    call = _decode(document, tail, signature, limits)
    tail.check_used_up()
    return call


def encode(result: Result, call: Call, signature: Signature, *, name: str, version: str) -> tuple[bytes, int | None]:
    """Write an inference answer; return it and, when raw tensors follow, the length of its JSON part."""
    outputs, tail = [], []
    for output, value in result.outputs.items():
        spec = next(spec for spec in signature.outputs if spec.name == output)
        entry, raw = _output(spec, value, binary=output in call.binary_outputs)
        outputs.append(entry)
        if raw is not None:
            tail.append(raw)
    answer: dict[str, Any] = {"model_name": name, "model_version": version}
    if call.id is not None:
        answer["id"] = call.id
    answer["outputs"] = outputs
    head = json_body.dump(answer)
    return (b"".join([head, *tail]), len(head)) if tail else (head, None)


class _Tail:
    """The raw tensors behind the JSON, taken one after the other."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._position = 0

    def take(self, size: int, name: str) -> memoryview:
        """Take the next bytes."""
        end = self._position + size
        if end > len(self._data):
            raise InvalidRequest(
                f"Input {name!r} has {size} bytes of binary data, but only {len(self._data) - self._position} are left"
                " in the body.",
                field=name,
            )
        piece = self._data[self._position : end]
        self._position = end
        return piece

    def check_used_up(self) -> None:
        """Raise ``InvalidRequest`` when bytes are left that belong to no input."""
        if left := len(self._data) - self._position:
            raise InvalidRequest(f"{left} bytes of binary data at the end of the body belong to no input.")


def decode_answer(body: bytes, signature: Signature, *, header_length: int | None) -> dict[str, Any]:
    """Read what ``encode`` wrote: arrays; lists for outputs that are sequences and maps."""
    end = len(body) if header_length is None else header_length
    tail = _Tail(memoryview(body)[end:])
    specs = {spec.name: spec for spec in signature.outputs}
    return {
        entry["name"]: _answered(entry, specs[entry["name"]], tail) for entry in orjson.loads(body[:end])["outputs"]
    }


def _answered(entry: Mapping[str, Any], spec: TensorSpec, tail: _Tail) -> Any:
    is_tensor = spec.kind == "tensor"
    sent = spec if is_tensor else TensorSpec(spec.name, "BYTES", (None,))
    if "data" in entry:
        tensor = read_back(entry["data"], sent).reshape(entry["shape"])
    else:
        tensor = _from_bytes(tail.take(entry["parameters"]["binary_data_size"], spec.name), entry["shape"], sent)
    return tensor if is_tensor else [orjson.loads(text) for text in tensor]


def _quick(body: bytes, signature: Signature) -> Call | None:
    """Read the usual request: flat numbers, no parameters; ``None`` leaves it to the strict decoder."""
    document = quick.parse(body)
    if document is None:
        return None
    entries = document.get("inputs")
    if not isinstance(entries, simdjson.Array) or len(document) != 1 + ("id" in document):
        return None
    # The list of inputs, and in each of them shape and data: one more means that data has lists in it.
    if body.count(b"[") != 1 + 2 * len(entries):
        return None
    inputs: dict[str, Tensor] = {}
    for entry in entries:
        spec = _quick_spec(entry, signature)
        tensor = _quick_tensor(entry, spec) if spec is not None and spec.name not in inputs else None
        if spec is None or tensor is None:
            return None
        inputs[spec.name] = tensor
    id_ = document.get("id")
    if id_ is not None and not isinstance(id_, str):
        return None
    fits = all(signature.by_name[name].accepts(tensor.shape) for name, tensor in inputs.items())
    return Call(inputs, id=id_, is_checked=fits and len(inputs) == len(signature.inputs))


def _quick_spec(entry: Any, signature: Signature) -> TensorSpec | None:
    if not isinstance(entry, simdjson.Object) or len(entry) != 4 or not _PLAIN_KEYS.issuperset(entry.keys()):
        return None
    name = entry.get("name")
    spec = signature.by_name.get(name) if isinstance(name, str) else None
    return spec if spec is not None and entry.get("datatype") == spec.datatype else None


def _quick_tensor(entry: Any, spec: TensorSpec) -> Tensor | None:
    shape = entry.get("shape")
    if not isinstance(shape, simdjson.Array):
        return None
    sizes = [size for size in shape.as_list() if type(size) is int and size >= 0]
    if len(sizes) != len(shape):
        return None
    return quick.flat(entry.get("data"), sizes, spec)


def _decode(document: Mapping[str, Any], tail: _Tail, signature: Signature, limits: Limits) -> Call:
    for key in document:
        if key not in _REQUEST_KEYS:
            raise InvalidRequest(f"The key {key!r} is not one of the protocol's.", field=key)
    id_ = document.get("id")
    if id_ is not None and not isinstance(id_, str):
        raise InvalidRequest("id must be a string.", field="id")
    parameters = _object(document.get("parameters"), "parameters")
    inputs: dict[str, Tensor] = {}
    for entry in _entries(document.get("inputs"), "inputs"):
        spec = _named(entry, signature)
        if spec.name in inputs:
            raise InvalidRequest(f"Input {spec.name!r} is there twice.", field=spec.name)
        inputs[spec.name] = _input(entry, spec, tail, limits)
    names, binary = _outputs(document.get("outputs"), parameters, signature)
    return Call(inputs, outputs=names, id=id_, binary_outputs=binary)


def _named(entry: Mapping[str, Any], signature: Signature) -> TensorSpec:
    name = entry.get("name")
    if not isinstance(name, str):
        raise InvalidRequest("Each of inputs needs a name.", field="inputs")
    spec = signature.by_name.get(name)
    if spec is None:
        signature.check_names({name: None})
        raise AssertionError("check_names refuses unknown names")
    return spec


def _input(entry: Mapping[str, Any], spec: TensorSpec, tail: _Tail, limits: Limits) -> Tensor:
    if entry.get("datatype") != spec.datatype:
        raise InvalidRequest(
            f"Input {spec.name!r} has datatype {_short(entry.get('datatype'))}; the model takes {spec.datatype}.",
            field=spec.name,
        )
    shape = _shape(entry.get("shape"), spec)
    parameters = _object(entry.get("parameters"), "parameters")
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in entry:
            raise InvalidRequest(f"Input {spec.name!r} has no data.", field=spec.name)
        return _from_json(entry["data"], shape, spec, limits)
    if "data" in entry:
        raise InvalidRequest(f"Input {spec.name!r} has both data and binary_data_size; send one.", field=spec.name)
    if type(size) is not int or size < 0:
        raise InvalidRequest(f"binary_data_size of input {spec.name!r} must be a whole number.", field=spec.name)
    return _from_bytes(tail.take(size, spec.name), shape, spec)


def _shape(shape: Any, spec: TensorSpec) -> list[int]:
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise InvalidRequest(f"shape of input {spec.name!r} must be a list of sizes.", field=spec.name)
    # A size of 0 makes others of any size possible, which neither NumPy nor ONNX Runtime likes.
    if math.prod(size or 1 for size in shape) > _LARGEST_SHAPE:
        raise InvalidRequest(f"shape {_short(shape)} of input {spec.name!r} is too large.", field=spec.name)
    if not spec.accepts(shape):
        raise InvalidRequest(
            f"Input {spec.name!r} has shape {shape}; the model takes {spec.shape} (-1: any size).", field=spec.name
        )
    return shape


def _from_json(data: Any, shape: list[int], spec: TensorSpec, limits: Limits) -> Tensor:
    tensor = to_tensor(data if isinstance(data, list) else [data], spec, null_is_nan=limits.null_is_nan)
    if tensor.ndim > 1 and list(tensor.shape) != shape:
        raise InvalidRequest(
            f"Input {spec.name!r} has data of shape {list(tensor.shape)} but says {shape}.", field=spec.name
        )
    _check_count(tensor.size, shape, spec)
    return tensor.reshape(shape)


def _from_bytes(raw: memoryview, shape: list[int], spec: TensorSpec) -> Tensor:
    if spec.datatype == "BYTES":
        return _strings(raw, shape, spec)
    width = 2 if spec.datatype == "BF16" else spec.dtype.itemsize
    if len(raw) % width:
        raise InvalidRequest(f"Input {spec.name!r} has {len(raw)} bytes, no multiple of {width}.", field=spec.name)
    _check_count(len(raw) // width, shape, spec)
    if spec.datatype == "BF16":
        return from_bfloat16(np.frombuffer(raw, dtype="<u2")).reshape(shape)
    tensor = np.frombuffer(raw, dtype=spec.dtype.newbyteorder("<"))
    if spec.datatype == "BOOL" and np.any(tensor.view(np.uint8) > 1):
        raise InvalidRequest(f"Input {spec.name!r} has bytes other than 0 and 1 as BOOL.", field=spec.name)
    return tensor.reshape(shape)


def _strings(raw: memoryview, shape: list[int], spec: TensorSpec) -> Tensor:
    """Read strings, each behind its length as four bytes."""
    values: list[str] = []
    position = 0
    while position < len(raw):
        if position + 4 > len(raw):
            raise InvalidRequest(f"Input {spec.name!r} ends inside a string's length.", field=spec.name)
        (length,) = struct.unpack_from("<I", raw, position)
        position += 4
        if position + length > len(raw):
            raise InvalidRequest(f"Input {spec.name!r}: string {len(values)} ends behind the data.", field=spec.name)
        try:
            values.append(bytes(raw[position : position + length]).decode("utf-8"))
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"Input {spec.name!r}: string {len(values)} is not UTF-8.", field=spec.name) from error
        position += length
    _check_count(len(values), shape, spec)
    return np.array(values, dtype=object).reshape(shape)


def _check_count(count: int, shape: Sequence[int], spec: TensorSpec) -> None:
    wanted = 1
    for size in shape:
        wanted *= size
    if count != wanted:
        raise InvalidRequest(
            f"Input {spec.name!r} has {count} values; its shape {list(shape)} asks for {wanted}.", field=spec.name
        )


def _outputs(
    entries: Any, parameters: Mapping[str, Any], signature: Signature
) -> tuple[tuple[str, ...] | None, frozenset[str]]:
    """Return the outputs that were asked for, and those of them that shall be raw bytes."""
    default = _flag(parameters, "binary_data_output")
    if entries is None or entries == []:
        return None, frozenset(signature.output_names if default else ())
    names: list[str] = []
    binary: list[str] = []
    for entry in _entries(entries, "outputs"):
        name = entry.get("name")
        if not isinstance(name, str):
            raise InvalidRequest("Each of outputs needs a name.", field="outputs")
        own = _object(entry.get("parameters"), "parameters")
        if "classification" in own:
            raise InvalidRequest("The classification extension is not served; ask for the output itself.", field=name)
        names.append(name)
        if _flag(own, "binary_data") if "binary_data" in own else default:
            binary.append(name)
    signature.check_outputs(names)
    return tuple(dict.fromkeys(names)), frozenset(binary)


def _flag(parameters: Mapping[str, Any], key: str) -> bool:
    value = parameters.get(key, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{key} must be true or false.", field=key)
    return value


def _entries(value: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise InvalidRequest(f"{key} must be a list of objects.", field=key)
    return value


def _object(value: Any, key: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{key} must be an object.", field=key)
    return value


def _header_end(text: str, body: bytes) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 12 or int(text) > len(body):
        raise InvalidRequest(
            f"Inference-Header-Content-Length is {text[:20]!r}, but the body has {len(body)} bytes.",
            field=HEADER_LENGTH,
        )
    return int(text)


def _output(spec: TensorSpec, value: Any, *, binary: bool) -> tuple[dict[str, Any], bytes | None]:
    if not isinstance(value, np.ndarray):
        # A sequence or a map is no tensor of the protocol; each of its entries travels as a string of JSON.
        entries = value if isinstance(value, list) else [value]
        value = np.array([json_body.dump(entry).decode() for entry in entries], dtype=object)
        spec = TensorSpec(spec.name, "BYTES", (len(entries),))
    entry: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": list(value.shape)}
    if not binary:
        return {**entry, "data": value.reshape(-1)}, None
    raw = _to_bytes(value, spec)
    return {**entry, "parameters": {"binary_data_size": len(raw)}}, raw


def _to_bytes(value: Tensor, spec: TensorSpec) -> bytes:
    if spec.datatype == "BF16":
        return to_bfloat16(value).astype("<u2").tobytes()
    if spec.datatype != "BYTES":
        return value.astype(spec.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [text if isinstance(text, bytes) else str(text).encode("utf-8", "replace") for text in value.reshape(-1)]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
