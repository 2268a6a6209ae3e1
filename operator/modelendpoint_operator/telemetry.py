"""The operator's own metrics; one registry for each process, injected."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from modelendpoint_operator.api.batch_status import Phase
from modelendpoint_operator.batch.plan import BatchPlan
from modelendpoint_operator.plan import Plan


class Telemetry:
    """What the operator counts about its own work."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.duration = Histogram(
            "modelendpoint_reconcile_duration_seconds", "Time of one pass over one object.", registry=self.registry
        )
        self._errors = Counter(
            "modelendpoint_reconcile_errors_total", "Passes that failed.", ["kind"], registry=self.registry
        )
        self._writes = Counter(
            "modelendpoint_writes_total", "Objects written or deleted.", ["verb"], registry=self.registry
        )
        self.queue = Gauge("modelendpoint_workqueue_depth", "Objects that wait for a pass.", registry=self.registry)
        self.leader = Gauge("modelendpoint_leader", "1 while this pod is the active one.", registry=self.registry)

        self._runs = Counter(
            "modelendpoint_batch_runs_total", "Runs of BatchPredictions that ended.", ["result"], registry=self.registry
        )
        self._rows = Counter(
            "modelendpoint_batch_rows_total", "Rows of runs that were completed.", ["outcome"], registry=self.registry
        )
        self._missed = Counter(
            "modelendpoint_batch_missed_runs_total", "Runs that were due and did not start.", registry=self.registry
        )

    def count(self, plan: Plan | BatchPlan) -> None:
        """Count what a pass wrote."""
        if isinstance(plan, BatchPlan):
            self._writes.labels("apply").inc(len(plan.creates) + len(plan.patches))
            self._count_run(plan)
        else:
            self._writes.labels("apply").inc(len(plan.applies))
            self._writes.labels("poke").inc(len(plan.pokes))
        self._writes.labels("delete").inc(len(plan.deletes))
        self._writes.labels("event").inc(len(plan.events))
        self._writes.labels("status").inc(0 if plan.status is None else 1)

    def _count_run(self, plan: BatchPlan) -> None:
        self._missed.inc(plan.missed_runs)
        if plan.ended is not None:
            self._runs.labels(plan.ended.lower()).inc()
        if plan.ended is Phase.COMPLETE and plan.status is not None and plan.status.progress is not None:
            self._rows.labels("predicted").inc(plan.status.progress.rows_out)
            self._rows.labels("rejected").inc(plan.status.progress.rows_rejected)

    def failed(self, error: Exception) -> None:
        """Count a failed pass."""
        self._errors.labels(type(error).__name__).inc()
