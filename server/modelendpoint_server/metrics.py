"""Prometheus metrics, one registry for each app; names are a promise (docs/server-api.md)."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Everything that is counted."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "modelserver_requests", "Answered requests.", ["protocol", "code"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "modelserver_request_duration_seconds",
            "Time from a request's arrival to its answer.",
            ["protocol"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def render(self) -> bytes:
        """Write the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
