"""How other commands talk to a running instance: HTTP with JSON over a Unix socket that only its owner can open.

What is answered must not be here.
"""

import http.client
import json
import shutil
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from modelendpoint.errors import CliError

Answer = Callable[[Mapping[str, Any]], Any]
"""What answers a question; raises ``CliError`` for one that can't be answered."""

TIMEOUT_SECONDS = 10.0


class ControlServer:
    """Answers questions while the instance runs."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        # Not in the state folder: the path of a socket must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="mep-"))
        self.socket = self._folder / "socket"
        self._server = _Server(str(self.socket), _handler(answers))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="control", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and remove the socket."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False


def _handler(answers: Mapping[str, Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            question = json.loads(self.rfile.read(length) or b"{}")
            answer = answers.get(self.path.strip("/"))
            if answer is None:
                self._send(404, {"error": f"This `mep local up` does not know {self.path}; it may be older."})
                return
            try:
                self._send(200, answer(question))
            except CliError as error:
                self._send(409, {"error": str(error)})

        def _send(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(self._path)


def ask(path: str, question: str, **content: Any) -> Any:
    """Ask a running instance; raise ``CliError`` with its own words when it can't do it."""
    connection = _Connection(path)
    try:
        connection.request("POST", f"/{question}", json.dumps(content), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CliError(f"The local instance does not answer ({error}). Is `mep local up` still running?") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise CliError(str(body["error"]))
    return body
