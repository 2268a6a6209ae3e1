"""How full a server is: memory, processor, places for predictions; read only when Prometheus asks.

What is counted with each request must not be here (``metrics``).
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelendpoint_server.admission import Admission
from modelendpoint_server.cgroup import ROOT, memory_in_use


class Machine(NamedTuple):
    """What the server may use."""

    cores: int
    memory: int
    """Bytes: the container's limit without the reserve (``memory_cap``)."""


class Saturation(Collector):
    """Gauges of one server, with the endpoint and the revision on each figure."""

    def __init__(
        self, *, endpoint: str, revision: str, machine: Machine, admission: Admission, is_ready: Callable[[], bool]
    ) -> None:
        self._names = ["endpoint", "revision"]
        self._values = [endpoint, revision]
        self._machine = machine
        self._admission = admission
        self._is_ready = is_ready

    def describe(self) -> list[Metric]:
        """Name nothing in advance: to be registered must not read anything."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the figures."""
        admission, machine = self._admission, self._machine
        figures = (
            ("ready", "1 while the server takes requests.", float(self._is_ready())),
            ("memory_bytes", "Memory in use that the kernel can't take back.", memory_used()),
            ("memory_limit_bytes", "Memory that the server may use; beyond it requests fail.", machine.memory),
            ("cpu_cores", "Cores that the server may use.", machine.cores),
            ("requests_running", "Predictions that have a place.", admission.running),
            ("requests_running_limit", "Places for predictions.", admission.places),
            ("requests_waiting", "Predictions that wait for a place.", admission.waiting),
            ("requests_waiting_limit", "Predictions that may wait; more are turned away.", admission.most_waiting),
        )
        for name, text, value in figures:
            if value is not None:
                family = GaugeMetricFamily(f"modelserver_{name}", text, labels=self._names)
                family.add_metric(self._values, value)
                yield family
        seconds = CounterMetricFamily("modelserver_cpu_seconds", "Processor time of the server.", labels=self._names)
        seconds.add_metric(self._values, time.process_time())
        yield seconds


def memory_used(root: Path = ROOT, statm: Path = Path("/proc/self/statm")) -> int | None:
    """Return the bytes that count against the limit: the container's, or outside one this process's; None on macOS."""
    in_container = memory_in_use(root)
    if in_container is not None:
        return in_container
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
