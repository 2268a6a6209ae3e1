"""What a batch pod says about itself while it works: the report, the metrics and the last words for the kubelet."""

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_MOST_BYTES = 4096
"""What the kubelet keeps of a termination message."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Status:
    """A moment of a pod's work; rows of all shards of its index, those that were committed before included."""

    state: str = "Starting"
    reason: str | None = None
    message: str | None = None
    shards: int = 0
    shards_done: int = 0
    rows: int | None = None
    """Rows of the whole input, when known."""
    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    sha256: str | None = None
    manifest: str | None = None
    comparison: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the operator reads it."""
        return {
            "state": self.state,
            "reason": self.reason,
            "message": self.message,
            "shards": self.shards,
            "shardsDone": self.shards_done,
            "rows": self.rows,
            "rowsIn": self.rows_in,
            "rowsOut": self.rows_out,
            "rowsRejected": self.rows_rejected,
            "sha256": self.sha256,
            "manifest": self.manifest,
            "compare": self.comparison,
        }


class Progress(Collector):
    """The status as of now; read by other threads."""

    def __init__(self, *, name: str, revision: str) -> None:
        self._lock = threading.Lock()
        self._names, self._values = ["endpoint", "revision"], [name, revision]
        self._status = Status()
        self.registry = CollectorRegistry()
        self.registry.register(self)

    @property
    def status(self) -> Status:
        """The status as of now."""
        return self._status

    def set(self, **changes: Any) -> None:
        """Change some of it."""
        with self._lock:
            self._status = dataclasses.replace(self._status, **changes)

    def count(self, *, rows_in: int, rows_out: int, rows_rejected: int, shards_done: int = 0) -> None:
        """Add to the figures."""
        with self._lock:
            status = self._status
            self._status = dataclasses.replace(
                status,
                rows_in=status.rows_in + rows_in,
                rows_out=status.rows_out + rows_out,
                rows_rejected=status.rows_rejected + rows_rejected,
                shards_done=status.shards_done + shards_done,
            )

    def collect(self) -> Iterator[Metric]:
        """Hand the figures to the Prometheus client."""
        status = self._status
        rows = CounterMetricFamily("modelserver_batch_rows", "Rows that were worked.", labels=[*self._names, "outcome"])
        rows.add_metric([*self._values, "predicted"], status.rows_out)
        rows.add_metric([*self._values, "rejected"], status.rows_rejected)
        yield rows
        for name, text, value in (
            ("shards", "Shards of this pod's index.", status.shards),
            ("shards_done", "Shards of this pod's index that are committed.", status.shards_done),
        ):
            gauge = GaugeMetricFamily(f"modelserver_batch_{name}", text, labels=self._names)
            gauge.add_metric(self._values, value)
            yield gauge

    def app(self, others: Sequence[CollectorRegistry]) -> "WSGIApplication":
        """Make the app of the management port; ``others`` are the registries of the models, which may come later."""

        def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
            path = environ.get("PATH_INFO")
            if path == "/report":
                body, kind = orjson.dumps(self._status.as_json()), "application/json"
            elif path == "/metrics":
                body = b"".join(map(generate_latest, [self.registry, *others]))
                kind = "text/plain; version=0.0.4; charset=utf-8"
            elif path in ("/livez", "/readyz"):
                body, kind = b"ok\n", "text/plain"
            else:
                start_response("404 Not Found", [("Content-Length", "0")])
                return []
            start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
            return [body]

        return answer


def write_last_words(file: Path, status: Status) -> None:
    """Leave the status for the kubelet; the message is cut so that the rest always fits."""
    document = status.as_json()
    text = orjson.dumps(document)
    if len(text) > _MOST_BYTES and status.message:
        spare = _MOST_BYTES - (len(text) - len(orjson.dumps(status.message)))
        message = status.message
        while message and len(orjson.dumps(message)) > spare:
            message = message[: max(0, len(message) - 20 - (len(orjson.dumps(message)) - spare) // 6)]
        text = orjson.dumps({**document, "message": message})
    file.write_bytes(text)
