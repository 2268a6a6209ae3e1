"""What the monitor says about itself and the samples: the report, the metrics, and the app of the management port.

The report, as the operator reads it::

    {"state": "Ready", "servers": {"sampled": 1210, "dropped": 0}, "received": 1200, "dropped": 0,
     "decoded": [{"revision": "7", "variant": "", "samples": 1190}],
     "refused": [{"revision": "7", "variant": "", "status": 400, "samples": 10}],
     "capture": {"captured": 1000, "rows": 1000, "files": 3, "bytes": 90000, "waiting": 190, "dropped": 0,
                 "lastWrite": 1764082000.0, "reason": null, "message": null},
     "drift": {...}}

``servers`` is what the model servers have counted, ``received`` all that came here; of it ``dropped`` was not looked at. ``capture`` is null without a store, its
``dropped`` are samples that will never be in it, and ``reason`` and ``message`` say what keeps it from working now.
``drift`` is what ``watch.DriftWatch.report`` returns; null where it is not wanted. All numbers begin at 0 with the process.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelendpoint_server.monitor.captures import Captures
from modelendpoint_server.monitor.receiver import Inbox
from modelendpoint_server.monitor.watch import DriftWatch

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Report(Collector):
    """All figures as of now; asked by other threads."""

    def __init__(self, *, endpoint: str, inbox: Inbox, captures: Captures | None, drift: DriftWatch | None) -> None:
        self._endpoint = endpoint
        self._inbox = inbox
        self._captures = captures
        self._drift = drift
        self.decoded: Counter[tuple[str, str]] = Counter()
        """Samples that were read, by revision and variant."""
        self.refused: Counter[tuple[str, str, int]] = Counter()
        """Sampled requests that were answered with an error, by revision, variant and status."""
        self.unreadable = 0
        self.registry = CollectorRegistry()
        self.registry.register(self)
        if drift is not None:
            self.registry.register(drift)

    def as_json(self) -> dict[str, Any]:
        """Return the report as the operator reads it."""
        return {
            "state": "Ready",
            "servers": self._inbox.told._asdict(),
            "received": self._inbox.received,
            "dropped": self._inbox.dropped + self.unreadable,
            "decoded": [
                {"revision": revision, "variant": variant, "samples": count}
                for (revision, variant), count in sorted(self.decoded.items())
            ],
            "refused": [
                {"revision": revision, "variant": variant, "status": status, "samples": count}
                for (revision, variant, status), count in sorted(self.refused.items())
            ],
            "capture": self._captures.figures.as_json() if self._captures else None,
            "drift": self._drift.report() if self._drift else None,
        }

    def collect(self) -> Iterator[Metric]:
        """Hand the figures to the Prometheus client."""
        yield self._count("received", "Samples that model servers have sent.", self._inbox.received)
        dropped = CounterMetricFamily(
            "modelmonitor_samples_dropped", "Samples that were lost here, by reason.", labels=["endpoint", "reason"]
        )
        reasons = dict(self._captures.figures.dropped) if self._captures else {}
        for reason, count in {"InboxFull": self._inbox.dropped, "Unreadable": self.unreadable, **reasons}.items():
            dropped.add_metric([self._endpoint, reason], count)
        yield dropped
        refused = CounterMetricFamily(
            "modelmonitor_refused_requests",
            "Sampled requests that were answered with an error.",
            labels=["endpoint", "revision", "variant", "code"],
        )
        for (revision, variant, status), count in self.refused.items():
            refused.add_metric([self._endpoint, revision, variant, str(status)], count)
        yield refused
        if self._captures is None:
            return
        figures = self._captures.figures
        yield self._count("captured", "Samples that are in the store.", figures.samples)
        for name, text, value in (
            ("samples_waiting", "Samples that are on their way to the store.", figures.waiting),
            ("last_write_timestamp_seconds", "When a file was stored last.", figures.last_write or 0),
        ):
            gauge = GaugeMetricFamily(f"modelmonitor_{name}", text, labels=["endpoint"])
            gauge.add_metric([self._endpoint], value)
            yield gauge

    def _count(self, name: str, text: str, value: int) -> CounterMetricFamily:
        family = CounterMetricFamily(f"modelmonitor_samples_{name}", text, labels=["endpoint"])
        family.add_metric([self._endpoint], value)
        return family

    def app(self) -> "WSGIApplication":
        """Make the app of the management port."""

        def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
            pages: Mapping[str, tuple[Callable[[], bytes], str]] = {
                "/report": (lambda: orjson.dumps(self.as_json()), "application/json"),
                "/metrics": (lambda: generate_latest(self.registry), "text/plain; version=0.0.4; charset=utf-8"),
                "/livez": (lambda: b"ok\n", "text/plain"),
                "/readyz": (lambda: b"ok\n", "text/plain"),
            }
            page = pages.get(environ.get("PATH_INFO", ""))
            if page is None:
                start_response("404 Not Found", [("Content-Length", "0")])
                return []
            body = page[0]()
            start_response("200 OK", [("Content-Type", page[1]), ("Content-Length", str(len(body)))])
            return [body]

        return answer
