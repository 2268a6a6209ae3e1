"""Which runs of a schedule are started, skipped, stopped and forgotten.

Each run is a BatchPrediction of its own, named after the minute that it stands for. So a time is started at most once,
whatever crashes in between: the run is created first, and the time is written down as settled after that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.batch import BatchPrediction, ConcurrencyPolicy, Schedule
from modelendpoint_operator.api.batch_status import MissedRun, Phase, ScheduleStatus
from modelendpoint_operator.batch.manifests import build_run
from modelendpoint_operator.batch.observation import BatchObservation, RunSeen
from modelendpoint_operator.batch.times import Due, due_since, fill_placeholders, in_force, minute_of, next_time
from modelendpoint_operator.batch.times import placeholder_values as values_of
from modelendpoint_operator.conditions import Story
from modelendpoint_operator.plan import EventNote


@dataclass(frozen=True, kw_only=True)
class Agenda:
    """What a pass over a schedule comes to."""

    status: ScheduleStatus
    run: Mapping[str, Any] | None = None
    """The run to create."""
    stopped: tuple[RunSeen, ...] = ()
    """Runs to delete: replaced, or too many of the ended ones."""
    notes: tuple[EventNote, ...] = ()
    missed: int = 0


def make_agenda(batch: BatchPrediction, seen: BatchObservation, *, now: datetime) -> Agenda:
    """Decide about a schedule; raises ``InvalidSchedule``."""
    schedule = batch.spec.schedule
    assert schedule is not None
    status = _begin(batch, schedule, now=now)
    assert status.last_schedule_time is not None
    due = due_since(schedule, status.last_schedule_time, now=now)
    agenda = Agenda(status=status) if due is None else _settle(batch, seen, replace_status(status, due), due, now=now)
    forgotten = _forgotten(schedule, [run for run in seen.runs if run not in agenda.stopped])
    return replace(
        agenda,
        stopped=(*agenda.stopped, *forgotten),
        status=agenda.status.model_copy(
            update={
                "active": _active(seen, agenda),
                "last_successful_time": _last_success(status, seen.runs),
                "next_schedule_time": None if batch.spec.suspend else next_time(schedule, now),
            }
        ),
    )


def replace_status(status: ScheduleStatus, due: Due) -> ScheduleStatus:
    """Write the latest due time down as settled."""
    return status.model_copy(update={"last_schedule_time": due.latest})


def tell_schedule(batch: BatchPrediction, status: ScheduleStatus, runs: Iterable[RunSeen]) -> Story:
    """Tell how a schedule stands. What its runs come to is theirs to tell."""
    if batch.spec.suspend:
        return Story(reason="Suspended", message="spec.suspend is true: no runs are started", good=True)
    if status.next_schedule_time is None:
        return Story(reason="NeverDue", message="spec.schedule.cron has no time in the next 50 years", stalled=True)
    last = max((run for run in runs if run.has_ended), key=lambda run: run.scheduled_at, default=None)
    told = f"; the last run, {last.name}, is {last.phase.lower()}" if last else ""
    working = f"; {', '.join(status.active)} at work" if status.active else ""
    due = status.next_schedule_time.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Story(reason="Scheduled", message=f"The next run is due at {due}{working}{told}", good=True)


def _begin(batch: BatchPrediction, schedule: Schedule, *, now: datetime) -> ScheduleStatus:
    """Go on from the status. A schedule that is new, or has other times than before, begins now: not in its past."""
    before = batch.status.schedule
    if before is not None and before.in_force == in_force(schedule):
        return before
    start = datetime.fromisoformat(batch.created) if before is None else now
    fresh = before or ScheduleStatus(in_force="")
    return fresh.model_copy(update={"in_force": in_force(schedule), "last_schedule_time": start})


def _settle(
    batch: BatchPrediction, seen: BatchObservation, status: ScheduleStatus, due: Due, *, now: datetime
) -> Agenda:
    """Start the run that is due, or say why not."""
    schedule = batch.spec.schedule
    assert schedule is not None
    name = names.scheduled_run_name(batch.name, minute_of(due.latest))
    active = tuple(run for run in seen.runs if not run.has_ended and run.name != name)
    agenda = _miss_earlier(Agenda(status=status), due, batch, seen)
    if any(run.name == name for run in seen.runs):  # it was created, and the operator died before it wrote that down
        return replace(agenda, status=agenda.status.model_copy(update={"last_run": name}))
    limit = schedule.starting_deadline_seconds
    if batch.spec.suspend:
        return _miss(agenda, due.latest, "Suspended")
    if limit is not None and now - due.latest > timedelta(seconds=limit):
        late = f"its startingDeadlineSeconds ({limit} s) had passed"
        return _miss(agenda, due.latest, "TooLate", f"The run of {_text(due.latest)} was missed: {late}")
    if active and schedule.concurrency_policy is ConcurrencyPolicy.FORBID:
        message = (
            f"The run of {_text(due.latest)} was skipped: {active[0].name} still works, and concurrencyPolicy is Forbid"
        )
        return _miss(agenda, due.latest, "StillRunning", message)
    started = EventNote(reason="RunStarted", message=f"Created {name} for {_text(due.latest)}")
    stopped = active if schedule.concurrency_policy is ConcurrencyPolicy.REPLACE else ()
    replaced = [
        EventNote(reason="RunReplaced", message=f"Stopped {run.name} for {name}", warning=True) for run in stopped
    ]
    return replace(
        agenda,
        run=build_run(batch, name=name, scheduled_at=_text(due.latest), uris=_uris(batch, schedule, due.latest, name)),
        stopped=stopped,
        notes=(*agenda.notes, *replaced, started),
        status=agenda.status.model_copy(update={"last_run": name}),
    )


def _uris(batch: BatchPrediction, schedule: Schedule, time: datetime, name: str) -> dict[str, str]:
    values = values_of(schedule, time, run=name)
    return {
        "input": fill_placeholders(batch.spec.input.uri, values),
        "output": fill_placeholders(batch.spec.output.uri, values),
    }


def _miss_earlier(agenda: Agenda, due: Due, batch: BatchPrediction, seen: BatchObservation) -> Agenda:
    """Count the due times before the latest one: nobody was there to start their runs, or to write down that he did."""
    before = batch.status.schedule.last_schedule_time if batch.status.schedule else None
    started = [run for run in seen.runs if run.scheduled_at < due.latest and (not before or run.scheduled_at > before)]
    count = due.earlier - len(started)
    if count <= 0:
        return agenda
    status = agenda.status.model_copy(update={"missed_runs": agenda.status.missed_runs + count})
    message = f"{count} runs before the one of {_text(due.latest)} were missed: the operator was not at work"
    note = EventNote(reason="RunsMissed", message=message, warning=True)
    notes = () if batch.spec.suspend else (note,)
    return replace(agenda, status=status, notes=(*agenda.notes, *notes), missed=agenda.missed + count)


def _miss(agenda: Agenda, time: datetime, reason: str, message: str | None = None) -> Agenda:
    status = agenda.status.model_copy(
        update={"missed_runs": agenda.status.missed_runs + 1, "last_missed": MissedRun(time=time, reason=reason)}
    )
    notes = (EventNote(reason="RunMissed", message=message, warning=True),) if message else ()
    return replace(agenda, status=status, notes=(*agenda.notes, *notes), missed=agenda.missed + 1)


def _forgotten(schedule: Schedule, runs: list[RunSeen]) -> list[RunSeen]:
    """Choose the oldest ended runs beyond the limits."""
    limits = {Phase.COMPLETE: schedule.successful_runs_history_limit, Phase.FAILED: schedule.failed_runs_history_limit}
    chosen = []
    for phase, limit in limits.items():
        ended = [run for run in runs if run.phase is phase]
        chosen += ended[: max(0, len(ended) - limit)]
    return chosen


def _active(seen: BatchObservation, agenda: Agenda) -> list[str]:
    working = [run.name for run in seen.runs if not run.has_ended and run not in agenda.stopped]
    return [*working, *([agenda.run["metadata"]["name"]] if agenda.run else [])]


def _last_success(status: ScheduleStatus, runs: Iterable[RunSeen]) -> datetime | None:
    times = [run.completion_time for run in runs if run.phase is Phase.COMPLETE and run.completion_time]
    return max([*times, *([status.last_successful_time] if status.last_successful_time else [])], default=None)


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
