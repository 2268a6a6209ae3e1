"""The management port on a socket: what probes, scrapes and idle strangers meet."""

import contextlib
import http.client
import logging
import socket
from collections.abc import Iterator

import pytest
from flask import Flask
from waitress.server import TcpWSGIServer

from modelendpoint_server.management import Management, serve_management


@pytest.fixture
def served() -> Iterator[Management]:
    app = Flask("probe")

    @app.get("/livez")
    def live() -> str:
        return "ok\n"

    management = serve_management(app, host="127.0.0.1", port=0)
    yield management
    management.shutdown()


def test_a_connection_is_used_again(served: Management) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)) as connection:
        for _ in range(3):
            connection.request("GET", "/livez")
            response = connection.getresponse()
            assert (response.status, response.read(), response.headers["Server"]) == (200, b"ok\n", None)
            own = connection.sock.getsockname() if connection.sock else None
        assert own == (connection.sock.getsockname() if connection.sock else own) is not None


def test_idle_and_slow_strangers_hold_up_no_probe(served: Management) -> None:
    with contextlib.ExitStack() as held:
        for text in [b""] * 100 + [b"GET /livez HT"] * 100:
            stranger = held.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            stranger.sendall(text)
        for _ in range(20):
            assert _live(served) == 200


def test_too_large_a_request_is_refused(served: Management) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)) as connection:
        connection.request("POST", "/livez", b"x" * 5000)
        assert connection.getresponse().status == 413
    assert _live(served) == 200


def test_too_little_memory_for_a_connection_does_not_close_the_port(
    served: Management, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept, failures = TcpWSGIServer.accept, [MemoryError()]

    def accept_at_last(server: TcpWSGIServer) -> object:
        if failures:
            raise failures.pop()
        return accept(server)

    monkeypatch.setattr(TcpWSGIServer, "accept", accept_at_last)
    with caplog.at_level(logging.WARNING):
        assert _live(served) == 200
    assert "A connection to the management port failed" in caplog.text


def test_a_port_that_is_taken_is_an_error(served: Management) -> None:
    with pytest.raises(OSError, match="in use"):
        serve_management(Flask("other"), host="127.0.0.1", port=served.port)


def _live(served: Management) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)) as connection:
        connection.request("GET", "/livez")
        return connection.getresponse().status
