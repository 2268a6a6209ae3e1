"""Samples of requests and answers, sent to the endpoint's monitor. A request never waits for any of this, nor fails by it.

A request that is sampled costs one entry in a bounded queue: references to bytes that are there anyway, nothing copied and
nothing parsed. One thread sends them, some times a second, over one connection. What the queue has no room for, and what
was sent and not taken, is counted as dropped: sampled = sent + dropped + what is on its way.
"""

import contextlib
import dataclasses
import logging
import select
import socket
import threading
import time
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from modelendpoint_server.frames import Exchange, Figures, Introduction, take_counts
from modelendpoint_server.protocols import Answer, Head

_LOG = logging.getLogger(__name__)

MOST_EXCHANGES = 4096
MOST_BYTES = 16 * 2**20
_SEND_SECONDS = 0.05
"""How often is sent what has come. Waking the thread for each request would cost the request more than all the rest."""
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 3.0
"""How long the monitor may take to take anything at all."""
_LONGEST_PAUSE_SECONDS = 10.0
_AT_ONCE = 32
"""Exchanges of one system call. To write the heads of so many takes 0.1 ms, in which no request can go on."""
_LONGEST_ID = 256
_NOBODY = Head()


@dataclasses.dataclass(frozen=True)
class Config:
    """What the operator wrote into the mounted file."""

    percent: float = 0.0
    address: tuple[str, int] | None = None
    variants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names of variants and shadows, by their revisions; the pods themselves are told of none."""

    @classmethod
    def read(cls, file: Path) -> "Config":
        """Read the file; one that is not there, or not as it should be, turns sampling off."""
        try:
            document = orjson.loads(file.read_bytes())
            host, _, port = document["address"].rpartition(":")
            return cls(float(document["percent"]), (host, int(port)), dict(document.get("variants") or {}))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _LOG.warning("The configuration of monitoring can't be used: %r", error)
            return cls()


def is_sampled(request_id: str, threshold: int) -> bool:
    """Tell whether a request belongs to the sample, the same way in every server that gets it."""
    # CRC-32 alone is linear: ids that differ in a counter only would not be spread like chance.
    return (zlib.crc32(request_id.encode("utf-8", "replace")) * 0x9E3779B1) & 0xFFFFFFFF < threshold


def threshold_of(percent: float) -> int:
    """Return the threshold for a share of all requests."""
    return round(min(max(percent, 0.0), 100.0) / 100 * 2**32)


class Capture(Collector):
    """Takes samples while the file says so, and sends them."""

    def __init__(
        self, file: Path, introduce: Callable[[str], Introduction | None], *, endpoint: str, revision: str
    ) -> None:
        self._file = file
        self._names, self._values = ["endpoint", "revision"], [endpoint, revision]
        self._introduce = introduce
        self._threshold = 0
        self._lock = threading.Lock()
        self._queue: deque[Exchange] = deque()
        self._bytes = 0
        self._sampled = self._sent = 0
        self._dropped = {"full": 0, "lost": 0}
        self._told = Figures(0, 0)
        """What the monitor knows of these numbers."""
        self._config = Config()
        self._modified: int | None = None
        self._looks_at = 0.0
        self._connection: _Connection | None = None
        self._tries_at = 0.0
        self._pause = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Begin to look at the file, and to send."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the connection."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._disconnect(time.monotonic())

    def take(
        self,
        environ: Mapping[str, Any],
        protocol: str,
        *,
        head: Head = _NOBODY,
        request: bytes = b"",
        answer: Answer,
        status: int = 200,
    ) -> None:
        """Put an exchange into the queue, if it is one of the sample. Never waits and never raises."""
        threshold = self._threshold
        if not threshold:
            return
        try:
            # A request without an id came past the router.
            request_id = environ.get("HTTP_X_REQUEST_ID") or uuid.uuid4().hex
            if len(request_id) > _LONGEST_ID or not is_sampled(request_id, threshold):
                return
            exchange = Exchange(
                request_id,
                time.time(),  # noqa: TID251  samples are dated here and nowhere else
                protocol,
                status,
                request,
                answer.body,
                head.content_type,
                head.parameters,
                head.header_length,
                answer.content_type,
                answer.header_length,
            )
        except Exception:  # noqa: BLE001  whatever it is, the request has its answer
            _LOG.warning("A request could not be sampled", exc_info=True)
            return
        size = exchange.size
        with self._lock:
            self._sampled += 1
            if self._bytes + size > MOST_BYTES or len(self._queue) >= MOST_EXCHANGES:
                self._dropped["full"] += 1
                return
            self._queue.append(exchange)
            self._bytes += size

    def collect(self) -> Iterator[Metric]:
        """Hand the figures to the Prometheus client."""
        with self._lock:
            sampled, sent, dropped = self._sampled, self._sent, dict(self._dropped)
        for name, text, count in (
            ("sampled", "Requests that belong to the sample.", sampled),
            ("sent", "Samples that the monitor has taken.", sent),
        ):
            family = CounterMetricFamily(f"modelserver_capture_{name}", text, labels=self._names)
            family.add_metric(self._values, count)
            yield family
        family = CounterMetricFamily(
            "modelserver_capture_dropped",
            "Samples that the queue had no room for (full), or that were sent and not taken (lost).",
            labels=[*self._names, "reason"],
        )
        for reason, count in dropped.items():
            family.add_metric([*self._values, reason], count)
        yield family

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                self.turn(time.monotonic())
            except Exception:  # noqa: BLE001  a thread that is gone would never sample again
                _LOG.warning("Samples could not be sent", exc_info=True)
                self._disconnect(time.monotonic())
            pause = _SEND_SECONDS if self._threshold or self._connection else _LOOK_SECONDS

    def turn(self, now: float) -> None:
        """Look at the file if it is time, and send what has come."""
        if now >= self._looks_at:
            self._looks_at = now + _LOOK_SECONDS
            self._look()
        try:
            connection = self._connected(now)
            if connection is None:
                self._forget_unwanted()
                return
            self._count_taken(connection)
            self._tell(connection)
            while exchanges := self._next(_AT_ONCE):
                connection.send(exchanges)
                self._count_taken(connection)
            if not self._threshold and not connection.outstanding:
                self._disconnect(0.0)
        except OSError as error:
            _LOG.warning("The monitor can't be reached: %s", error)
            self._disconnect(now)

    def _look(self) -> None:
        try:
            modified: int | None = self._file.stat().st_mtime_ns
        except OSError:
            modified = None
        if modified == self._modified:
            return
        self._modified = modified
        config = Config.read(self._file) if modified is not None else Config()
        if config.address and config.address != self._config.address:
            self._disconnect(0.0)
            self._tries_at = self._pause = 0.0
        self._config = config
        self._threshold = threshold_of(config.percent) if config.address else 0

    def _forget_unwanted(self) -> None:
        """Drop what waits when nobody wants samples any more and nobody is there to take the last ones."""
        with self._lock:
            if not self._threshold and self._queue:
                self._dropped["lost"] += len(self._queue)
                self._queue.clear()
                self._bytes = 0

    def _connected(self, now: float) -> "_Connection | None":
        """Return the connection; make it when there is something to send and the last try is some time ago."""
        if self._connection is not None or not self._queue or now < self._tries_at:
            return self._connection
        introduction, address = self._introduce(self._config.variants.get(self._values[1], "")), self._config.address
        if introduction is None or address is None:
            return None
        self._connection = _Connection(address, introduction)
        self._pause = 0.0
        return self._connection

    def _disconnect(self, now: float) -> None:
        """Give up the connection, and with it what was not taken; the queue stays."""
        connection, self._connection = self._connection, None
        self._pause = min(max(2 * self._pause, 0.5), _LONGEST_PAUSE_SECONDS)
        self._tries_at = now + self._pause
        if connection is not None:
            with self._lock:
                self._dropped["lost"] += connection.outstanding
            connection.close()

    def _next(self, most: int) -> list[Exchange]:
        with self._lock:
            exchanges = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
            self._bytes -= sum(exchange.size for exchange in exchanges)
        return exchanges

    def _tell(self, connection: "_Connection") -> None:
        """Let the monitor know what was counted, so that it can be seen in one place for all servers."""
        with self._lock:
            now = Figures(self._sampled, sum(self._dropped.values()))
        if now != self._told:
            connection.tell(Figures(now.sampled - self._told.sampled, now.dropped - self._told.dropped))
            self._told = now

    def _count_taken(self, connection: "_Connection") -> None:
        taken = connection.taken()
        if taken:
            with self._lock:
                self._sent += taken
        if connection.is_closed:
            raise ConnectionError("it has closed the connection")


class _Connection:
    """A connection to the monitor."""

    def __init__(self, address: tuple[str, int], introduction: Introduction) -> None:
        self._socket = socket.create_connection(address, timeout=_PATIENCE_SECONDS)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self.outstanding = 0
        """Exchanges that were sent and not taken yet."""
        self.is_closed = False
        """Whether the monitor has ended it."""
        try:
            self._send([introduction.as_bytes()])
        except OSError:
            self.close()
            raise

    def send(self, exchanges: Sequence[Exchange]) -> None:
        """Send exchanges; raise ``OSError`` when the monitor does not take them."""
        self.outstanding += len(exchanges)
        self._send([part for exchange in exchanges for part in exchange.as_parts() if part])

    def tell(self, figures: Figures) -> None:
        """Send figures."""
        self._send([figures.as_bytes()])

    def _send(self, parts: Sequence[bytes]) -> None:
        views = deque(memoryview(part) for part in parts)
        while views:
            try:
                sent = self._socket.sendmsg(views)
            except BlockingIOError:
                self._wait()
                continue
            while views and sent >= len(views[0]):
                sent -= len(views.popleft())
            if sent:
                views[0] = views[0][sent:]

    def _wait(self) -> None:
        """Wait until the monitor takes more."""
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        if not poll.poll(_PATIENCE_SECONDS * 1000):
            raise TimeoutError(f"it has taken nothing for {_PATIENCE_SECONDS:g} s")

    def taken(self) -> int:
        """Return how many exchanges it has taken since this was asked last."""
        with contextlib.suppress(BlockingIOError):
            while data := self._socket.recv(4096):
                self._received += data
            self.is_closed = True
        taken = take_counts(self._received)
        self.outstanding -= taken
        return taken

    def close(self) -> None:
        """Close it."""
        self._socket.close()
