"""The real process: started from its environment, asked over the loopback, ended by a signal."""

import contextlib
import ctypes
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from onnx import helper, numpy_helper

from support import model_zoo
from support.onnx_models import linear_model, slow_model
from support.server_process import JSON, ROW, environment, started

LINEAR = linear_model([1.0, 2.0], intercept=0.5)


def test_the_process_serves_what_its_environment_says(tmp_path: Path) -> None:
    with started(LINEAR, tmp_path) as server:
        assert server.ask() == (200, b'{"predictions":[[5.5]]}')
        assert server.managed("/readyz")[0] == server.managed("/livez")[0] == 200
        assert LINEAR.sha256.encode() in server.managed("/metrics")[1]


def test_a_wrong_setting_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    for changes, words in (
        ({"typo": "1"}, "Unknown variable MODELENDPOINT_TYPO"),
        ({"port": "http"}, "MODELENDPOINT_PORT is 'http'; a whole number is expected"),
        ({"model_uri": ""}, "MODELENDPOINT_MODEL_URI is not set"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "modelendpoint_server"],
            env=environment(tmp_path, **changes),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 2
        assert words in done.stderr


def test_a_request_that_is_running_is_answered_after_sigterm(tmp_path: Path) -> None:
    model = slow_model([1.0, 2.0], turns=40_000)
    with started(model, tmp_path, drain_seconds="0", warm_up="false") as server:
        answers: list[tuple[int, bytes]] = []
        thread = threading.Thread(target=lambda: answers.append(server.ask()))
        thread.start()
        deadline = time.monotonic() + 10
        # The request is under way as soon as the server has read it; its metrics do not show it yet, its CPU time does.
        before = _cpu(server.worker())
        while _cpu(server.worker()) - before < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        server.process.terminate()
        thread.join(20)
        assert answers == [(200, b'{"predictions":[[5.0]]}')]
        assert server.process.wait(10) == 0


def _cpu(pid: int) -> int:
    """Return a process's CPU time in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_draining_server_answers_and_closes_its_connections(tmp_path: Path) -> None:
    with started(LINEAR, tmp_path, drain_seconds="3") as server:
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        kept.request("POST", "/predict", ROW, JSON)
        assert kept.getresponse().read() == b'{"predictions":[[5.5]]}'
        server.process.terminate()
        server.wait_until("Draining")
        assert server.managed("/readyz")[0] == 503
        assert server.managed("/livez")[0] == 200
        kept.request("POST", "/predict", ROW, JSON)
        response = kept.getresponse()
        assert (response.status, response.headers["Connection"], response.read()) == (
            200,
            "close",
            b'{"predictions":[[5.5]]}',
        )
        assert server.ask()[0] == 200
        kept.close()
        assert server.process.wait(15) == 0


def test_a_second_sigterm_ends_the_wait(tmp_path: Path) -> None:
    with started(LINEAR, tmp_path, drain_seconds="60") as server:
        server.process.terminate()
        server.wait_until("Draining")
        server.process.terminate()
        assert server.process.wait(15) == 0


def test_a_signal_that_another_thread_gets_ends_the_worker(tmp_path: Path) -> None:
    with started(LINEAR, tmp_path) as server:
        worker = server.worker()
        other = max(int(task.name) for task in Path(f"/proc/{worker}/task").iterdir())
        assert other != worker
        assert ctypes.CDLL(None).tgkill(worker, other, signal.SIGTERM) == 0
        assert server.process.wait(15) is not None


def test_a_worker_that_dies_ends_the_process(tmp_path: Path) -> None:
    with started(LINEAR, tmp_path) as server:
        os.kill(server.worker(), signal.SIGKILL)
        assert server.process.wait(15) != 0


def test_too_much_memory_is_an_error_and_no_death(tmp_path: Path) -> None:
    with started(
        model_zoo.memory_bomb(), tmp_path, warm_up="false", memory_reserve_bytes=str(_all_memory() - 400 * 2**20)
    ) as server:
        worker = server.worker()
        for values in (10**15, 10**10, 2 * 10**8):
            status, body = server.ask(json.dumps({"inputs": [values]}).encode())
            assert (status, json.loads(body)["code"]) == (500, "InferenceFailed")
        assert server.ask(b'{"inputs": [2]}') == (200, b'{"predictions":[0.0,0.0]}')
        assert server.worker() == worker


def test_a_model_that_does_not_fit_into_memory_is_too_large(tmp_path: Path) -> None:
    constant = numpy_helper.from_array(np.zeros(120 * 2**20 // 4, dtype=np.float32), "w")
    data = model_zoo.build(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [("x", "FP32", (None,))],
        [("y", "FP32", (None,))],
        constants=[constant],
    )
    reserve = str(_all_memory() - 200 * 2**20)
    with started(data, tmp_path, until="Failed", memory_reserve_bytes=reserve) as server:
        report = server.report()
        assert report["reason"] == "ModelTooLarge", report
        assert "server.resources.limits.memory" in report["message"]
        assert {server.managed("/livez")[0] for _ in range(50)} == {200}


def _all_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_slow_clients_do_not_hold_up_a_good_one(tmp_path: Path) -> None:
    with started(LINEAR, tmp_path, http_threads="8") as server, contextlib.ExitStack() as held:
        half = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
        # Many that never finish their headers, and one fewer than there are threads that never finish their body.
        for text in [half] * 100 + [half + b"\r\n{"] * 7:
            connection = held.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", server.port))))
            connection.sendall(text)
        for _ in range(20):
            assert server.ask(timeout=5)[0] == 200


def test_nothing_but_the_model_folder_is_written_to(tmp_path: Path) -> None:
    with started(LINEAR, tmp_path) as server:
        server.ask()
        folder = Path(f"/proc/{server.worker()}/fd")
        # Not the standard streams, which are the test's own.
        opened = []
        for entry in folder.iterdir():
            # A connection may end meanwhile.
            with contextlib.suppress(FileNotFoundError):
                opened += [os.readlink(entry)] if int(entry.name) > 2 else []
        files = [path for path in opened if path.startswith("/") and not path.startswith(("/dev/", "/proc/"))]
        assert all(path.startswith(str(tmp_path / "models")) for path in files), files


def test_log_lines_are_json_without_payload(tmp_path: Path) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with started(LINEAR, tmp_path, access_log="true", drain_seconds="0") as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
            headers = {**JSON, "x-request-id": "r-1", "traceparent": trace, "Authorization": "Bearer hidden"}
            connection.request("POST", "/predict?key=hidden", b'{"instances": [[4711, 2]]}', headers)
            assert connection.getresponse().status == 200
        server.process.terminate()
        _, text = server.process.communicate(timeout=15)
    lines = [json.loads(line) for line in text.splitlines()]
    (access,) = [line for line in lines if line["message"] == "Request"]
    assert access["request_id"] == "r-1"
    assert access["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (access["path"], access["status"], access["endpoint"]) == ("/predict", 200, "churn")
    assert "4711" not in text and "hidden" not in text


def test_a_body_without_length_is_read(tmp_path: Path) -> None:
    with (
        started(LINEAR, tmp_path, max_body_bytes="1000") as server,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection,
    ):
        connection.request("POST", "/predict", iter([ROW[:10], ROW[10:]]), JSON, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b'{"predictions":[[5.5]]}')
        connection.request("POST", "/predict", iter([b" " * 600, b" " * 600]), JSON, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["code"]) == (413, "BodyTooLarge")


def test_a_client_that_asks_before_it_sends_is_answered(tmp_path: Path) -> None:
    with (
        started(LINEAR, tmp_path) as server,
        contextlib.closing(socket.create_connection(("127.0.0.1", server.port), timeout=5)) as connection,
    ):
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(ROW)}\r\nExpect: 100-continue\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(ROW)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert b" 200 OK" in answer and answer.endswith(b'{"predictions":[[5.5]]}')


def test_garbage_on_the_wire_changes_nothing(tmp_path: Path) -> None:
    garbage = random.Random(3)
    pieces = [
        b"POST /predict HTTP/1.1\r\n",
        b"Content-Length: ",
        b"5\r\n",
        b"\r\n",
        b"\x00",
        b"GET ",
        b"Transfer-Encoding: ",
    ]
    pieces += [
        b"chunked\r\n",
        b"-1\r\n",
        b"99999999999999999999\r\n",
        b"Host: a\r\n",
        b"{}",
        b" HTTP/9.9\r\n",
        b"\n",
        b": \r\n",
    ]
    with started(LINEAR, tmp_path) as server:
        worker = server.worker()
        for _ in range(300):
            data = b"".join(garbage.choice([*pieces, garbage.randbytes(6)]) for _ in range(garbage.randrange(1, 12)))
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=5) as wire:
                wire.sendall(data)
                wire.shutdown(socket.SHUT_WR)
                while wire.recv(4096):
                    pass
        assert server.ask() == (200, b'{"predictions":[[5.5]]}')
        assert server.worker() == worker
