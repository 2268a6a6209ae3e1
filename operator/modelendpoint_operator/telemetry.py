"""The operator's own metrics; one registry for each process, injected."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from modelendpoint_operator.plan import Plan


class Telemetry:
    """What the operator counts about its own work."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.duration = Histogram(
            "modelendpoint_reconcile_duration_seconds", "Time of one pass over one endpoint.", registry=self.registry
        )
        self._errors = Counter(
            "modelendpoint_reconcile_errors_total", "Passes that failed.", ["kind"], registry=self.registry
        )
        self._writes = Counter(
            "modelendpoint_writes_total", "Objects written or deleted.", ["verb"], registry=self.registry
        )
        self.queue = Gauge("modelendpoint_workqueue_depth", "Endpoints that wait for a pass.", registry=self.registry)
        self.leader = Gauge("modelendpoint_leader", "1 while this pod is the active one.", registry=self.registry)

    def count(self, plan: Plan) -> None:
        """Count what a pass wrote."""
        self._writes.labels("apply").inc(len(plan.applies))
        self._writes.labels("poke").inc(len(plan.pokes))
        self._writes.labels("delete").inc(len(plan.deletes))
        self._writes.labels("event").inc(len(plan.events))
        self._writes.labels("status").inc(0 if plan.status is None else 1)

    def failed(self, error: Exception) -> None:
        """Count a failed pass."""
        self._errors.labels(type(error).__name__).inc()
