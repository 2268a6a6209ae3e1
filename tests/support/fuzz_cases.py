"""Cases for the fuzz rig: models of every kind, and requests to them that are nearly right. No sending here.

A case is a right request of one of the protocols, changed a few times: a value of its JSON, bytes of its body, its
headers, its path. It is made from one number, always the same way.
"""

import copy
import dataclasses
import gzip
import json
import random
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote_from_bytes

import numpy as np

from modelendpoint_server.made_up import example_csv, example_request, example_v2
from modelendpoint_server.signature import Signature
from support import model_zoo

NAME = "churn"


@dataclasses.dataclass(frozen=True)
class Served:
    """A model to send cases to."""

    data: bytes
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    failures: frozenset[str] = frozenset()
    """Codes of status 500 that this model may give: it is one that fails."""


def served_models() -> dict[str, Served]:
    """Build models of all types and shapes of inputs and outputs."""
    columns: list[model_zoo.Port] = [
        ("age", "FP32", (None, 1)),
        ("city", "BYTES", (None, 1)),
        ("n", "INT8", (None, 1)),
        ("b", "BOOL", (None, 1)),
    ]
    allow = {"non_finite": "Allow"}
    return {
        "one": Served(model_zoo.classifier(features=3, zipmap=False)),
        "maps": Served(model_zoo.classifier(features=2, zipmap=True)),
        "columns": Served(model_zoo.echo(columns)),
        "columns-allow": Served(model_zoo.echo(columns), allow),
        "image": Served(model_zoo.identity("FP16", (None, 2, 2))),
        "free": Served(model_zoo.identity("FP32", (None, None, None))),
        "free-int": Served(model_zoo.identity("INT64", (None, None, None)), allow),
        "double": Served(model_zoo.identity("FP64", (None, 3)), allow),
        "bfloat": Served(model_zoo.identity("BF16", (None, 2))),
        "small": Served(model_zoo.identity("UINT8", (None, 3))),
        "large": Served(model_zoo.identity("UINT64", (None, 2))),
        "text": Served(model_zoo.identity("BYTES", (None, 2))),
        "scalar": Served(model_zoo.identity("INT32", ())),
        "fixed": Served(model_zoo.identity("BOOL", (2, 2))),
        "logarithm": Served(model_zoo.logarithm()),
        "lookup": Served(model_zoo.lookup([1.0, 2.0]), failures=frozenset({"InferenceFailed"})),
    }


@dataclasses.dataclass(frozen=True)
class Case:
    """One request."""

    method: str
    path: bytes
    headers: tuple[tuple[str, str], ...]
    body: bytes


VALUES: list[Any] = [
    0, -0.0, 1, -1, 127, 128, 255, 256, 32767, 65504, 65520, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64,
    -(2**63), -(2**63) - 1, 10**30, 1e308, 1e-320, 5e-324, 1.5, 3.4e38, 3.5e38, float("nan"), float("inf"), 2**40,
    True, False, None, "", "1", "x", "NaN", "\ud800", "\0", "é", "\U0001f600", "a" * 300, [], {}, [[]], [None],
    [[1], [1, 2]], {"a": 1}, [{}], [[[[1.0]]]], "FP32", "BYTES", "INT64", NAME,
]  # fmt: skip
KEYS = [
    "instances", "inputs", "outputs", "dataframe_split", "dataframe_records", "columns", "data", "index", "name",
    "shape", "datatype", "parameters", "binary_data_size", "binary_data", "binary_data_output", "id", "x", "y", "age",
    "city", "n", "b", "label", "signature_name", "classification", "", "\ud800",
]  # fmt: skip
TOKENS = [
    b"1e999", b"-1e999", b"-", b".5", b"01", b"+1", b"NaN", b"-Infinity", b"null", b"true", b'"\\ud800"', b"\\u0000",
    b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"[" * 40, b"]" * 3, b'{"a":' * 40, b"1" * 400, b"0." + b"1" * 400, b"//",
    b",,", b"\r", b"\n", b"\r\n", b'""', b'"', b"'", b";", b"\t", b"1_0", "٣".encode(), b"0x1", b"nan", b"inf",
    b"[" * 3000 + b"]" * 3000, b"\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"{}", b"[]", b"1e-400",
    b"9" * 19, b"-0", b"[[" * 9, b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x01\x00\x00\x00", b"\x00\x00\xc0\x7f",
    b"\x00\x00\x80\x7f",
]  # fmt: skip
CONTENT_TYPES = [
    "application/json", "text/csv", "application/octet-stream", "text/csv; header=present", "text/csv; header=absent",
    "application/json; charset=utf-8", "TEXT/CSV", "x", "image/png; a=b", ";", 'text/csv; header="', "a" * 500, "",
    "application/x-www-form-urlencoded",
]  # fmt: skip
ACCEPTS = [
    "*/*",
    "text/csv",
    "application/json",
    "application/json;q=0",
    ";;,",
    "text/*",
    "q",
    "text/csv;header=absent",
]
LENGTHS = ["0", "5", "-1", "99999999999999", "x", "²", " 5", "5 ", "00000000000005", "1e3", ""]
OTHER_HEADERS = [
    ("Accept-Encoding", "gzip"),
    ("Accept-Encoding", "*;q=0"),
    ("x-request-id", "a" * 300),
    ("x-request-id", "r-1"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("traceparent", "00-x"),
    ("Expect", "100-continue"),
    ("Range", "bytes=0-"),
    ("Host", "a b"),
    ("Cookie", "a=b; c"),
    ("Authorization", "Basic ÿ"),
    ("X-Forwarded-Host", "evil"),
    ("X-HTTP-Method-Override", "DELETE"),
]
PATHS = [
    "/predict", "/invocations", f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer",
    f"/v2/models/{NAME}/versions/7/infer", f"/v2/models/{NAME}/versions/8/infer", "/v1/models/other:predict",
]  # fmt: skip
OTHER_PATHS = [
    "/", "/openapi.json", "/ping", "/v1/models", f"/v1/models/{NAME}", "/v2", "/v2/", "/v2/health/live", "/predict/",
    "/v2/health/ready", f"/v2/models/{NAME}", f"/v2/models/{NAME}/ready", f"/v2/models/{NAME}/versions/7",
    "//predict", "/v2//health/ready", "/%00", "/%ff", "/../etc/passwd", "/v1/models/%2e%2e",
    "/v1/models/a:predict:predict", "/é", "/v1/models//", f"/v2/models/{NAME}/versions//infer", "/metrics",
    "/" + "a" * 2000, "/predict?x=%ff", "/*",
]  # fmt: skip
METHODS = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FOO"]


class Cases:
    """Makes the cases for one model, each from a number."""

    def __init__(self, name: str, signature: Signature) -> None:
        self._name = name
        self._signature = signature
        self._seeds = [*_json_seeds(signature), *_csv_seeds(signature), *_binary_seeds(signature)]

    def make(self, number: int) -> Case:
        """Make the case of that number: always the same one."""
        dice = random.Random(f"{self._name}:{number}")
        path, content_type, document, tail = dice.choice(self._seeds)
        length: str | None = None
        if isinstance(document, bytes):
            body = document
        else:
            document = copy.deepcopy(document)
            for _ in range(dice.choice([0, 1, 1, 2, 3])):
                document = _change_value(document, dice)
            body = _written(document, dice)
            if tail:
                length, body = str(len(body) + dice.choice([0, 0, 0, 1, -1])), body + change_bytes(tail, dice, most=2)
        body = change_bytes(body, dice, most=4) if dice.random() < 0.4 else body
        headers = {"Content-Type": content_type} | ({"Inference-Header-Content-Length": length} if length else {})
        body = _change_headers(headers, body, dice)
        method = dice.choice(METHODS) if dice.random() < 0.01 else "POST"
        return Case(method, _change_path(path, dice), tuple(headers.items()), body)


Seed = tuple[str, str, Any, bytes]
"""Path, content type, body or the JSON document that it is, raw tensors behind it."""


def _json_seeds(signature: Signature) -> Iterator[Seed]:
    request, v2 = example_request(signature), example_v2(signature)
    kind = "application/json"
    for path in ("/predict", "/invocations", f"/v1/models/{NAME}:predict"):
        yield path, kind, request, b""
    tensors = {entry["name"]: _nested(entry["data"], entry["shape"]) for entry in v2["inputs"]}
    yield "/predict", kind, {"inputs": tensors, "outputs": list(signature.output_names)}, b""
    if rows := request.get("instances"):
        yield "/predict", kind, {"instances": rows * 3}, b""
        if isinstance(rows[0], dict):
            split = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows * 2]}
            yield "/invocations", kind, {"dataframe_split": split}, b""
            yield "/invocations", kind, {"dataframe_records": rows * 2}, b""
        elif isinstance(rows[0], list):
            columns = [str(number) for number in range(len(rows[0]))]
            yield "/invocations", kind, {"dataframe_split": {"columns": columns, "data": rows * 2}}, b""
    path = f"/v2/models/{NAME}/infer"
    yield path, kind, v2, b""
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in signature.output_names]
    yield path, kind, {**v2, "id": "1", "outputs": wanted, "parameters": {"binary_data_output": False}}, b""
    yield f"/v2/models/{NAME}/versions/7/infer", kind, v2, b""


def _nested(flat: list[Any], shape: list[int]) -> Any:
    return np.array(flat, dtype=object).reshape(shape).tolist() if shape else flat[0]


def _csv_seeds(signature: Signature) -> Iterator[Seed]:
    text = example_csv(signature)
    if text is not None:
        lines = text.splitlines()
        for body in (text, "\r\n".join([*lines, *lines[-1:] * 2]) + "\r\n", lines[-1]):
            yield "/predict", "text/csv", body.encode(), b""


def _binary_seeds(signature: Signature) -> Iterator[Seed]:
    entries, tail = [], b""
    for entry in example_v2(signature)["inputs"]:
        raw = _raw(entry["data"], entry["datatype"], signature)
        entries.append(
            {**{key: entry[key] for key in ("name", "datatype", "shape")}, "parameters": {"binary_data_size": len(raw)}}
        )
        tail += raw
    document = {"inputs": entries, "parameters": {"binary_data_output": True}}
    for _ in range(3):
        yield f"/v2/models/{NAME}/infer", "application/octet-stream", document, tail


def _raw(values: list[Any], datatype: str, signature: Signature) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", 3) + b"abc" for _ in values)
    if datatype == "BF16":
        return b"\x80\x3f" * len(values)
    spec = next(spec for spec in signature.inputs if spec.datatype == datatype)
    return np.array(values, dtype=spec.dtype).tobytes()


def _change_value(document: Any, dice: random.Random) -> Any:
    """Change one place of a document, any depth down."""
    if not isinstance(document, dict | list) or not document or dice.random() < 0.15:
        return _other_value(document, dice)
    if isinstance(document, dict):
        key = dice.choice(list(document))
        action = dice.random()
        if action < 0.1:
            del document[key]
        elif action < 0.2:
            document[dice.choice(KEYS)] = dice.choice(VALUES)
        elif action < 0.25:
            document[dice.choice(KEYS)] = document.pop(key)
        else:
            document[key] = _change_value(document[key], dice)
        return document
    index = dice.randrange(len(document))
    action = dice.random()
    if action < 0.1:
        del document[index]
    elif action < 0.25:
        document.insert(index, copy.deepcopy(document[index]))
    elif action < 0.27:
        document = document * dice.randrange(60)
    else:
        document[index] = _change_value(document[index], dice)
    return document


def _other_value(value: Any, dice: random.Random) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and dice.random() < 0.3:
        return value + dice.choice([1, -1, 0.5, 2**31, 1e-7])
    if dice.random() < 0.1:
        for _ in range(dice.choice([1, 2, 31, 32, 33, 150])):
            value = [value]
        return value
    return copy.deepcopy(dice.choice(VALUES))


def _written(document: Any, dice: random.Random) -> bytes:
    separators = (",", ":") if dice.random() < 0.5 else (" , ", " : ")
    text = json.dumps(document, separators=separators, ensure_ascii=dice.random() < 0.8)
    return text.encode("utf-8", "surrogatepass")


def change_bytes(body: bytes, dice: random.Random, *, most: int) -> bytes:
    """Change up to so many places."""
    data = bytearray(body)
    for _ in range(dice.randrange(most + 1)):
        at = dice.randrange(len(data) + 1)
        action = dice.randrange(6)
        if action == 0:
            data[at:at] = dice.choice(TOKENS)
        elif action == 1:
            data[at : at + dice.randrange(1, 9)] = dice.choice(TOKENS)
        elif action == 2:
            del data[at : at + dice.randrange(1, 30)]
        elif action == 3 and data:
            data[min(at, len(data) - 1)] ^= 1 << dice.randrange(8)
        elif action == 4:
            data[at:at] = data[at : at + dice.randrange(1, 40)] * dice.choice([1, 1, 2, 60])
        else:
            del data[at:]
    return bytes(data)


def _change_headers(headers: dict[str, str], body: bytes, dice: random.Random) -> bytes:
    """Change headers in place; return the body, packed if a header says so."""
    if dice.random() < 0.1:
        headers["Content-Type"] = dice.choice(CONTENT_TYPES)
    if dice.random() < 0.1:
        headers["Accept"] = dice.choice(ACCEPTS)
    if dice.random() < 0.03:
        headers["Inference-Header-Content-Length"] = dice.choice(LENGTHS)
    if dice.random() < 0.1:
        headers.update([dice.choice(OTHER_HEADERS)])
    if dice.random() > 0.05:
        return body
    headers["Content-Encoding"] = dice.choice(["gzip", "deflate", "identity", "br", "", "gzip, gzip", "GZIP"])
    packed = dice.choice([body, gzip.compress(body, 1, mtime=0), zlib.compress(body, 1)])
    if dice.random() < 0.05:
        packed = gzip.compress(b"[" * 5_000_000, 9, mtime=0)
    return change_bytes(packed, dice, most=1)


def _change_path(path: str, dice: random.Random) -> bytes:
    chance = dice.random()
    if chance < 0.9:
        return path.encode()
    if chance < 0.93:
        return dice.choice(PATHS).encode()
    if chance < 0.97:
        return dice.choice(OTHER_PATHS).encode()
    data = change_bytes(path.encode(), dice, most=2)
    return b"/" + quote_from_bytes(data.lstrip(b"/"), safe="/:?%&=.").encode()
