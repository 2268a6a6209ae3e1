"""From what was seen of a BatchPrediction to what shall be written.

Jobs are made from the status that is stored, never from one that is about to be: what a Job is made from is written
down before the Job is created. Its pods' template can't be changed later, and never is.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from modelendpoint_operator import names
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.api.batch_status import BatchPredictionStatus, Phase
from modelendpoint_operator.batch.conditions import View, build_conditions, derive_conditions
from modelendpoint_operator.batch.machine import STAGES, Course, Situation, advance, time_to_deadline
from modelendpoint_operator.batch.manifests import JOB_API_VERSION, build_job
from modelendpoint_operator.batch.observation import BatchObservation, JobSeen, JobState, Stage
from modelendpoint_operator.batch.plan import BatchPlan, Create, Patch
from modelendpoint_operator.batch.progress import PROGRESS_EVERY
from modelendpoint_operator.batch.schedule import make_agenda, tell_schedule
from modelendpoint_operator.batch.times import InvalidSchedule
from modelendpoint_operator.conditions import Story
from modelendpoint_operator.observation import ObjectRef
from modelendpoint_operator.plan import Delete, EventNote
from modelendpoint_operator.settings import Settings

WAIT_FOR_ENDPOINT = timedelta(seconds=5)
"""No watch tells a run that the endpoint which it waits for is there."""


def make_plan(batch: BatchPrediction, seen: BatchObservation, settings: Settings, *, now: datetime) -> BatchPlan:
    """Plan one pass. The same input gives the same plan."""
    if batch.spec.schedule is not None:
        return _plan_schedule(batch, seen, now=now)
    if _is_past_its_time(batch, now=now):
        return BatchPlan(deletes=(_delete(batch.name, batch.uid),))
    course = advance(Situation(batch=batch, seen=seen, image=settings.server_image, now=now))
    deadline = timedelta(seconds=settings.progress_deadline_seconds)
    view = View(batch=batch, seen=seen, course=course, deadline=deadline, now=now)
    status = course.status.model_copy(
        update={"observed_generation": batch.generation, "conditions": derive_conditions(view)}
    )
    plan = BatchPlan(
        deletes=tuple(_leftover_jobs(batch, seen, course)),
        creates=tuple(_missing_job(batch, seen, course, settings)),
        patches=tuple(_patches(seen, batch, course)),
        look_again_after=_look_again_after(batch, course, now=now),
    )
    return _with_status(plan, batch, status, course.notes)


def plan_stop(batch: BatchPrediction, reason: str, message: str, *, now: datetime) -> BatchPlan:
    """Plan to report that nothing can be done until a person acts."""
    story = Story(reason=reason, message=message, stalled=True)
    status = batch.status.model_copy(
        update={"observed_generation": batch.generation, "conditions": build_conditions(batch, story, now=now)}
    )
    return _with_status(BatchPlan(), batch, status, ())


def _plan_schedule(batch: BatchPrediction, seen: BatchObservation, *, now: datetime) -> BatchPlan:
    try:
        agenda = make_agenda(batch, seen, now=now)
    except InvalidSchedule as error:
        return plan_stop(batch, "InvalidSchedule", str(error), now=now)
    story = tell_schedule(batch, agenda.status, seen.runs)
    status = batch.status.model_copy(
        update={
            "observed_generation": batch.generation,
            "schedule": agenda.status,
            "conditions": build_conditions(batch, story, now=now),
        }
    )
    following = agenda.status.next_schedule_time
    plan = BatchPlan(
        deletes=tuple(_delete(run.name, run.uid) for run in agenda.stopped),
        creates=(Create(manifest=agenda.run),) if agenda.run else (),
        look_again_after=max(following - now, timedelta(0)) if following else None,
        missed_runs=agenda.missed,
    )
    return _with_status(plan, batch, status, agenda.notes)


def _with_status(
    plan: BatchPlan, batch: BatchPrediction, status: BatchPredictionStatus, notes: tuple[EventNote, ...]
) -> BatchPlan:
    """Add the status and what is to be told of it, if it is another one than before."""
    if status == batch.status:
        return plan
    known = {told.message for told in batch.status.conditions if told.type == "Stalled"} | {
        note.message for note in notes
    }
    stuck = [
        EventNote(reason=told.reason, message=told.message, warning=True)
        for told in status.conditions
        if told.type == "Stalled" and told.message not in known and status.phase is not Phase.FAILED
    ]
    ended = status.phase if status.phase in (Phase.COMPLETE, Phase.FAILED) else None
    return replace(
        plan,
        status=status,
        events=(*notes, *stuck),
        ended=ended if ended is not batch.status.phase else None,
    )


def _is_past_its_time(batch: BatchPrediction, *, now: datetime) -> bool:
    seconds, ended = batch.spec.ttl_seconds_after_finished, batch.status.completion_time
    return seconds is not None and ended is not None and now >= ended + timedelta(seconds=seconds)


def _missing_job(batch: BatchPrediction, seen: BatchObservation, course: Course, settings: Settings) -> list[Create]:
    stored = batch.status
    if stored.phase is None or stored.phase not in STAGES or stored.phase is not course.status.phase:
        return []
    stage = STAGES[stored.phase]
    if seen.job(stage, stored.attempt) is not None:
        return []
    return [Create(manifest=build_job(batch, stage, image_pull_policy=settings.image_pull_policy))]


def _leftover_jobs(batch: BatchPrediction, seen: BatchObservation, course: Course) -> list[Delete]:
    """Choose the Jobs of earlier attempts, and one whose word is lost: it runs again.

    All of them when the namespace is being deleted: Kubernetes (1.34) deletes the pods first and the Jobs when no pod is
    left, and a Job with a limit for each index lets a failed pod go only when another is in its place, which none can be.
    """
    attempt = course.status.attempt
    lost = seen.job(STAGES[course.status.phase], attempt) if course.lost and course.status.phase else None
    return [
        Delete(ref=_job_ref(job), uid=job.uid)
        for job in seen.jobs
        if job.attempt < attempt or job == lost or seen.namespace_ends
    ]


def _patches(seen: BatchObservation, batch: BatchPrediction, course: Course) -> list[Patch]:
    """Keep Jobs suspended and as wide as the spec says. What still runs after a failure is stopped."""
    patches = []
    for job in seen.jobs:
        if job.attempt != course.status.attempt or job.state is not JobState.ACTIVE:
            continue
        suspend = batch.spec.suspend or course.status.phase is Phase.FAILED
        width = min(batch.spec.parallelism, batch.status.workers or 1) if job.stage is Stage.WORK else 1
        wanted = {"suspend": suspend, "parallelism": width}
        if wanted != {"suspend": job.suspended, "parallelism": job.parallelism}:
            patches.append(Patch(ref=_job_ref(job), spec=wanted))
    return patches


def _look_again_after(batch: BatchPrediction, course: Course, *, now: datetime) -> timedelta | None:
    status = course.status
    if status.phase in (Phase.COMPLETE, Phase.FAILED):
        seconds, ended = batch.spec.ttl_seconds_after_finished, status.completion_time
        return None if seconds is None or ended is None else max(ended + timedelta(seconds=seconds) - now, timedelta(0))
    if course.obstacle is not None:
        return WAIT_FOR_ENDPOINT
    if status.phase is not batch.status.phase or course.lost:
        return timedelta(0)
    left = time_to_deadline(batch, now=now)
    waits = [left] if left is not None else []
    if not batch.spec.suspend:
        waits.append(PROGRESS_EVERY)
    return max(min(waits), timedelta(0)) if waits else None


def _delete(name: str, uid: str) -> Delete:
    return Delete(ref=ObjectRef(api_version=names.API_VERSION, kind=names.BATCH_KIND, name=name), uid=uid)


def _job_ref(job: JobSeen) -> ObjectRef:
    return ObjectRef(api_version=JOB_API_VERSION, kind="Job", name=job.name)
