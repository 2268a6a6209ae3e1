"""``python -m modelendpoint_server monitor``: the process, from its environment to its exit code."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from modelendpoint_server.artifact.credentials import read_credentials
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.batch.places import Patience, Target
from modelendpoint_server.capture import is_sampled, threshold_of
from modelendpoint_server.cgroup import memory_size
from modelendpoint_server.errors import InvalidFrame, InvalidSettings
from modelendpoint_server.frames import Exchange, Introduction
from modelendpoint_server.logs import set_up_logging
from modelendpoint_server.management import serve_management
from modelendpoint_server.memory_cap import cap_memory
from modelendpoint_server.monitor.captures import Captures
from modelendpoint_server.monitor.decoding import decode
from modelendpoint_server.monitor.receiver import Inbox, Receiver
from modelendpoint_server.monitor.report import Report
from modelendpoint_server.monitor.sample import Windows
from modelendpoint_server.monitor.specification import CaptureWanted, MonitorSettings

_LOG = logging.getLogger(__name__)
_RESERVED_BYTES = 2 * 2**30
"""What the process may reserve beyond the container's memory: stacks and the heaps of threads, hardly touched."""
_LOOK_SECONDS = 0.5
_FINISH_SECONDS = 25.0
"""Time for the last files when the pod ends."""
_HASH_KEY = "key"
_FIELD = "monitoring.capture"


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    if arguments:
        print("usage: python -m modelendpoint_server monitor", file=sys.stderr)
        return 2
    try:
        settings = MonitorSettings.from_environment(environment)
    except InvalidSettings as error:
        print(f"modelendpoint_server: {error}", file=sys.stderr)
        return 2
    set_up_logging(settings.server)
    stop = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    Monitor(settings).run(stop)
    return 0


class Monitor:
    """The parts, put together; ``windows`` gets every sample that could be read."""

    def __init__(self, settings: MonitorSettings, *, windows: Windows | None = None) -> None:
        self._settings = settings
        self._windows = windows
        self._threshold = threshold_of(settings.capture.percent) if settings.capture else 0
        self._stop_stores = threading.Event()
        self._inbox = Inbox()
        self._captures = self._make_captures(settings.capture) if settings.capture else None
        self.report = Report(endpoint=settings.server.name, inbox=self._inbox, captures=self._captures, windows=windows)

    def run(self, stop: threading.Event) -> None:
        """Take samples until told to end, then store what is there."""
        server = self._settings.server
        management = serve_management(self.report.app(), host=server.host, port=server.management_port)
        receiver = Receiver(host=server.host, port=self._settings.port, inbox=self._inbox)
        if self._captures:
            self._captures.start()
        cap_memory(memory_size() + _RESERVED_BYTES)
        receiver.start()
        _LOG.info("Takes samples", extra={"port": receiver.port})
        while not stop.is_set():
            self._turn(timeout=_LOOK_SECONDS)
        receiver.stop()
        while self._turn(timeout=0):
            pass
        if self._captures:
            self._captures.finish(seconds=_FINISH_SECONDS)
        self._stop_stores.set()
        management.shutdown()

    def _turn(self, *, timeout: float) -> bool:
        """Take one exchange from the inbox; tell whether there was one."""
        taken = self._inbox.take(timeout=timeout)
        if taken is not None:
            try:
                self._count(*taken)
            except InvalidFrame as error:
                self.report.unreadable += 1
                _LOG.warning("Left out a sample: %s", error)
        if self._captures:
            self._captures.write_due(time.monotonic())
        return taken is not None

    def _count(self, exchange: Exchange, server: Introduction) -> None:
        if exchange.status >= 400:
            self.report.refused[server.revision, server.variant, exchange.status] += 1
            return
        sample = decode(exchange, server)
        self.report.decoded[server.revision, server.variant] += 1
        if not sample.rows:
            return
        if self._windows:
            self._windows.add(sample)
        if self._captures and is_sampled(sample.request_id, self._threshold):
            self._captures.add(sample, server.signature, size=exchange.size, now=time.monotonic())

    def _make_captures(self, wanted: CaptureWanted) -> Captures:
        settings = self._settings
        return Captures(
            wanted,
            open_target=lambda: Target(
                wanted.uri, self._access(), Patience(self._stop_stores, seconds=0), field=_FIELD
            ),
            read_key=self._hash_key,
            folder=settings.server.model_dir / "captures",
        )

    def _hash_key(self) -> bytes:
        try:
            return (self._settings.hash_key_dir / _HASH_KEY).read_bytes()
        except OSError:
            return b""

    def _access(self) -> Access:
        server = self._settings.server
        return Access(
            credentials=read_credentials(self._settings.credentials_dir),
            pvc_dir=server.pvc_dir,
            configmap_dir=server.configmap_dir,
            stall_seconds=server.download_stall_seconds,
            timeout_seconds=server.download_stall_seconds,
            service_account=server.service_account,
            refused_networks=server.refused_networks,
        )
