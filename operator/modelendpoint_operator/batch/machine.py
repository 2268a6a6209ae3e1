"""The life of one run. Memory is ``status``; what is seen moves it on.

::

    Pending ──model settled──► Planning ──plan Job complete──► Working ──work Job complete──┬─► Complete
                                  ▲  │                            │       a worker told of  │
                                  │  │                            │       the manifest      │
                                  │  │                            │                         └─ none did ─► Finishing ─► Complete
                                  │  └── Job failed, deadline ────┴────────► Failed ◄──────────────────────────┘
                                  └───────────── retry: attempt + 1 ─────────┘

A phase is written before its Job is created, together with all that the Job is made from. So a crash in between
changes nothing: the same Job is created by the next pass.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelendpoint_operator import names
from modelendpoint_operator.api.batch import BatchModel, BatchPrediction
from modelendpoint_operator.api.batch_status import BatchPredictionStatus, Failure, Phase, PinnedModel
from modelendpoint_operator.batch.failures import failure_of
from modelendpoint_operator.batch.observation import BatchObservation, JobState, Stage, Word
from modelendpoint_operator.batch.progress import begin_progress, end_progress, measure_progress
from modelendpoint_operator.observation import RevisionRecord
from modelendpoint_operator.plan import EventNote

STAGES: Mapping[Phase, Stage] = {
    Phase.PLANNING: Stage.PLAN,
    Phase.WORKING: Stage.WORK,
    Phase.FINISHING: Stage.FINISH,
}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a run's next step depends on."""

    batch: BatchPrediction
    seen: BatchObservation
    image: str
    now: datetime

    @property
    def status(self) -> BatchPredictionStatus:
        """The run's memory."""
        return self.batch.status


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where a run goes."""

    status: BatchPredictionStatus
    """The new memory; conditions are derived from it later."""
    notes: tuple[EventNote, ...] = ()
    obstacle: Failure | None = None
    """Why a run can't start: a person is needed, or something that is not there yet."""
    lost: bool = False
    """The Job of this phase is complete, but nothing is left of what its pod told: it has to run again."""


def advance(situation: Situation) -> Course:
    """Take a run one step on."""
    batch, status = situation.batch, situation.status
    order = batch.annotations.get(names.ANNOTATION_RETRY)
    if order is not None and order != status.handled_annotations.get(names.ANNOTATION_RETRY):
        return _retry(situation, order)
    phase = status.phase or Phase.PENDING
    if phase in STAGES and _is_late(situation):
        message = f"The run did not end within spec.deadlineSeconds ({batch.spec.deadline_seconds} s)"
        return _fail(situation, Failure(reason="DeadlineExceeded", message=message))
    return _STEPS[phase](situation)


def time_to_deadline(batch: BatchPrediction, *, now: datetime) -> timedelta | None:
    """Say how long a run still has; None when it has no limit."""
    seconds, started = batch.spec.deadline_seconds, batch.status.start_time
    return None if seconds is None or started is None else started + timedelta(seconds=seconds) - now


def _is_late(situation: Situation) -> bool:
    left = time_to_deadline(situation.batch, now=situation.now)
    return left is not None and left <= timedelta(0)


def _retry(situation: Situation, order: str) -> Course:
    """Start a failed run again; what it has committed stays."""
    status = situation.status
    handled = {**status.handled_annotations, names.ANNOTATION_RETRY: order}
    if status.phase is not Phase.FAILED:
        note = EventNote(reason="RetryIgnored", message="Only a failed run can be tried again", warning=True)
        return Course(
            status=status.model_copy(update={"phase": status.phase or Phase.PENDING, "handled_annotations": handled}),
            notes=(note,),
        )
    started = status.model_copy(
        update={
            "phase": Phase.PLANNING,
            "attempt": status.attempt + 1,
            "start_time": situation.now,
            "completion_time": None,
            "failure": None,
            "handled_annotations": handled,
        }
    )
    return Course(status=started, notes=(EventNote(reason="Retried", message=f"Attempt {started.attempt} starts"),))


def _start(situation: Situation) -> Course:
    """Settle what the run is made from."""
    batch, status = situation.batch, situation.status
    waiting = status.model_copy(update={"phase": Phase.PENDING})
    if batch.spec.suspend:
        return Course(status=waiting)
    model = _settle_model(batch, situation.seen)
    challenger = _settle_challenger(batch, situation.seen)
    obstacle = next((found for found in (model, challenger) if isinstance(found, Failure)), None)
    if obstacle is not None:
        return Course(status=waiting, obstacle=obstacle)
    started = waiting.model_copy(
        update={
            "phase": Phase.PLANNING,
            "run": names.batch_run_id(batch.name, batch.uid),
            "model": model,
            "compared_with": challenger,
            "image": situation.image,
            "start_time": situation.now,
        }
    )
    assert isinstance(model, PinnedModel)
    where = f"revision {model.revision} of {model.endpoint}" if model.endpoint else model.uri
    return Course(status=started, notes=(EventNote(reason="Started", message=f"The run starts with {where}"),))


def _settle_model(batch: BatchPrediction, seen: BatchObservation) -> PinnedModel | Failure:
    reference = batch.spec.endpoint_ref
    if reference is None:
        assert batch.spec.model is not None
        return _pin(batch.spec.model)
    if seen.endpoint is None:
        message = (
            f"There is no ModelEndpoint {reference.name} in this namespace; create it, or correct endpointRef.name"
        )
        return Failure(reason="EndpointNotFound", message=message)
    number = reference.revision or seen.endpoint.stable
    if number is None:
        message = f"ModelEndpoint {reference.name} has no stable revision yet; the run starts as soon as it has one"
        return Failure(reason="EndpointNotReady", message=message)
    return _settle_revision(batch, seen, number, field="endpointRef.revision")


def _settle_challenger(batch: BatchPrediction, seen: BatchObservation) -> PinnedModel | Failure | None:
    comparison = batch.spec.compare_with
    if comparison is None:
        return None
    if comparison.model is not None:
        return _pin(comparison.model)
    assert comparison.revision is not None
    return _settle_revision(batch, seen, comparison.revision, field="compareWith.revision")


def _settle_revision(
    batch: BatchPrediction, seen: BatchObservation, number: int, *, field: str
) -> PinnedModel | Failure:
    reference = batch.spec.endpoint_ref
    assert reference is not None
    record = seen.endpoint.revisions.get(number) if seen.endpoint else None
    if record is not None:
        return _pin_revision(reference.name, record)
    kept = ", ".join(str(number) for number in sorted(seen.endpoint.revisions)) if seen.endpoint else ""
    message = f"ModelEndpoint {reference.name} keeps no revision {number}; correct {field} (kept: {kept or 'none'})"
    return Failure(reason="RevisionNotFound", message=message)


def _pin(model: BatchModel) -> PinnedModel:
    secret = model.credentials_secret_ref
    return PinnedModel(
        uri=model.uri, version=model.version, sha256=model.sha256, credentials_secret=secret.name if secret else None
    )


def _pin_revision(endpoint: str, record: RevisionRecord) -> PinnedModel:
    model, secret = record.template.model, record.template.model.credentials_secret_ref
    return PinnedModel(
        uri=model.uri,
        version=model.version,
        sha256=record.sha256 or model.sha256,
        endpoint=endpoint,
        revision=record.number,
        credentials_secret=secret.name if secret else None,
        execution_providers=list(record.template.server.execution_providers or ()),
    )


def _plan(situation: Situation) -> Course:
    status = situation.status
    ended = _ended(situation)
    if not isinstance(ended, Word):
        return ended
    assert status.model is not None
    workers = max(1, min(ended.shards, situation.batch.spec.parallelism))
    planned = status.model_copy(
        update={
            "phase": Phase.WORKING if ended.shards else Phase.FINISHING,
            "model": status.model.model_copy(update={"sha256": ended.sha256 or status.model.sha256}),
            "workers": status.workers or workers,
            "progress": status.progress or begin_progress(ended, now=situation.now),
        }
    )
    rows = "" if ended.rows is None else f", {ended.rows} rows"
    message = f"The input has {ended.shards} shards{rows}; {planned.workers} workers start"
    return Course(status=planned, notes=(EventNote(reason="Planned", message=message),))


def _work(situation: Situation) -> Course:
    status, seen, now = situation.status, situation.seen, situation.now
    job = seen.job(Stage.WORK, status.attempt)
    if job is None or job.state is JobState.ACTIVE:
        return Course(status=status.model_copy(update={"progress": measure_progress(status, seen, now=now)}))
    if job.state is JobState.FAILED:
        return _fail(situation, failure_of(job, seen))
    whole = next((word for word in seen.words(Stage.WORK, status.attempt) if word.manifest), None)
    if whole is not None:
        return _complete(situation, whole)
    return Course(status=status.model_copy(update={"phase": Phase.FINISHING}))


def _finish(situation: Situation) -> Course:
    ended = _ended(situation)
    return _complete(situation, ended) if isinstance(ended, Word) else ended


def _ended(situation: Situation) -> Word | Course:
    """Take the word of the one pod of a phase's Job; or say how it goes on without one."""
    status, seen = situation.status, situation.seen
    assert status.phase is not None
    job = seen.job(STAGES[status.phase], status.attempt)
    if job is None or job.state is JobState.ACTIVE:
        return Course(status=status)
    if job.state is JobState.FAILED:
        return _fail(situation, failure_of(job, seen))
    word = next((word for word in seen.words(job.stage, job.attempt) if word.state == "Done"), None)
    return word or Course(status=status, lost=True)


def _complete(situation: Situation, word: Word) -> Course:
    status, now = situation.status, situation.now
    progress = end_progress(status.progress, word, started=status.start_time, now=now)
    completed = status.model_copy(
        update={
            "phase": Phase.COMPLETE,
            "completion_time": now,
            "progress": progress,
            "manifest": word.manifest,
            "comparison": word.comparison,
        }
    )
    message = (
        f"{progress.rows_out} rows are predicted, {progress.rows_rejected} rejected; the manifest is {word.manifest}"
    )
    return Course(status=completed, notes=(EventNote(reason="Complete", message=message),))


def _fail(situation: Situation, failure: Failure) -> Course:
    failed = situation.status.model_copy(
        update={"phase": Phase.FAILED, "completion_time": situation.now, "failure": failure}
    )
    return Course(status=failed, notes=(EventNote(reason=failure.reason, message=failure.message, warning=True),))


def _stay(situation: Situation) -> Course:
    return Course(status=situation.status)


_STEPS: Mapping[Phase, Callable[[Situation], Course]] = {
    Phase.PENDING: _start,
    Phase.PLANNING: _plan,
    Phase.WORKING: _work,
    Phase.FINISHING: _finish,
    Phase.COMPLETE: _stay,
    Phase.FAILED: _stay,
}
