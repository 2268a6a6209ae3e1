"""Conditions of a BatchPrediction, derived last; the only writer of them. Nothing reads one to decide anything.

As for endpoints they follow kstatus. Complete and Failed are there for ``kubectl wait``, only while they are true.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.api.batch_status import BatchCondition, BatchConditionType, Failure, Phase, Progress
from modelendpoint_operator.batch.failures import trouble_of
from modelendpoint_operator.batch.machine import STAGES, Course
from modelendpoint_operator.batch.observation import BatchObservation
from modelendpoint_operator.conditions import Story

WAITS_FOR_OTHERS = ("EndpointNotReady",)
"""Obstacles that go away without a person."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What the conditions of a run are derived from."""

    batch: BatchPrediction
    seen: BatchObservation
    course: Course
    deadline: timedelta
    """Time that pods have to start."""
    now: datetime


def derive_conditions(view: View) -> list[BatchCondition]:
    """Derive all conditions of a run."""
    phase = view.course.status.phase
    ended = {Phase.COMPLETE: BatchConditionType.COMPLETE, Phase.FAILED: BatchConditionType.FAILED}.get(
        phase or Phase.PENDING
    )
    return build_conditions(view.batch, _tell(view), ended=ended, now=view.now)


def build_conditions(
    batch: BatchPrediction, story: Story, *, ended: BatchConditionType | None = None, now: datetime
) -> list[BatchCondition]:
    """Write a story down as conditions."""
    wanted = [(BatchConditionType.READY, story.good)]
    if story.reconciling:
        wanted.append((BatchConditionType.RECONCILING, True))
    if story.stalled:
        wanted.append((BatchConditionType.STALLED, True))
    if ended is not None:
        wanted.append((ended, True))
    return [_condition(batch, kind, holds, story, now=now) for kind, holds in wanted]


def _condition(
    batch: BatchPrediction, kind: BatchConditionType, holds: bool, story: Story, *, now: datetime
) -> BatchCondition:
    status = "True" if holds else "False"
    before = next((told for told in batch.status.conditions if told.type == kind and told.status == status), None)
    return BatchCondition(
        type=kind,
        status=status,
        reason=story.reason,
        message=story.message,
        last_transition_time=before.last_transition_time if before else now.replace(microsecond=0),
        observed_generation=batch.generation,
    )


def _tell(view: View) -> Story:
    batch, status = view.batch, view.course.status
    if status.phase is Phase.COMPLETE:
        assert status.progress is not None
        return Story(
            reason="Complete", message=f"{_counts(status.progress)}; the manifest is {status.manifest}", good=True
        )
    if status.phase is Phase.FAILED:
        assert status.failure is not None
        return Story(
            reason=status.failure.reason, message=_with_retry(batch, status.failure, status.attempt), stalled=True
        )
    if batch.spec.suspend:
        return Story(reason="Suspended", message="spec.suspend is true: set it to false to go on")
    obstacle = view.course.obstacle
    if obstacle is not None:
        waits = obstacle.reason in WAITS_FOR_OTHERS
        return Story(reason=obstacle.reason, message=obstacle.message, reconciling=waits, stalled=not waits)
    return _tell_work(view)


def _tell_work(view: View) -> Story:
    status, seen = view.course.status, view.seen
    phase = status.phase or Phase.PENDING
    stage = STAGES.get(phase)
    if stage is None:
        return Story(reason="Pending", message="The run has not started", reconciling=True)
    workers = seen.workers_of(stage, status.attempt)
    stuck = sorted(worker.trouble for worker in workers if worker.trouble and not worker.ended)
    running = sum(not worker.ended and not worker.trouble for worker in workers)
    if stuck and not running:
        message = f"No worker runs: {stuck[0]}"
        if status.start_time is not None and view.now - status.start_time > view.deadline:
            return Story(reason="PodsNotStarting", message=message, stalled=True)
        return Story(reason=phase, message=message, reconciling=True)
    return Story(reason=phase, message=_doing(view, phase, running) + _last_failure(view), reconciling=True)


def _doing(view: View, phase: Phase, running: int) -> str:
    progress = view.course.status.progress
    if phase is Phase.PLANNING:
        return "The input and its columns are looked at"
    if phase is Phase.FINISHING or progress is None:
        return "The manifest is being written"
    return f"{running} workers run; {progress.shards_done} of {progress.shards} shards are done"


def _last_failure(view: View) -> str:
    """Tell of the latest pod that failed: it is tried again, and a person may see why before all tries are used up."""
    status = view.course.status
    assert status.phase is not None
    failed = [
        worker
        for worker in view.seen.workers_of(STAGES[status.phase], status.attempt)
        if worker.exit_code not in (None, 0)
    ]
    if not failed:
        return ""
    latest = max(failed, key=lambda worker: (worker.ended_at, worker.name))
    return f"; {len(failed)} pods failed and are replaced, the latest: {trouble_of(latest).message}"


def _counts(progress: Progress) -> str:
    return f"{progress.rows_out} rows are predicted, {progress.rows_rejected} rejected"


def _with_retry(batch: BatchPrediction, failure: Failure, attempt: int) -> str:
    return (
        f"{failure.message.rstrip('.')}. To go on where it stopped: kubectl annotate bp {batch.name} -n {batch.namespace} "
        f"--overwrite modelendpoint.dev/retry={attempt}"
    )
