"""A web server on the loopback that does to its clients what bad stores do."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Handle = Callable[["Request"], None]


@dataclass
class Request:
    """One request, and the means to answer it."""

    handler: http.server.BaseHTTPRequestHandler

    @property
    def path(self) -> str:
        return self.handler.path

    def header(self, name: str) -> str | None:
        return self.handler.headers.get(name)

    @property
    def offset(self) -> int:
        """Where the client wants to go on."""
        text = self.header("Range") or "bytes=0-"
        return int(text.removeprefix("bytes=").rstrip("-"))

    def answer(self, data: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> None:
        """Send an answer; a length that differs from the data's makes it break off."""
        self.handler.send_response(status)
        self.handler.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(data)


@dataclass
class FaultyWeb:
    """The server's address and what it was asked."""

    port: int
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str = "model.onnx", *, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"


@contextlib.contextmanager
def faulty_web(handle: Handle) -> Iterator[FaultyWeb]:
    """Serve until the block ends; ``handle`` answers each request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            with contextlib.suppress(OSError):
                handle(Request(self))
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web = FaultyWeb(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
