"""The fuzz rig: requests that are nearly right, in great number, and what must hold for every answer. Also a program.

A case is a right request of one of the protocols, changed a few times: a value of its JSON, bytes of its body, its
headers, its path. What must hold: a status and a code that are documented, JSON that any parser reads, and **the same
answer both ways**: from the fast path with simdjson, and from Flask's route with the strict decoders alone.

A case is made from one number (``Cases.make``), so that what a run prints of a finding is enough to see it again::

    python -m support.fuzz --requests 1000000 --seed 1          # in this process, through WSGI
    python -m support.fuzz --requests 50000 --seed 1 --sockets  # a server process, over real connections
    python -m support.fuzz --case one:4711                       # one case again

It prints one JSON document a line: progress with the resident memory, findings, and the result.
"""

import argparse
import contextlib
import copy
import dataclasses
import gzip
import http.client
import io
import json
import random
import resource
import socket
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np

from modelendpoint_server.app import create_app
from modelendpoint_server.formats import quick
from modelendpoint_server.made_up import example_csv, example_request, example_v2
from modelendpoint_server.model import OnnxModel, Runtime
from modelendpoint_server.settings import NonFinite
from modelendpoint_server.signature import Signature
from support import model_zoo
from support.served import service_for
from support.server_process import started

DOCUMENTED: Mapping[int, frozenset[str]] = {
    400: frozenset({"InvalidRequest", "BadRequest"}),
    404: frozenset({"UnknownModel", "NotFound"}),
    405: frozenset({"MethodNotAllowed"}),
    406: frozenset({"NotAcceptable"}),
    413: frozenset({"BodyTooLarge"}),
    415: frozenset({"UnsupportedMediaType"}),
}
LONGEST_ERROR = 5000
NAME = "churn"
LIMITS: dict[str, Any] = {"max_body_bytes": 100_000, "max_rows": 50, "gzip_min_bytes": 500}
REPORT_EVERY = 20_000


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


@dataclasses.dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def content(self) -> bytes:
        """The body, unpacked."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body


class Finding(Exception):
    """Something that must hold does not."""


# ── what is sent ──────────────────────────────────────────────────────────────────────────────────────────────────────

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
                length, body = str(len(body) + dice.choice([0, 0, 0, 1, -1])), body + _change_bytes(tail, dice, most=2)
        body = _change_bytes(body, dice, most=4) if dice.random() < 0.4 else body
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


def _change_bytes(body: bytes, dice: random.Random, *, most: int) -> bytes:
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
    return _change_bytes(packed, dice, most=1)


def _change_path(path: str, dice: random.Random) -> bytes:
    chance = dice.random()
    if chance < 0.9:
        return path.encode()
    if chance < 0.93:
        return dice.choice(PATHS).encode()
    if chance < 0.97:
        return dice.choice(OTHER_PATHS).encode()
    data = _change_bytes(path.encode(), dice, most=2)
    return b"/" + quote_from_bytes(data.lstrip(b"/"), safe="/:?%&=.").encode()


# ── what must hold ────────────────────────────────────────────────────────────────────────────────────────────────────


def check(case: Case, reply: Reply, *, failures: frozenset[str] = frozenset()) -> None:
    """Check what must hold for every answer of ours; raise ``Finding``."""
    if reply.headers.get("x-model-revision") != "7":
        raise Finding("the answer does not say which revision made it")
    if case.method in ("HEAD", "OPTIONS"):
        return
    content = reply.content()
    if reply.status == 200:
        if reply.headers.get("content-type") == "application/json":
            _strict_json(content)
        return
    error = _strict_json(content)
    known = DOCUMENTED.get(reply.status, failures if reply.status == 500 else frozenset())
    if error["code"] not in known or not error["error"]:
        raise Finding(f"status {reply.status} with code {error['code']} is not documented here: {error['error'][:300]}")
    if len(content) > LONGEST_ERROR:
        raise Finding(f"an error of {len(content)} bytes")


def _strict_json(text: bytes) -> Any:
    def refuse(word: str) -> None:
        raise Finding(f"{word} is no JSON")

    try:
        return json.loads(text.decode("utf-8"), parse_constant=refuse)
    except ValueError as error:
        raise Finding(f"the answer is no JSON: {error}; {text[:200]!r}") from error


def compare(quickly: Reply, strictly: Reply) -> None:
    """Check that both ways give the same answer; the words of an error may differ."""
    if quickly.status != strictly.status:
        raise Finding(
            f"the fast path answers {quickly.status}, the strict one {strictly.status}: {strictly.body[:300]!r}"
        )
    if quickly.status == 200 and quickly.content() != strictly.content():
        raise Finding(f"the fast path answers {quickly.body[:200]!r}, the strict one {strictly.body[:200]!r}")


# ── in this process ───────────────────────────────────────────────────────────────────────────────────────────────────

App = Callable[[dict[str, Any], Any], Any]


class Target:
    """One model served in this process, both ways."""

    def __init__(self, name: str, served: Served, folder: Path) -> None:
        self.name = name
        self._failures = served.failures
        service = service_for(served.data, folder, **LIMITS, **_typed(served.settings))
        self.cases = Cases(name, service.lifecycle.predictor().signature)
        self._fast: App = create_app(service)
        service.settings = dataclasses.replace(service.settings, fast_path=False)
        self._plain: App = create_app(service)

    def try_case(self, number: int, *, both: bool) -> Reply:
        """Make a case and send it."""
        return self.send(self.cases.make(number), both=both)

    def send(self, case: Case, *, both: bool) -> Reply:
        """Send one case and check its answer; ``both``: compare with what the strict way answers."""
        reply = ask(self._fast, case)
        check(case, reply, failures=self._failures)
        if both:
            with _without_simdjson():
                compare(reply, ask(self._plain, case))
        return reply


def _typed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: NonFinite(value) if key == "non_finite" else value for key, value in settings.items()}


@contextlib.contextmanager
def _without_simdjson() -> Iterator[None]:
    kept = quick.parse
    quick.parse = lambda body: None
    try:
        yield
    finally:
        quick.parse = kept


def ask(app: App, case: Case) -> Reply:
    """Call a WSGI app as granian does."""
    raw, _, query = case.path.partition(b"?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": case.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(case.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(case.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in case.headers:
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        started[:] = [status, headers]

    answer = app(environ, start_response)
    body = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    status, headers = started
    return Reply(int(status[:3]), {name.lower(): value for name, value in headers}, body)


# ── over real connections ─────────────────────────────────────────────────────────────────────────────────────────────


class Wire:
    """Sends cases as bytes over connections that it keeps as long as the server does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None

    def send(self, case: Case, dice: random.Random) -> Reply | None:
        """Send a case, its head sometimes damaged; return the answer, ``None`` if the server just hung up."""
        data, is_whole = _on_the_wire(case, dice)
        for is_fresh in (False, True):
            if is_fresh or self._connection is None:
                self.close()
                self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            try:
                self._connection.sendall(data)
                if not is_whole:
                    self._connection.shutdown(socket.SHUT_WR)
                response = http.client.HTTPResponse(self._connection, method=case.method)
                response.begin()
                reply = Reply(
                    response.status,
                    {name.lower(): value for name, value in response.headers.items()},
                    response.read(),
                )
                if response.will_close or not is_whole:
                    self.close()
                return reply
            except TimeoutError as error:
                raise Finding("no answer in 10 s") from error
            except (OSError, http.client.HTTPException):
                # A kept connection may have been closed meanwhile: once more on a new one.
                self.close()
        return None

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _on_the_wire(case: Case, dice: random.Random) -> tuple[bytes, bool]:
    """Write a case as bytes, and say whether the server can know where it ends."""
    # http.client would refuse to send most of this.
    path = quote_from_bytes(case.path, safe="/:?%&=.*").encode()
    lines = [f"{case.method} ".encode() + path + b" HTTP/1.1", b"Host: a"]
    lines += [f"{name}: {value}".encode("latin-1", "replace") for name, value in case.headers if name != "Expect"]
    chunked = dice.random() < 0.1
    body = case.body
    if chunked:
        size = dice.randrange(1, 2000)
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    lines.append(b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body))
    data = b"\r\n".join(lines) + b"\r\n\r\n" + body
    if dice.random() > 0.05:
        return data, True
    head = _change_bytes(data[: -len(body)] if body else data, dice, most=3)
    return head + body, False


def check_wire(case: Case, reply: Reply | None) -> None:
    """Check an answer from a real server; the HTTP library in front of ours answers what is no HTTP by itself."""
    if reply is None:
        return
    if reply.status >= 500:
        raise Finding(f"status {reply.status}: {reply.body[:300]!r}")
    if "x-model-revision" in reply.headers and case.method not in ("HEAD", "OPTIONS") and reply.status != 200:
        _strict_json(reply.content())


# ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass
class Result:
    """What came of a run."""

    requests: int = 0
    compared: int = 0
    statuses: Counter[int] = dataclasses.field(default_factory=Counter)
    findings: dict[str, str] = dataclasses.field(default_factory=dict)
    """The first of each kind: what is wrong, by the case that shows it."""
    resident_kib: list[int] = dataclasses.field(default_factory=list)
    """Resident memory, once a report."""

    def as_json(self) -> dict[str, Any]:
        """Return what is printed."""
        return {**dataclasses.asdict(self), "statuses": dict(sorted(self.statuses.items()))}


def run_in_process(
    *, requests: int, seed: int, folder: Path, seconds: float = float("inf"), tell: Callable[[str], None] = print
) -> Result:
    """Send so many cases to all models in turn, each third one both ways."""
    targets = [Target(name, served, folder / name) for name, served in served_models().items()]
    result, kinds, ends = Result(), set[str](), time.monotonic() + seconds
    for number in range(seed * 10**9, seed * 10**9 + requests):
        target = targets[number % len(targets)]
        both = number % 3 == 0
        try:
            result.statuses[target.try_case(number, both=both).status] += 1
        except Exception as error:  # noqa: BLE001  whatever it is, it is a finding
            _note(f"{target.name}:{number}", error, result, kinds, tell)
        result.requests += 1
        result.compared += both
        if result.requests % REPORT_EVERY == 0:
            result.resident_kib.append(resident_kib("self"))
            tell(json.dumps({"requests": result.requests, "residentKib": result.resident_kib[-1]}))
        if time.monotonic() > ends:
            break
    result.resident_kib.append(resident_kib("self"))
    return result


def run_over_sockets(
    *, requests: int, seed: int, folder: Path, models: Collection[str] = (), tell: Callable[[str], None] = print
) -> Result:
    """Send so many cases to server processes, model by model; each must live through it and answer rightly."""
    result, kinds = Result(), set[str]()
    chosen = {name: served for name, served in served_models().items() if not served.failures}
    chosen = {name: chosen[name] for name in models or chosen}
    share = requests // len(chosen)
    for order, (name, served) in enumerate(chosen.items()):
        (folder / name).mkdir()
        changes = {key: str(value) for key, value in {**LIMITS, **served.settings}.items()}
        with started(served.data, folder / name, **changes) as server:
            cases = Cases(name, OnnxModel(folder / name / "model.onnx", Runtime(threads=1)).signature)
            wire, worker = Wire(server.port), server.worker()
            result.resident_kib.append(resident_kib(worker))
            first = (seed * 1000 + order) * 10**6
            for number in range(first, first + share):
                case = cases.make(number)
                try:
                    reply = wire.send(case, random.Random(number))
                    check_wire(case, reply)
                    result.statuses[reply.status if reply else 0] += 1
                except Finding as error:
                    _note(f"{name}:{number}", error, result, kinds, tell)
                    wire.close()
                result.requests += 1
                if result.requests % REPORT_EVERY == 0:
                    result.resident_kib.append(resident_kib(worker))
            wire.close()
            result.resident_kib.append(resident_kib(worker))
            tell(json.dumps({"model": name, "requests": result.requests, "residentKib": result.resident_kib[-2:]}))
            if server.worker() != worker or server.managed("/readyz")[0] != 200:
                _note(name, Finding("the server did not live through it"), result, kinds, tell)
    return result


def _note(place: str, error: Exception, result: Result, kinds: set[str], tell: Callable[[str], None]) -> None:
    text = f"{type(error).__name__}: {error}"
    kind = "".join(part for part in text if not part.isdigit())[:60]
    if kind not in kinds:
        kinds.add(kind)
        result.findings[place] = text[:1000]
        tell(json.dumps({"finding": place, "what": text[:1000]}))


def resident_kib(process: int | str) -> int:
    """Read a process's resident memory; "self" is this one."""
    fields = Path(f"/proc/{process}/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize() // 1024


def main(arguments: list[str]) -> int:
    """Run as the command line says; 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sockets", action="store_true")
    parser.add_argument("--models", default="", help="with --sockets: only these, with commas between")
    parser.add_argument("--case", help="one case of a finding, as <model>:<number>, once again")
    options = parser.parse_args(arguments)
    # As the worker does.
    warnings.simplefilter("ignore", RuntimeWarning)
    with tempfile.TemporaryDirectory() as folder:
        if options.case:
            return _again(options.case, Path(folder))
        common = {"requests": options.requests, "seed": options.seed, "folder": Path(folder)}
        models = [name for name in options.models.split(",") if name]
        result = run_over_sockets(**common, models=models) if options.sockets else run_in_process(**common)
    print(json.dumps({"result": result.as_json()}))
    return 1 if result.findings else 0


def _again(place: str, folder: Path) -> int:
    name, _, number = place.partition(":")
    target = Target(name, served_models()[name], folder)
    print(target.cases.make(int(number)))
    print(target.try_case(int(number), both=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
