"""How far a run has come: the sum of what its workers tell, and what follows from it."""

from datetime import datetime, timedelta

from modelendpoint_operator.api.batch_status import BatchPredictionStatus, Progress
from modelendpoint_operator.batch.observation import BatchObservation, Stage, Word

PROGRESS_EVERY = timedelta(seconds=5)
"""Time between two measurements; each is a write."""


def begin_progress(planned: Word, *, now: datetime) -> Progress:
    """Start with what the plan tells."""
    return _told(Progress(text="", shards=planned.shards, rows=planned.rows, measured_at=now))


def measure_progress(status: BatchPredictionStatus, seen: BatchObservation, *, now: datetime) -> Progress:
    """Sum up what the workers tell, and compare it with what they told before.

    Of several pods of one index the one that is farthest counts: each tells of all shards of its index. The pods of an
    index may be gone; so the sum never goes down.
    """
    before = status.progress
    assert before is not None
    farthest: dict[int, Word] = {}
    for worker in seen.workers_of(Stage.WORK, status.attempt):
        word = worker.word
        if word and not word.manifest and _distance(word) >= _distance(farthest.get(worker.index)):
            farthest[worker.index] = word
    words = farthest.values()
    rows_in = sum(word.rows_in for word in words)
    done = sum(word.shards_done for word in words)
    if rows_in < before.rows_in or now - before.measured_at < PROGRESS_EVERY:
        return before
    return _told(
        before.model_copy(
            update={
                "shards_done": min(max(done, before.shards_done), before.shards),
                "rows_in": rows_in,
                "rows_out": sum(word.rows_out for word in words),
                "rows_rejected": sum(word.rows_rejected for word in words),
                "rows_per_second": _rate(before, rows_in, now=now),
                "measured_at": now,
            }
        )
    )


def end_progress(before: Progress | None, word: Word, *, started: datetime | None, now: datetime) -> Progress:
    """Take over the numbers of the manifest; the rate is that of the whole run."""
    seconds = (now - started).total_seconds() if started else 0
    shards = before.shards if before else word.shards
    return _told(
        Progress(
            text="",
            shards=shards,
            shards_done=shards,
            rows=word.rows_in,
            rows_in=word.rows_in,
            rows_out=word.rows_out,
            rows_rejected=word.rows_rejected,
            rows_per_second=round(word.rows_in / seconds) if seconds > 0 else None,
            measured_at=now,
        )
    )


def _distance(word: Word | None) -> tuple[int, int]:
    return (word.shards_done, word.rows_in) if word else (-1, -1)


def _rate(before: Progress, rows_in: int, *, now: datetime) -> int:
    """Take the mean of the rate just now and the one before, so that it does not jump."""
    fresh = (rows_in - before.rows_in) / (now - before.measured_at).total_seconds()
    return round(fresh if before.rows_per_second is None else (fresh + before.rows_per_second) / 2)


def _told(progress: Progress) -> Progress:
    """Add what is for people."""
    if progress.rows is not None:
        text = f"{progress.rows_in}/{progress.rows}"
    elif progress.rows_in:
        text = f"{progress.shards_done}/{progress.shards} shards, {progress.rows_in} rows"
    else:
        text = f"{progress.shards_done}/{progress.shards} shards"
    return progress.model_copy(update={"text": text, "eta": _eta(progress)})


def _eta(progress: Progress) -> str | None:
    if progress.rows is None or not progress.rows_per_second or progress.rows_in >= progress.rows:
        return None
    return duration_text(timedelta(seconds=(progress.rows - progress.rows_in) / progress.rows_per_second))


def duration_text(duration: timedelta) -> str:
    """Write a duration as ``kubectl`` does: its two largest units."""
    seconds = max(0, round(duration.total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    if seconds < 7200:
        return f"{seconds // 60}m{seconds % 60}s" if seconds < 600 else f"{seconds // 60}m"
    return f"{seconds // 3600}h{seconds % 3600 // 60}m"
