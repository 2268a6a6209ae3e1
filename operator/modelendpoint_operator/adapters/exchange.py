"""One HTTP request to a host that nobody vouches for: bounded in time and size, without redirects.

The addresses to connect to are given; no name is resolved here.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelendpoint_operator.adapters.targets import Target

MAX_BYTES = 256 * 1024
"""Largest body that is read."""


class NoAnswer(Exception):
    """There was no answer that could be read. The message is for the endpoint's author."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to send."""

    method: str
    headers: Mapping[str, str]
    body: str | None = None
    seconds: float
    """Longest time from connecting to the last byte of the answer."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was answered."""

    status: int
    content_type: str
    body: bytes


class Exchange:
    """Sends requests."""

    def __init__(self) -> None:
        self._tls = ssl.create_default_context()

    def send(self, target: Target, request: Request) -> Answer:
        """Send a request and read the whole answer. Raises ``NoAnswer``."""
        deadline = _Deadline(request.seconds)
        late = f"no answer from {target.authority} within {request.seconds:g} s"
        try:
            answer = self._send(target, request, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            is_late = deadline.is_over or isinstance(error, TimeoutError)
            raise NoAnswer(late if is_late else _explain(error, target)) from error
        if deadline.is_over:  # What was cut off can look like a whole answer.
            raise NoAnswer(late)
        if len(answer.body) > MAX_BYTES:
            raise NoAnswer(f"{target.authority} answered more than {MAX_BYTES // 1024} KiB")
        return answer

    def _send(self, target: Target, request: Request, deadline: "_Deadline") -> Answer:
        with self._connect(target, deadline) as sock, deadline.ending(sock):
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            connection = http.client.HTTPConnection(target.host, target.port)
            connection.sock = sock
            body = None if request.body is None else request.body.encode()
            headers = {"Host": target.authority, "Connection": "close", **request.headers}
            connection.request(request.method, target.path, body=body, headers=headers)
            with connection.getresponse() as response:
                content = response.read(MAX_BYTES + 1)
                if response.length and len(content) <= MAX_BYTES:
                    # Reading a part does not notice that the rest never came.
                    raise http.client.IncompleteRead(content, response.length)
                return Answer(status=response.status, content_type=response.headers.get_content_type(), body=content)

    def _connect(self, target: Target, deadline: "_Deadline") -> socket.socket:
        """Connect to the first address that lets us."""
        failure = OSError("no address")
        for address in target.addresses:
            try:
                sock = socket.create_connection((address, target.port), timeout=deadline.left())
            except OSError as error:
                failure = error
                continue
            if not target.secure:
                return sock
            return self._tls.wrap_socket(sock, server_hostname=target.host, do_handshake_on_connect=False)
        raise failure


class _Deadline:
    """Ends an exchange as a whole: a socket's own timeout begins anew with every byte that a slow host sends."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.is_over = False

    def left(self) -> float:
        return max(0.001, self._end - time.monotonic())

    @contextlib.contextmanager
    def ending(self, sock: socket.socket) -> Iterator[None]:
        timer = threading.Timer(self.left(), self._cut, args=(sock,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self, sock: socket.socket) -> None:
        self.is_over = True
        with contextlib.suppress(OSError):
            # Not SSLSocket's own, which would take the TLS state away under the thread that reads.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _explain(error: Exception, target: Target) -> str:
    host = target.authority
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {host} can't be verified: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS with {host} failed"
    if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
        return f"{host} broke off before its answer was whole"
    if isinstance(error, OSError):
        return f"{host} can't be reached: {error.strerror or error}"
    return f"{host} answered something that is not HTTP"
