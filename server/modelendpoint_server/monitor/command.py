"""``python -m modelendpoint_server monitor``: the process, from its environment to its exit code."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from modelendpoint_server.artifact.credentials import read_credentials
from modelendpoint_server.artifact.fetch import fetch_bytes
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.batch.places import Patience, Target
from modelendpoint_server.capture import is_sampled, threshold_of
from modelendpoint_server.cgroup import memory_size
from modelendpoint_server.errors import InvalidFrame, InvalidSettings, ModelError
from modelendpoint_server.frames import Exchange, Introduction
from modelendpoint_server.logs import set_up_logging
from modelendpoint_server.management import serve_management
from modelendpoint_server.memory_cap import cap_memory
from modelendpoint_server.monitor.captures import Captures
from modelendpoint_server.monitor.decoding import decode
from modelendpoint_server.monitor.receiver import Inbox, Receiver
from modelendpoint_server.monitor.report import Report
from modelendpoint_server.monitor.specification import CaptureWanted, MonitorSettings
from modelendpoint_server.monitor.watch import DriftWanted, DriftWatch

_LOG = logging.getLogger(__name__)
_RESERVED_BYTES = 2 * 2**30
"""What the process may reserve beyond the container's memory: stacks and the heaps of threads, hardly touched."""
_LOOK_SECONDS = 0.5
_FINISH_SECONDS = 25.0
"""Time for the last files when the pod ends."""
_HASH_KEY = "key"
_MOST_REFERENCE_BYTES = 8 * 2**20
_FIELD = "monitoring.capture"


def main(arguments: Sequence[str], environment: Mapping[str, str], *, clock: Callable[[], float]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    if arguments:
        print("usage: python -m modelendpoint_server monitor", file=sys.stderr)
        return 2
    try:
        settings = MonitorSettings.from_environment(environment)
        monitor = Monitor(settings, clock=clock)
    except InvalidSettings as error:
        print(f"modelendpoint_server: {error}", file=sys.stderr)
        return 2
    set_up_logging(settings.server)
    stop = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    monitor.run(stop)
    return 0


class Monitor:
    """The parts, put together."""

    def __init__(self, settings: MonitorSettings, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._threshold = threshold_of(settings.capture.percent) if settings.capture else 0
        self._stop_stores = threading.Event()
        self._inbox = Inbox()
        self._captures = self._make_captures(settings.capture) if settings.capture else None
        self._drift = self._make_drift(told, clock) if (told := settings.document.get("drift")) else None
        self.report = Report(
            endpoint=settings.server.name, inbox=self._inbox, captures=self._captures, drift=self._drift
        )

    def run(self, stop: threading.Event) -> None:
        """Take samples until told to end, then store what is there."""
        server = self._settings.server
        management = serve_management(self.report.app(), host=server.host, port=server.management_port)
        receiver = Receiver(host=server.host, port=self._settings.port, inbox=self._inbox)
        if self._captures:
            self._captures.start()
        if self._drift:
            threading.Thread(target=self._drift.keep, args=(stop,), name="reference", daemon=True).start()
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
        if self._drift:
            self._drift.add(sample)
        if self._captures and is_sampled(sample.request_id, self._threshold):
            self._captures.add(sample, server.signature, size=exchange.size, now=time.monotonic())

    def _make_captures(self, wanted: CaptureWanted) -> Captures:
        settings = self._settings
        return Captures(
            wanted,
            open_target=lambda: Target(
                wanted.uri, self._access(settings.credentials_dir), Patience(self._stop_stores, seconds=0), field=_FIELD
            ),
            read_key=self._hash_key,
            folder=settings.server.model_dir / "captures",
        )

    def _make_drift(self, told: Mapping[str, Any], clock: Callable[[], float]) -> DriftWatch:
        def fetch(uri: str) -> bytes:
            try:
                access = self._access(self._settings.reference_credentials_dir)
                return fetch_bytes(uri, access=access, most=_MOST_REFERENCE_BYTES)
            except ModelError as error:
                error.args = (str(error).replace("model.", "monitoring.drift.reference."),)
                raise

        wanted = DriftWanted.from_json(told)
        return DriftWatch(wanted, endpoint=self._settings.server.name, fetch=fetch, clock=clock)

    def _hash_key(self) -> bytes:
        try:
            return (self._settings.hash_key_dir / _HASH_KEY).read_bytes()
        except OSError:
            return b""

    def _access(self, credentials: Path) -> Access:
        server = self._settings.server
        return Access(
            credentials=read_credentials(credentials),
            pvc_dir=server.pvc_dir,
            configmap_dir=server.configmap_dir,
            stall_seconds=server.download_stall_seconds,
            timeout_seconds=server.download_stall_seconds,
            service_account=server.service_account,
            refused_networks=server.refused_networks,
        )
