"""The operator's own metrics; one registry for each process, injected."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from modelendpoint_operator.api.batch_status import Phase
from modelendpoint_operator.batch.plan import BatchPlan
from modelendpoint_operator.fleet import Fleet
from modelendpoint_operator.plan import Plan


class Telemetry:
    """What the operator counts about its own work."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.fleet = Fleet()
        self.registry.register(self.fleet)
        ProcessCollector(registry=self.registry)
        self.duration = Histogram(
            "modelendpoint_reconcile_duration_seconds", "Time of one pass over one object.", registry=self.registry
        )
        self._errors = Counter(
            "modelendpoint_reconcile_errors_total", "Passes that failed.", ["kind"], registry=self.registry
        )
        self._writes = Counter(
            "modelendpoint_writes_total", "Objects written or deleted.", ["verb"], registry=self.registry
        )
        self._depth = Gauge(
            "modelendpoint_workqueue_depth", "Objects that are due for a pass and wait for it.", registry=self.registry
        )
        self._late = Gauge(
            "modelendpoint_workqueue_late_seconds",
            "How long the first of them has waited.",
            registry=self.registry,
        )
        self.leader = Gauge("modelendpoint_leader", "1 while this pod is the active one.", registry=self.registry)

        self._runs = Counter(
            "modelendpoint_batch_runs_total", "Runs of BatchPredictions that ended.", ["result"], registry=self.registry
        )
        self._rows = Counter(
            "modelendpoint_batch_rows_total", "Rows of runs that were completed.", ["outcome"], registry=self.registry
        )
        # All are there from the start, so that the first one is an increase.
        for phase in (Phase.COMPLETE, Phase.FAILED):
            self._runs.labels(phase.lower())
        for outcome in ("predicted", "rejected"):
            self._rows.labels(outcome)
        self._missed = Counter(
            "modelendpoint_batch_missed_runs_total", "Runs that were due and did not start.", registry=self.registry
        )

    def watch_queue(self, backlog: Callable[[], tuple[int, float]]) -> None:
        """Ask the queue, whenever somebody looks, how many objects are due and for how many seconds."""
        self._depth.set_function(lambda: backlog()[0])
        self._late.set_function(lambda: backlog()[1])

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
