"""``mep serve`` as a process: what it prints works, and when it ends nothing is left."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelendpoint.errors import CliError
from modelendpoint.serving import choose_port, name_of
from modelendpoint.sockets import is_free
from support import onnx_models

ROOT = Path(__file__).parents[2]
LONGEST_START_SECONDS = 30


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mep(*words: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("cli", "server"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "modelendpoint", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def read_until(process: "subprocess.Popen[str]", last: str) -> list[str]:
    assert process.stdout
    lines: list[str] = []
    while not lines or not lines[-1].startswith(last):
        line = process.stdout.readline()
        assert line, (lines, process.stderr and process.stderr.read())
        lines.append(line.rstrip("\n"))
    return lines


def ask(curl: str) -> dict[str, object]:
    _, url, _, header, _, body = shlex.split(curl)
    name, _, value = header.partition(": ")
    request = urllib.request.Request(url, data=body.encode(), headers={name: value})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.load(answer))


def descendants(pid: int) -> set[int]:
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return set(found).union(*map(descendants, found))


def has_ended(pids: set[int], *, within: float = 5) -> bool:
    deadline = time.monotonic() + within
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_printed_line_is_answered_and_a_signal_leaves_nothing(
    wine: Path, port: int, number: signal.Signals
) -> None:
    with mep("serve", "models/v1.onnx", "--port", str(port), folder=wine) as process:
        lines = read_until(process, "Ctrl-C")
        assert lines[0].startswith(f"models/v1.onnx is ready at http://127.0.0.1:{port} after ")
        answers = [ask(line) for line in lines if line.startswith("curl ")]
        assert len(answers) == 5
        assert [answer["predictions"] for answer in answers[1:4]] == [answers[0]["predictions"]] * 3
        assert answers[4]["model_name"] == "v1"
        started = descendants(process.pid)
        assert len(started) >= 2
        process.send_signal(number)
        assert process.wait(20) == 0
        assert has_ended(started)


def test_a_server_ends_with_the_command_however_that_is_ended(wine: Path, port: int) -> None:
    with mep("serve", "models/v1.onnx", "--port", str(port), folder=wine) as process:
        read_until(process, "Ctrl-C")
        started = descendants(process.pid)
        process.kill()
        assert process.wait(20) == -signal.SIGKILL
        assert has_ended(started)
    assert is_free("127.0.0.1", port)


def test_a_model_that_can_not_be_served_ends_the_command_with_the_servers_reason(tmp_path: Path, port: int) -> None:
    (tmp_path / "bad.onnx").write_bytes(onnx_models.corrupt(onnx_models.linear_model([1])))
    with mep("serve", "bad.onnx", "--port", str(port), folder=tmp_path) as process:
        out, error = process.communicate(timeout=LONGEST_START_SECONDS)
    assert (process.returncode, out) == (1, "")
    assert error.startswith("Error: ")
    assert len(error.splitlines()) == 1
    assert "bad.onnx" in error


def test_a_port_that_is_taken_is_named_with_the_next_step() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CliError, match=f"Port {port} of 127.0.0.1 is taken.+--port {port + 1}"):
            choose_port("127.0.0.1", port)


def test_without_a_wish_the_first_free_port_is_taken() -> None:
    first = choose_port("127.0.0.1", None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert choose_port("127.0.0.1", None) > first


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("models/v1.onnx", "v1"),
        ("Churn_Model.onnx", "churn-model"),
        ("s3://models/churn/3/fraud.onnx", "fraud"),
        ("größe.onnx", "model"),
        ("-.onnx", "model"),
    ],
)
def test_a_model_is_named_after_its_file(place: str, name: str) -> None:
    assert name_of(place) == name
