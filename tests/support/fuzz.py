"""The fuzz rig: requests that are nearly right, in great number, and what must hold for every answer. Also a program.

What must hold for every answer: a status and a code that are documented, JSON that any parser reads, and **the same
answer both ways**: from the fast path with simdjson, and from Flask's route with the strict decoders alone.

A case (``fuzz_cases``) is made from one number, so that what a run prints of a finding is enough to see it again::

    python -m support.fuzz --requests 1000000 --seed 1          # in this process, through WSGI
    python -m support.fuzz --requests 50000 --seed 1 --sockets  # a server process, over real connections
    python -m support.fuzz --case one:4711                       # one case again

It prints one JSON document a line: progress with the resident memory, findings, and the result.
"""

import argparse
import contextlib
import dataclasses
import gzip
import http.client
import io
import json
import random
import resource
import socket
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from modelendpoint_server.app import create_app
from modelendpoint_server.formats import quick
from modelendpoint_server.model import OnnxModel, Runtime
from modelendpoint_server.settings import NonFinite
from support.fuzz_cases import Case, Cases, Served, change_bytes, served_models
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
LIMITS: dict[str, Any] = {"max_body_bytes": 100_000, "max_rows": 50, "gzip_min_bytes": 500}
REPORT_EVERY = 20_000


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
    head = change_bytes(data[: -len(body)] if body else data, dice, most=3)
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
