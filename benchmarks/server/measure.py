"""Start one server, see that its answers are right, and measure it: wrk on one core, the server on the other."""

import contextlib
import dataclasses
import http.client
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from servers import Ask, Server

SERVER_CORE, CLIENT_CORE = "0", "1"
_START_SECONDS = 90.0
_TICKS = os.sysconf("SC_CLK_TCK")
_SCRIPT = """
wrk.method = "POST"
local file = io.open("{body}", "rb"); wrk.body = file:read("*a"); file:close()
{headers}
"""


@dataclasses.dataclass(frozen=True)
class Figures:
    """One window of load."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_seconds_per_1000: float
    failed: int


@dataclasses.dataclass(frozen=True)
class Running:
    """A server that answers."""

    process: "subprocess.Popen[bytes]"
    port: int
    start_seconds: float
    """From the start of the process to the first right answer."""


@contextlib.contextmanager
def started(
    server: Server, binary: Path, model: Path, *, port: int, folder: Path, probe: tuple[str, np.ndarray, np.ndarray]
) -> Iterator[Running]:
    """Run a server pinned to its core until the block ends."""
    environment = {**os.environ, **server.environment(model, port, folder), "PATH": f"{binary}:{os.environ['PATH']}"}
    environment |= {"OMP_NUM_THREADS": "1", "VIRTUAL_ENV": str(binary.parent)}
    command = ["taskset", "-c", SERVER_CORE, *server.command(binary, model, port, folder)]
    began = time.perf_counter()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            seconds = _until_right(server, process, port, began, probe)
            yield Running(process, port, seconds)
        finally:
            _end(process)


def _until_right(
    server: Server,
    process: "subprocess.Popen[bytes]",
    port: int,
    began: float,
    probe: tuple[str, np.ndarray, np.ndarray],
) -> float:
    payload, x, expected = probe
    ask = server.ask(payload, x)
    while ask is not None and time.perf_counter() - began < _START_SECONDS and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
            check_answer(server, ask, port, expected)
            return time.perf_counter() - began
        time.sleep(0.02)
    raise RuntimeError(f"{server.name} gave no right answer in {_START_SECONDS:.0f} s")


def check_answer(server: Server, ask: Ask, port: int, expected: np.ndarray) -> None:
    """Raise ``ValueError`` unless the answer is what ONNX Runtime computes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", ask.path, ask.body, dict(ask.headers))
        response = connection.getresponse()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"{response.status} {body[:200]!r}")
    got = server.answers(body, headers)
    if got is not None and not np.allclose(got.reshape(-1), expected.reshape(-1), rtol=1e-3, atol=1e-4):
        raise ValueError("another answer than ONNX Runtime's")


def load(ask: Ask, running: Running, *, connections: int, seconds: int, folder: Path) -> Figures:
    """Load the server for a while: a closed loop over kept connections."""
    body, script = folder / "body", folder / "load.lua"
    body.write_bytes(ask.body)
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in ask.headers.items())
    script.write_text(_SCRIPT.format(body=body, headers=headers))
    before = _cpu_seconds(running.process.pid)
    command = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    command += ["--latency", "-s", str(script), f"http://127.0.0.1:{running.port}{ask.path}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = _cpu_seconds(running.process.pid) - before
    done = int(_find(r"(\d+) requests in", text))
    failed = int(_find(r"Non-2xx or 3xx responses: (\d+)", text, "0"))
    failed += sum(int(number) for number in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    return Figures(
        requests_per_second=float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        p50_ms=_milliseconds(_find(r"\n +50% +(\S+)", text)),
        p99_ms=_milliseconds(_find(r"\n +99% +(\S+)", text)),
        cpu_seconds_per_1000=1000 * used / max(done, 1),
        failed=failed,
    )


def memory_mib(pid: int) -> float:
    """Return the proportional set size of a process and all below it."""
    total = 0
    for each in _family(pid):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
            total += int(_find(r"Pss:\s+(\d+) kB", text, "0"))
    return total / 1024


def _cpu_seconds(pid: int) -> float:
    total = 0
    for each in _family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def _family(pid: int) -> list[int]:
    """Return a process and all that it started, however deep."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    family, added = [pid], True
    while added:
        more = [child for child, parent in parents.items() if parent in family and child not in family]
        family, added = family + more, bool(more)
    return family


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server and everything that it started: it has a session, and so a process group, of its own."""
    family = _family(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    for each in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    process.wait()


def _find(pattern: str, text: str, default: str | None = None) -> str:
    match = re.search(pattern, text)
    if match is None and default is None:
        raise RuntimeError(f"wrk said something unexpected:\n{text}")
    return match.group(1) if match else str(default)


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]


def floor(model: Path, ask: Mapping[str, np.ndarray], *, seconds: float) -> dict[str, float]:
    """Measure runs per second of JSON → array → ONNX Runtime → JSON in this process, without any server."""
    import json

    import onnxruntime
    import orjson

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options)
    found = {}
    for payload, x in ask.items():
        body = json.dumps({"instances": x.tolist()}).encode()
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            rows = np.asarray(orjson.loads(body)["instances"], dtype=np.float32)
            orjson.dumps({"predictions": session.run(None, {"x": rows})[0]}, option=orjson.OPT_SERIALIZE_NUMPY)
            count += 1
        found[payload] = count / (time.perf_counter() - began)
    return found
