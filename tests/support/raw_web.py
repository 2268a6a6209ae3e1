"""A server on the loopback that says to its clients, byte by byte, what a test wants."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Say = Callable[[socket.socket], None]


@dataclass
class RawWeb:
    """Where the server is, and the requests that it got as text."""

    port: int
    seen: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def raw_web(say: Say, *, listens: bool = True) -> Iterator[RawWeb]:
    """Serve until the block ends: read one request of each connection, then let ``say`` write."""
    listener = socket.create_server(("127.0.0.1", 0))
    web = RawWeb(listener.getsockname()[1])
    threads: list[threading.Thread] = []

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if listens:
                web.seen.append(_read_request(connection))
            say(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=talk, args=(connection,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield web
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (acceptor, *threads):
            thread.join(timeout=5)


def _read_request(connection: socket.socket) -> str:
    connection.settimeout(5)
    text = b""
    while b"\r\n\r\n" not in text:
        if not (part := connection.recv(65536)):
            return text.decode()
        text += part
    head, _, body = text.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length:")]
    while len(body) < sum(lengths) and (part := connection.recv(65536)):
        body += part
    return (head + b"\r\n\r\n" + body).decode()


def answer(body: str = "", *, status: str = "200 OK", kind: str = "application/json", more: str = "") -> Say:
    """Say one whole answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body.encode())}\r\n{more}\r\n"
    return lambda connection: connection.sendall((head + body).encode())


def dribble(start: bytes, part: bytes) -> Say:
    """Say something, and then for ever a little more, so that no single wait is long."""

    def say(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            time.sleep(0.02)
            connection.sendall(part)

    return say


def flood(start: bytes, part: bytes) -> Say:
    """Say something, and then for ever more, as fast as it is taken."""

    def say(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(part)

    return say
