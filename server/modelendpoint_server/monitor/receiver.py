"""Takes connections of model servers, and puts what they send into a bounded inbox. Decodes no body.

A server that waits would keep samples that it has to drop later, so everything is read at once, and what the inbox has no
room for is dropped here and counted.
"""

import contextlib
import logging
import socket
import threading
from collections import deque

from modelendpoint_server.errors import InvalidFrame
from modelendpoint_server.frames import Exchange, Figures, Introduction, take_frame, write_count

_LOG = logging.getLogger(__name__)
_MOST_CONNECTIONS = 512
_READ_BYTES = 256 * 1024
_BACKLOG = 256
_ACCEPT_SECONDS = 0.5
_IDLE_SECONDS = 30.0


class Inbox:
    """What was received and not decoded yet, bounded by number and by bytes."""

    def __init__(self, *, most: int = 50_000, most_bytes: int = 64 * 2**20) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._entries: deque[tuple[Exchange, Introduction]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self.received = 0
        self.dropped = 0
        self.told = Figures(0, 0)
        """What the servers have counted."""

    def put(self, exchange: Exchange, server: Introduction) -> None:
        """Add an exchange, or drop and count it when there is no room."""
        size = exchange.size
        with self._changed:
            self.received += 1
            if len(self._entries) >= self._most or self._bytes + size > self._most_bytes:
                self.dropped += 1
                return
            self._entries.append((exchange, server))
            self._bytes += size
            self._changed.notify()

    def note(self, figures: Figures) -> None:
        """Add what a server has counted."""
        with self._changed:
            self.told = Figures(self.told.sampled + figures.sampled, self.told.dropped + figures.dropped)

    def take(self, *, timeout: float) -> tuple[Exchange, Introduction] | None:
        """Take the oldest; ``None`` when none comes in time."""
        with self._changed:
            if not self._entries and not self._changed.wait_for(lambda: bool(self._entries), timeout):
                return None
            exchange, server = self._entries.popleft()
            self._bytes -= exchange.size
            return exchange, server


class Receiver:
    """Listens, with a thread for each server."""

    def __init__(self, *, host: str, port: int, inbox: Inbox) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server(
            (host, port), family=family, dualstack_ipv6=host == "::", backlog=_BACKLOG
        )
        self._listener.settimeout(_ACCEPT_SECONDS)
        self._inbox = inbox
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="receiver", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many servers are connected."""
        return len(self._open)

    def start(self) -> None:
        """Begin to take connections."""
        self._acceptor.start()

    def stop(self) -> None:
        """Take no more; return when all that has come is in the inbox."""
        self._stopping.set()
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                # What has come is still read; then the connection looks closed.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        for thread in self._threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, address = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                _LOG.warning("A connection could not be taken", exc_info=True)
                self._stopping.wait(_ACCEPT_SECONDS)
                continue
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if len(self._threads) >= _MOST_CONNECTIONS:
                connection.close()
                continue
            thread = threading.Thread(target=self._serve, args=(connection, str(address[0])), daemon=True)
            with self._lock:
                self._open.add(connection)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket, peer: str) -> None:
        try:
            self._read(connection)
        except InvalidFrame as error:
            _LOG.warning("Closed a connection: %s", error, extra={"peer": peer})
        except (OSError, MemoryError) as error:
            _LOG.info("A connection ended: %s", error, extra={"peer": peer})
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _read(self, connection: socket.socket) -> None:
        connection.settimeout(_IDLE_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        buffer, server = bytearray(), None
        while True:
            try:
                data = connection.recv(_READ_BYTES)
            except TimeoutError:
                # A server without requests has nothing to send.
                continue
            if not data:
                return
            buffer += data
            taken = 0
            while (frame := take_frame(buffer)) is not None:
                if server is None:
                    server = Introduction.from_frame(frame)
                    continue
                if (figures := Figures.from_frame(frame)) is not None:
                    self._inbox.note(figures)
                    continue
                self._inbox.put(Exchange.from_frame(frame), server)
                taken += 1
            if taken:
                connection.sendall(write_count(taken))
