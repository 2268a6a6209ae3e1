"""Clients that send their bodies slowly, and the router that waits for them instead of the model server."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests import envoy
from modelendpoint_operator.manifests.bootstrap import MAX_HEAP_BYTES
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.observation import Leg
from modelendpoint_server import admission, service
from modelendpoint_server.admission import LargeBodies
from modelendpoint_server.errors import Overloaded
from support import fuzz, model_zoo
from support.onnx_models import linear_model
from support.routers import Host, Router
from support.server_process import JSON, ROW, Server, started

LINEAR = linear_model([1.0, 2.0], intercept=0.5)
RIGHT = b'{"predictions":[[5.5]]}'
THREADS = 4
MIB = 2**20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with started(LINEAR, tmp_path, http_threads=str(THREADS)) as server:
        yield server


@pytest.fixture
def router(server: Server, tmp_path: Path) -> Iterator[Router]:
    with routed(server, tmp_path) as router:
        yield router


@contextlib.contextmanager
def routed(server: Server, tmp_path: Path) -> Iterator[Router]:
    """Run Envoy in front of the server, as the operator sets it up."""
    body = {
        "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1},
        "spec": {"model": {"uri": "s3://models/churn.onnx"}},
    }
    folder = tmp_path / "router"
    folder.mkdir()
    router = Router(folder)
    documents = build_documents(ModelEndpoint.from_body(body), [Leg(revision=7, weight=100)], [7])
    router.write(documents, {7: [Host("127.0.0.1", server.port, server.management)]})
    router.start()
    try:
        ends = time.monotonic() + 10
        while ask(router.traffic_port)[0] == 503:
            assert time.monotonic() < ends
        yield router
    finally:
        router.stop()


def ask(port: int, body: bytes = ROW, *, timeout: float = 10) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request("POST", "/predict", body, JSON)
        response = connection.getresponse()
        return response.status, response.read()


@contextlib.contextmanager
def slow_clients(port: int, count: int, *, size: int, sent: int) -> Iterator[list[socket.socket]]:
    """Begin so many requests of a size, send a part of each body, and no more while the block runs."""
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    with contextlib.ExitStack() as held:
        connections = []
        for _ in range(count):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            with contextlib.suppress(OSError):
                connection.sendall(head.encode() + b" " * sent)
            connections.append(connection)
        yield connections


def median_and_slowest(port: int, requests: int) -> tuple[float, float]:
    """Ask so often; every answer must be right."""
    seconds = []
    for _ in range(requests):
        begun = time.perf_counter()
        assert ask(port) == (200, RIGHT)
        seconds.append(time.perf_counter() - begun)
    return sorted(seconds)[requests // 2], max(seconds)


def test_five_hundred_slow_bodies_hold_up_nobody(router: Router) -> None:
    with slow_clients(router.traffic_port, 500, size=100_000, sent=50_000):
        median, slowest = median_and_slowest(router.traffic_port, 300)
    assert slowest < 5, (median, slowest)


def test_a_slow_body_is_answered_once_it_is_whole(router: Router) -> None:
    with slow_clients(router.traffic_port, 1, size=len(ROW) + 5000, sent=5000) as (connection,):
        assert ask(router.traffic_port) == (200, RIGHT)
        connection.sendall(ROW)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.read()) == (200, RIGHT)


def test_clients_that_do_not_read_their_answers_hold_up_nobody(tmp_path: Path) -> None:
    """The answers are larger than what sockets and the router keep of them."""
    with (
        started(model_zoo.identity("FP32", (None, 1000)), tmp_path, http_threads=str(THREADS)) as server,
        routed(server, tmp_path) as router,
        contextlib.ExitStack() as held,
    ):
        row = b"[" + b",".join([b"0.123456789"] * 1000) + b"]"
        body = b'{"instances": [' + b",".join([row] * 300) + b"]}"
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", router.traffic_port), timeout=20)
            held.enter_context(connection)
            connection.sendall(head.encode() + body)
        for _ in range(50):
            assert ask(router.traffic_port, b'{"instances": [' + row + b"]}")[0] == 200


def test_large_bodies_that_stream_slowly_leave_a_thread_to_the_others(router: Router) -> None:
    port = router.traffic_port
    with slow_clients(port, 4 * THREADS, size=9 * MIB, sent=MIB):
        median_and_slowest(port, 100)
        assert send_large(port) != 200
    ends = time.monotonic() + 20
    # As soon as the slow ones are gone, large bodies are taken again.
    while (status := send_large(port)) != 200:
        assert time.monotonic() < ends, status


def send_large(port: int) -> int:
    """Send a body that streams; 0 when the refusal came while it was under way, and nobody read the rest of it."""
    try:
        return ask(port, ROW + b" " * (9 * MIB))[0]
    except ConnectionError:
        return 0


@pytest.mark.parametrize(
    "size", [envoy.WHOLE_BODY_BYTES - 1, envoy.WHOLE_BODY_BYTES, envoy.WHOLE_BODY_BYTES + 1, 20 * MIB]
)
def test_a_body_of_any_size_passes_the_router(router: Router, size: int) -> None:
    assert ask(router.traffic_port, ROW + b" " * (size - len(ROW))) == (200, RIGHT)


def test_a_body_without_a_length_passes_the_router(router: Router) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", router.traffic_port, timeout=10)) as connection:
        connection.request("POST", "/predict", iter([ROW[:10], ROW[10:]]), JSON, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, RIGHT)


def test_bodies_that_fill_the_routers_memory_end_so_that_others_are_served(router: Router) -> None:
    size = envoy.WHOLE_BODY_BYTES - MIB // 2
    count = 5 * MAX_HEAP_BYTES // (4 * size)
    with slow_clients(router.traffic_port, count, size=envoy.WHOLE_BODY_BYTES, sent=size):
        ends, in_a_row = time.monotonic() + 40, 0
        # Envoy looks at its heap four times a second.
        while in_a_row < 20:
            answer = ask(router.traffic_port)
            in_a_row = in_a_row + 1 if answer == (200, RIGHT) else 0
            assert time.monotonic() < ends, answer
            time.sleep(0.05)
    assert router.is_running
    assert fuzz.resident_kib(router.pid) * 1024 < 2**30


def test_many_large_bodies_at_once_are_all_answered(router: Router) -> None:
    body = ROW + b" " * (9 * MIB)
    answers: list[tuple[int, bytes]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(router.traffic_port, body, timeout=30))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [(200, RIGHT)] * 16


def test_router_and_server_mean_the_same_by_large() -> None:
    assert service.LARGE_BODY == envoy.WHOLE_BODY_BYTES


def test_once_waiting_did_not_help_nobody_waits_until_a_place_was_free(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = LargeBodies(threads=2)
    monkeypatch.setattr(admission, "_A_MOMENT_SECONDS", 0.05)
    with bodies.reading():
        with pytest.raises(Overloaded), bodies.reading():
            pass
        begun = time.monotonic()
        for _ in range(20):
            with pytest.raises(Overloaded), bodies.reading():
                pass
        assert time.monotonic() - begun < 0.5
    with bodies.reading():
        pass
