"""Which pods a Job creates and ends, and when it is over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelendpoint.local.jobs import Attempt, Move, drive
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.batch.manifests import build_job
from modelendpoint_operator.batch.observation import Stage

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAUSES = (0.0, 2.0, 8.0)
LATELY = NOW - timedelta(seconds=1)


def a_job(
    stage: Stage = Stage.WORK, *, workers: int = 3, status: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """The Job that the operator makes."""
    uri = {"uri": "s3://rows/2026/"}
    given = {"model": {"uri": "s3://models/a.onnx"}, "input": uri, "output": {"uri": "s3://out/2026/"}, **spec}
    metadata = {"name": "weekly", "namespace": "default", "uid": "u", "generation": 1}
    pinned = {"model": {"uri": "s3://models/a.onnx"}, "image": "server:1", "run": "weekly-u", "workers": workers}
    body = {"metadata": {**metadata, "creationTimestamp": NOW.isoformat()}, "spec": given, "status": pinned}
    job = build_job(BatchPrediction.from_body(body), stage, image_pull_policy="IfNotPresent")
    return {**job, "status": status or {}}


def pods(signs: str) -> list[Attempt]:
    """One pod a word: its index and what became of it: . runs, ~ is ending, + is done, - failed, ! failed for good."""
    codes = {".": None, "~": None, "+": 0, "-": 1, "!": 42}
    return [
        Attempt(
            name=f"{word}{place}",
            index=int(word[0]),
            exit_code=codes[word[1]],
            ended_at=None if codes[word[1]] is None else LATELY,
            is_ending=word[1] == "~",
        )
        for place, word in enumerate(signs.split())
    ]


def driven(job: dict[str, Any], signs: str, *, now: datetime = NOW) -> Move:
    return drive(job, pods(signs), pauses=PAUSES, now=now)


def reason(move: Move) -> tuple[str, str] | None:
    told = move.status.get("conditions")
    return (told[0]["type"], told[0]["reason"]) if told else None


@pytest.mark.parametrize(
    ("signs", "parallelism", "create", "end"),
    [
        pytest.param("", 2, (0, 1), (), id="as many begin as may run at once"),
        pytest.param("0. 1.", 2, (), (), id="as long as they run, the others wait"),
        pytest.param("0+ 1.", 2, (2,), (), id="the next index begins when one is done"),
        pytest.param("0- 1.", 2, (0,), (), id="a failed index begins again before one that has not begun"),
        pytest.param("0~ 1.", 3, (2,), (), id="an index has no second pod while its first one ends"),
        pytest.param("0. 1. 2.", 1, (), ("1.1", "2.2"), id="of too many the last ones go"),
        pytest.param("0. 1~ 2.", 1, (), ("2.2",), id="what is ending is not ended twice"),
    ],
)
def test_indexes_are_worked_as_many_at_once_as_the_job_says(
    signs: str, parallelism: int, create: tuple[int, ...], end: tuple[str, ...]
) -> None:
    move = driven(a_job(parallelism=parallelism), signs)
    assert (move.create, move.end, reason(move)) == (create, end, None)


@pytest.mark.parametrize(
    ("seconds", "signs", "create"),
    [
        pytest.param(0, "0-", (0,), id="the first failure is made up for at once"),
        pytest.param(1.9, "0- 0-", (), id="the second one after a pause"),
        pytest.param(2, "0- 0-", (0,), id="and then it is"),
        pytest.param(7.9, "0- 0- 0- 0-", (), id="the last pause is that of all later ones"),
        pytest.param(8, "0- 0- 0- 0-", (0,), id="and then they are made up for"),
    ],
)
def test_failures_are_made_up_for_after_growing_pauses(seconds: float, signs: str, create: tuple[int, ...]) -> None:
    move = driven(a_job(workers=1), signs, now=LATELY + timedelta(seconds=seconds))
    assert move.create == create


@pytest.mark.parametrize(
    ("signs", "over"),
    [
        pytest.param("0+ 1+", None, id="not all indexes are done"),
        pytest.param("0+ 1+ 2+", ("Complete", "CompletionsReached"), id="all indexes are done"),
        pytest.param("0- 0+ 1+ 2+", ("Complete", "CompletionsReached"), id="a failure that was made up for"),
        pytest.param("0- 0- 1+ 2+", None, id="as many failures as are allowed"),
        pytest.param("0- 0- 0- 1+ 2+", ("Failed", "MaxFailedIndexesExceeded"), id="one index fails too often"),
        pytest.param("0- 1- 2- 0- 1-", None, id="failures of different indexes are not added up"),
        pytest.param("0!", ("Failed", "PodFailurePolicy"), id="exit code 42 needs no second try"),
        pytest.param("0+ 1+ 2!", ("Failed", "PodFailurePolicy"), id="nor does it after others are done"),
    ],
)
def test_a_job_of_workers_is_over(signs: str, over: tuple[str, str] | None) -> None:
    assert reason(driven(a_job(retries=2), signs)) == over


def test_indexes_that_may_fail_are_waited_for() -> None:
    job = a_job(retries=0)
    job["spec"]["maxFailedIndexes"] = 2
    assert reason(driven(job, "0- 1+ 2.")) is None
    assert reason(driven(job, "0- 1+ 2+")) == ("Failed", "FailedIndexes")


@pytest.mark.parametrize(
    ("signs", "over"),
    [
        pytest.param("0.", None, id="it runs"),
        pytest.param("0- 0-", None, id="as many failures as are allowed"),
        pytest.param("0- 0- 0-", ("Failed", "BackoffLimitExceeded"), id="too many failures"),
        pytest.param("0- 0+", ("Complete", "CompletionsReached"), id="it is done"),
        pytest.param("0!", ("Failed", "PodFailurePolicy"), id="exit code 42 needs no second try"),
    ],
)
def test_a_job_of_one_pod_is_over(signs: str, over: tuple[str, str] | None) -> None:
    assert reason(driven(a_job(Stage.PLAN, retries=2), signs)) == over


def test_what_still_runs_is_ended_before_a_job_is_over() -> None:
    first = driven(a_job(), "0! 1. 2~")
    assert (first.end, first.create, reason(first)) == (("1.1",), (), None)
    assert reason(driven(a_job(), "0!")) == ("Failed", "PodFailurePolicy")


def test_a_job_that_is_over_stays_so() -> None:
    status = driven(a_job(), "0+ 1+ 2+").status
    move = driven(a_job(status=dict(status)), "0!")
    assert (move.status, move.create) == (status, ())


def test_a_suspended_job_has_no_pods_and_its_time_begins_anew() -> None:
    job = a_job(suspend=True, deadlineSeconds=60, status={"startTime": (NOW - timedelta(hours=1)).isoformat()})
    move = driven(job, "0+ 1. 2~")
    assert (move.end, move.create, reason(move)) == (("1.1",), (), None)
    assert move.status == {"active": 2, "succeeded": 1, "failed": 0}
    on = driven({**job, "spec": {**job["spec"], "suspend": False}, "status": move.status}, "0+")
    assert (on.create, on.status["startTime"]) == ((1,), NOW.isoformat())


@pytest.mark.parametrize(
    ("seconds", "signs", "over"),
    [
        pytest.param(59, "0-", None, id="there is time left"),
        pytest.param(60, "0-", ("Failed", "DeadlineExceeded"), id="the time is over"),
        pytest.param(60, "0+ 1+ 2+", ("Complete", "CompletionsReached"), id="the work is done all the same"),
    ],
)
def test_a_job_may_take_as_long_as_its_deadline(seconds: float, signs: str, over: tuple[str, str] | None) -> None:
    started = (NOW - timedelta(seconds=seconds)).isoformat()
    job = a_job(deadlineSeconds=60, status={"startTime": started})
    assert reason(driven(job, signs)) == over
    assert driven(job, "0.").end == (() if seconds < 60 else ("0.0",))
