"""What the API server and the workers say, reduced to our own types."""

from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.adapters.batch_reduction import (
    INDEX_ANNOTATION,
    is_telling,
    parse_word,
    reduce_endpoint,
    reduce_job,
    reduce_runs,
    reduce_worker,
)
from modelendpoint_operator.api.batch_status import Phase
from modelendpoint_operator.batch.observation import JobState, Stage, Word

LABELS = {names.LABEL_BATCH: "weekly", names.LABEL_BATCH_STAGE: "work", names.LABEL_BATCH_ATTEMPT: "2"}


def a_job(*conditions: dict[str, str], **spec: Any) -> dict[str, Any]:
    metadata = {"name": "weekly-work-2", "uid": "u-1", "labels": LABELS}
    return {"metadata": metadata, "spec": {"parallelism": 3, **spec}, "status": {"conditions": list(conditions)}}


def a_pod(phase: str = "Running", *, terminated: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    state = {"containerStatuses": [{"name": "worker", "state": {"terminated": terminated}}]} if terminated else {}
    metadata = {"name": "weekly-work-2-1", "labels": LABELS, "annotations": {INDEX_ANNOTATION: "1"}}
    return {"metadata": metadata, "status": {"phase": phase, **state, **status}}


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ([], JobState.ACTIVE),
        ([{"type": "FailureTarget", "status": "True"}], JobState.ACTIVE),
        ([{"type": "Complete", "status": "True", "reason": "CompletionsReached"}], JobState.COMPLETE),
        ([{"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}], JobState.FAILED),
        ([{"type": "Failed", "status": "False"}], JobState.ACTIVE),
        ([{"type": "Suspended", "status": "True"}], JobState.ACTIVE),
    ],
)
def test_a_job_has_ended_when_its_condition_says_so(conditions: list[dict[str, str]], state: JobState) -> None:
    job = reduce_job(a_job(*conditions, suspend=True))

    assert job is not None
    assert (job.state, job.stage, job.attempt, job.suspended, job.parallelism) == (state, Stage.WORK, 2, True, 3)


def test_a_job_whose_labels_somebody_changed_is_none_of_ours() -> None:
    job = a_job()
    job["metadata"]["labels"] = {**LABELS, names.LABEL_BATCH_STAGE: "play"}
    assert reduce_job(job) is None
    job["metadata"]["labels"] = {**LABELS, names.LABEL_BATCH_ATTEMPT: "two"}
    assert reduce_job(job) is None


def test_what_a_pod_said_at_its_end_wins_over_what_it_reported() -> None:
    ended = {"exitCode": 42, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}
    ended["message"] = '{"state": "Failed", "reason": "MissingColumn", "message": "no column", "rowsIn": 5}'
    worker = reduce_worker(a_pod("Failed", terminated=ended), Word(state="Working", rows_in=3))

    assert worker is not None and worker.word is not None
    assert (worker.ended, worker.exit_code, worker.index) == (True, 42, 1)
    assert (worker.word.reason, worker.word.rows_in) == ("MissingColumn", 5)


@pytest.mark.parametrize("message", ["", "not json", "[1]", '{"state": 5}', "null"])
def test_last_words_that_are_none_of_ours_are_no_words(message: str) -> None:
    ended = {"exitCode": 1, "reason": "Error", "message": message}
    worker = reduce_worker(a_pod("Failed", terminated=ended), None)

    assert worker is not None and worker.word is None


def test_a_pod_out_of_memory_is_told_apart() -> None:
    worker = reduce_worker(a_pod("Failed", terminated={"exitCode": 137, "reason": "OOMKilled"}), None)

    assert worker is not None and worker.out_of_memory


def test_a_pod_that_failed_before_its_container_ran_is_a_failure_without_a_word() -> None:
    worker = reduce_worker(a_pod("Failed"), None)

    assert worker is not None
    assert (worker.exit_code, worker.ended) == (-1, True)


def test_a_pod_that_does_not_start_says_why() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no cpu"}
    worker = reduce_worker(a_pod("Pending", conditions=[condition]), None)

    assert worker is not None
    assert (worker.trouble, worker.exit_code, worker.ended) == ("Unschedulable: no cpu", None, False)


def test_only_pods_that_run_and_have_an_address_are_asked() -> None:
    going = a_pod(podIP="10.0.0.1")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert is_telling(a_pod(podIP="10.0.0.1"))
    assert not is_telling(a_pod())
    assert not is_telling(a_pod("Succeeded", podIP="10.0.0.1"))
    assert not is_telling(going)


def test_numbers_that_are_none_count_as_nothing() -> None:
    word = parse_word({"state": "Working", "rowsIn": -5, "rowsOut": "7", "rowsRejected": True, "rows": None})

    assert word == Word(state="Working")


def test_the_endpoint_tells_its_stable_revision_and_all_that_it_keeps() -> None:
    record = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "revision": 7,
        "data": {"model": {"uri": "s3://m/7.onnx"}, "server": {}, "serverImage": "server:1"},
        "metadata": {
            "name": "churn-r7",
            "labels": {names.LABEL_REVISION: "7"},
            "annotations": {names.ANNOTATION_SHA256: "ab" * 32},
        },
    }
    seen = reduce_endpoint({"status": {"stable": {"revision": 7}}}, [record])

    assert seen is not None
    assert (seen.stable, seen.revisions[7].sha256) == (7, "ab" * 32)
    assert reduce_endpoint(None, []) is None
    fresh = reduce_endpoint({"status": {"observedGeneration": -1}}, [])
    assert fresh is not None and fresh.stable is None


def test_runs_are_in_the_order_of_their_times_without_those_that_go() -> None:
    def a_run(name: str, at: str, **metadata: Any) -> dict[str, Any]:
        annotations = {names.ANNOTATION_SCHEDULED_AT: at}
        status = {"phase": "Complete", "completionTime": "2026-01-01T09:00:00Z"}
        return {"metadata": {"name": name, "uid": name, "annotations": annotations, **metadata}, "status": status}

    runs = reduce_runs(
        [
            a_run("b", "2026-01-01T02:00:00Z"),
            a_run("a", "2026-01-01T01:00:00Z"),
            a_run("c", "2026-01-01T03:00:00Z", deletionTimestamp="2026-01-01T04:00:00Z"),
        ]
    )

    assert [run.name for run in runs] == ["a", "b"]
    assert (runs[0].phase, runs[0].has_ended) == (Phase.COMPLETE, True)
