"""Prometheus metrics of one server; names and labels are a promise (docs/server-api.md).

Counted by hand under one lock, because a request may spend a microsecond on it, not ten. No module-level metrics.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0)


class Histogram:
    """Counts by bucket; its owner holds the lock."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return cumulative counts by upper bound."""
        count, result = 0, []
        for bound, own in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            count += own
            result.append((bound, float(count)))
        return result


class Metrics(Collector):
    """Everything that is counted, with the endpoint and the revision on each figure."""

    def __init__(self, *, endpoint: str, revision: str) -> None:
        self._lock = threading.Lock()
        self._names = ["endpoint", "revision"]
        self._values = [endpoint, revision]
        self._requests: Counter[tuple[str, str]] = Counter()
        self._durations: dict[str, Histogram] = {}
        self._inference = Histogram(_SECONDS)
        self._queue = Histogram(_SECONDS)
        self._batches = Histogram(_SIZES)
        self._rows = 0
        self._non_finite: Counter[str] = Counter()
        self._last_output: dict[str, object] = {}
        self._unchanged: Counter[str] = Counter()
        self._info: dict[str, str] = {}
        self._load_seconds = 0.0
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def count_request(self, protocol: str, code: int, seconds: float) -> None:
        """Count an answered request."""
        with self._lock:
            self._requests[protocol, str(code)] += 1
            histogram = self._durations.get(protocol)
            if histogram is None:
                histogram = self._durations[protocol] = Histogram(_SECONDS)
            histogram.observe(seconds)

    def count_run(self, *, queued: float, ran: float, rows: int) -> None:
        """Count a prediction: seconds in the queue, seconds in ONNX Runtime, rows."""
        with self._lock:
            self._queue.observe(queued)
            self._inference.observe(ran)
            self._batches.observe(rows)
            self._rows += rows

    def count_output(self, name: str, first: object, *, non_finite: int) -> None:
        """Note an output's first value and how many of its values are NaN or infinite."""
        with self._lock:
            if non_finite:
                self._non_finite[name] += non_finite
            if self._last_output.get(name, self) == first:
                self._unchanged[name] += 1
            else:
                self._last_output[name] = first
                self._unchanged[name] = 0

    def set_model(self, info: dict[str, str], *, load_seconds: float) -> None:
        """Say which model was loaded and how long that took."""
        with self._lock:
            self._info, self._load_seconds = info, load_seconds

    def render(self) -> bytes:
        """Write the metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Hand the figures to the Prometheus client."""
        with self._lock:
            yield from [*self._request_metrics(), *self._run_metrics(), *self._model_metrics()]

    def _request_metrics(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "modelserver_requests", "Answered requests.", labels=[*self._names, "protocol", "code"]
        )
        for (protocol, code), count in self._requests.items():
            requests.add_metric([*self._values, protocol, code], count)
        yield requests
        durations = HistogramMetricFamily(
            "modelserver_request_duration_seconds",
            "Time from a request's arrival to its answer.",
            labels=[*self._names, "protocol"],
        )
        for protocol, histogram in self._durations.items():
            durations.add_metric([*self._values, protocol], histogram.buckets(), histogram.total)
        yield durations

    def _run_metrics(self) -> Iterator[Metric]:
        for name, text, histogram in (
            ("inference_duration_seconds", "Time of one run in ONNX Runtime.", self._inference),
            ("queue_duration_seconds", "Time that a prediction waited for its turn.", self._queue),
            ("batch_size", "Rows of one request or batch.", self._batches),
        ):
            family = HistogramMetricFamily(f"modelserver_{name}", text, labels=self._names)
            family.add_metric(self._values, histogram.buckets(), histogram.total)
            yield family
        rows = CounterMetricFamily("modelserver_input_rows", "Rows that were predicted.", labels=self._names)
        rows.add_metric(self._values, self._rows)
        yield rows

    def _model_metrics(self) -> Iterator[Metric]:
        non_finite = CounterMetricFamily(
            "modelserver_non_finite_outputs",
            "Output values that were NaN or infinite.",
            labels=[*self._names, "output"],
        )
        unchanged = GaugeMetricFamily(
            "modelserver_unchanged_outputs",
            "Requests in a row whose first value of the output was the same; large for a model that is stuck.",
            labels=[*self._names, "output"],
        )
        for output, count in self._unchanged.items():
            unchanged.add_metric([*self._values, output], count)
            non_finite.add_metric([*self._values, output], self._non_finite[output])
        yield non_finite
        yield unchanged
        if self._info:
            info = InfoMetricFamily("modelserver_model", "The loaded model.", labels=self._names)
            info.add_metric(self._values, self._info)
            yield info
            loading = GaugeMetricFamily(
                "modelserver_model_load_duration_seconds", "Time from start to ready.", labels=self._names
            )
            loading.add_metric(self._values, self._load_seconds)
            yield loading
