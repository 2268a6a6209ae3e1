"""One request to a host that may do anything: a whole answer in time, or a sentence that says why not."""

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelendpoint_operator.adapters.exchange import MAX_BYTES, Answer, Exchange, NoAnswer, Request
from modelendpoint_operator.adapters.targets import Target
from support.emulators import free_port
from support.raw_web import Say, answer, dribble, flood, raw_web

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
OPEN_END = HEAD + b"\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def target(port: int, *, addresses: tuple[str, ...] = ("127.0.0.1",), secure: bool = False) -> Target:
    return Target(secure=secure, host="judge", port=port, path="/check?a=b", addresses=addresses)


def ask(to: Target, *, body: str | None = None, seconds: float = 5) -> Answer:
    method, headers = ("GET", {"Accept": "x"}) if body is None else ("POST", {"Content-Type": "application/json"})
    return Exchange().send(to, Request(method=method, headers=headers, body=body, seconds=seconds))


def trouble(to: Target, *, seconds: float = 5) -> str:
    with pytest.raises(NoAnswer) as raised:
        ask(to, seconds=seconds)
    return str(raised.value)


def say(text: bytes) -> Say:
    return lambda connection: connection.sendall(text)


def test_a_get_asks_for_the_path_at_the_host() -> None:
    with raw_web(answer('{"a": 1}')) as web:
        assert ask(target(web.port)) == Answer(status=200, content_type="application/json", body=b'{"a": 1}')

    head = web.seen[0].split("\r\n")
    assert head[0] == "GET /check?a=b HTTP/1.1"
    assert f"Host: judge:{web.port}" in head
    assert "Accept: x" in head


def test_a_post_sends_its_body_in_utf_8() -> None:
    with raw_web(answer()) as web:
        ask(target(web.port), body='{"name": "Ährenfeld"}')

    assert web.seen[0].startswith("POST /check")
    assert web.seen[0].endswith('\r\n\r\n{"name": "Ährenfeld"}')


def test_a_redirect_is_an_answer_and_nothing_follows_it() -> None:
    with raw_web(answer("stolen")) as elsewhere:
        with raw_web(answer(status="302 Found", more=f"Location: {elsewhere.url}/\r\n")) as web:
            assert ask(target(web.port)).status == 302
        assert elsewhere.seen == []


def test_an_answer_that_ends_with_the_connection_is_whole() -> None:
    with raw_web(say(OPEN_END + b"abc")) as web:
        assert ask(target(web.port)).body == b"abc"


@pytest.mark.parametrize(
    "slow",
    [
        dribble(b"", b"H"),
        dribble(b"HTTP/1.1 200 OK\r\n", b"X-Pad: 1\r\n"),
        dribble(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        dribble(OPEN_END, b"."),
        dribble(CHUNKED, b"1\r\n.\r\n"),
        dribble(HEAD + b"Content-Length: 100000\r\n\r\n", b"."),
    ],
    ids=["status line", "headers", "interim answers", "body", "chunks", "body of a length"],
)
def test_a_slow_host_has_the_time_that_it_has_and_no_more(slow: Say) -> None:
    with raw_web(slow) as web:
        started = time.monotonic()
        assert trouble(target(web.port), seconds=0.3) in (
            f"no answer from judge:{web.port} within 0.3 s",
            # 100 headers are enough for anybody.
            f"judge:{web.port} answered something that is not HTTP",
        )
        assert time.monotonic() - started < 3


def test_a_silent_host_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # It takes the connection and never reads.
        port = listener.getsockname()[1]
        assert trouble(target(port), seconds=0.2) == f"no answer from judge:{port} within 0.2 s"


@pytest.mark.parametrize(
    "huge",
    [flood(OPEN_END, b"x" * 65536), flood(CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n")],
    ids=["body", "chunks"],
)
def test_a_huge_answer_is_not_read_to_its_end(huge: Say) -> None:
    with raw_web(huge) as web:
        assert trouble(target(web.port)) == f"judge:{web.port} answered more than {MAX_BYTES // 1024} KiB"


def test_an_answer_of_the_largest_size_is_taken() -> None:
    with raw_web(answer("x" * MAX_BYTES)) as web:
        assert len(ask(target(web.port)).body) == MAX_BYTES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "broke off before its answer was whole"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "answered something that is not HTTP"),
        (b"\x00\xff\x15\x03\x01", "answered something that is not HTTP"),
        (b"HTTP/1.1 banana OK\r\n\r\n", "answered something that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X" * 70000 + b"\r\n\r\n", "answered something that is not HTTP"),
        (HEAD + b"Content-Length: 50\r\n\r\nshort", "broke off before its answer was whole"),
        (CHUNKED + b"zz\r\n", "broke off before its answer was whole"),
    ],
    ids=["nothing", "ssh", "bytes", "status", "header", "length", "chunk"],
)
def test_what_is_no_answer_is_told(text: bytes, why: str) -> None:
    with raw_web(say(text)) as web:
        assert trouble(target(web.port)) == f"judge:{web.port} {why}"


def test_nobody_there_is_told() -> None:
    port = free_port()

    assert trouble(target(port)) == f"judge:{port} can't be reached: Connection refused"


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with raw_web(answer()) as web:
        assert ask(target(web.port, addresses=("127.0.0.2", "127.0.0.1"))).status == 200


@contextlib.contextmanager
def tls_server(folder: Path) -> Iterator[int]:
    """Serve TLS with a certificate for ``judge`` that nobody vouches for."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=judge"]
    command += ["-addext", "subjectAltName=DNS:judge", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(65536)
                    connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nok")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


def test_a_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tls_server(tmp_path) as port:
        secure = target(port, secure=True)
        assert trouble(secure) == f"the certificate of judge:{port} can't be verified: self-signed certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        assert ask(secure).body == b"ok"
        wrong_name = Target(secure=True, host="other", port=port, path="/", addresses=("127.0.0.1",))
        assert "can't be verified: Hostname mismatch" in trouble(wrong_name)


def test_a_host_without_tls_is_told() -> None:
    with raw_web(say(b"220 mail.example ESMTP\r\n"), listens=False) as web:
        assert trouble(target(web.port, secure=True)) == f"TLS with judge:{web.port} failed"
