"""Reduces what the API server and the workers say of a BatchPrediction to our own types. Reads nothing itself."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.adapters.reduction import is_terminating, reduce_observation, trouble_of
from modelendpoint_operator.api.batch_status import ComparisonStatus, Phase
from modelendpoint_operator.batch.observation import EndpointSeen, JobSeen, JobState, RunSeen, Stage, Word, WorkerSeen

Body = Mapping[str, Any]

INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"


def reduce_job(body: Body) -> JobSeen | None:
    """Reduce a Job; None for one whose labels somebody changed."""
    stage, attempt = _place(body)
    if stage is None:
        return None
    told = {condition["type"]: condition for condition in body.get("status", {}).get("conditions") or []}
    ended = next((told[kind] for kind in ("Complete", "Failed") if _is_true(told.get(kind))), None)
    state = {"Complete": JobState.COMPLETE, "Failed": JobState.FAILED}.get(ended["type"]) if ended else None
    return JobSeen(
        name=body["metadata"]["name"],
        uid=body["metadata"]["uid"],
        stage=stage,
        attempt=attempt,
        state=state or JobState.ACTIVE,
        suspended=bool(body["spec"].get("suspend", False)),
        parallelism=int(body["spec"].get("parallelism", 1)),
        reason=ended.get("reason") if ended else None,
        message=ended.get("message") if ended else None,
    )


def reduce_worker(body: Body, report: Word | None) -> WorkerSeen | None:
    """Reduce a pod; what it said at its end wins over what it reported."""
    stage, attempt = _place(body)
    if stage is None:
        return None
    status = body.get("status", {})
    ended = _termination(body)
    phase_ended = status.get("phase") in ("Succeeded", "Failed")
    return WorkerSeen(
        name=body["metadata"]["name"],
        stage=stage,
        attempt=attempt,
        index=_index(body),
        ended=phase_ended,
        exit_code=_exit_code(ended, phase=status.get("phase")),
        out_of_memory=bool(ended and ended.get("reason") == "OOMKilled"),
        ended_at=str((ended or {}).get("finishedAt") or ""),
        trouble=None if phase_ended else trouble_of(body),
        word=(parse_word(_document(ended.get("message"))) if ended else None) or report,
    )


def is_telling(pod: Body) -> bool:
    """Say whether a pod can be asked how far it is."""
    status = pod.get("status", {})
    return status.get("phase") == "Running" and bool(status.get("podIP")) and not is_terminating(pod)


def is_held(pod: Body) -> bool:
    """Say whether a pod that has failed shall go and does not: its Job keeps it until there is another in its place."""
    return pod.get("status", {}).get("phase") == "Failed" and is_terminating(pod)


def parse_word(document: object) -> Word | None:
    """Read what a worker tells; None when it is nothing of ours."""
    if not isinstance(document, Mapping) or not isinstance(document.get("state"), str):
        return None
    numbers = {field: _number(document.get(key)) for key, field in _NUMBERS.items()}
    return Word(
        state=document["state"],
        reason=_text(document.get("reason")),
        message=_text(document.get("message")),
        rows=_number(document["rows"]) if isinstance(document.get("rows"), int) else None,
        sha256=_text(document.get("sha256")),
        manifest=_text(document.get("manifest")),
        comparison=_comparison(document.get("compare")),
        **numbers,
    )


_NUMBERS = {
    "shards": "shards",
    "shardsDone": "shards_done",
    "rowsIn": "rows_in",
    "rowsOut": "rows_out",
    "rowsRejected": "rows_rejected",
}


def reduce_endpoint(body: Body | None, revisions: Iterable[Body]) -> EndpointSeen | None:
    """Reduce the ModelEndpoint that a run takes its model from."""
    if body is None:
        return None
    stable = body.get("status", {}).get("stable") or {}
    records = reduce_observation(revisions, (), routers={}, reports={}).revisions
    return EndpointSeen(stable=stable.get("revision"), revisions=records)


def reduce_runs(bodies: Iterable[Body]) -> tuple[RunSeen, ...]:
    """Reduce the runs of a schedule, the earliest first; those that are going are gone."""
    runs = [_run(body) for body in bodies if not is_terminating(body)]
    return tuple(sorted(runs, key=lambda run: (run.scheduled_at, run.name)))


def _run(body: Body) -> RunSeen:
    metadata, status = body["metadata"], body.get("status", {})
    at = metadata.get("annotations", {}).get(names.ANNOTATION_SCHEDULED_AT) or metadata["creationTimestamp"]
    ended = status.get("completionTime")
    return RunSeen(
        name=metadata["name"],
        uid=metadata["uid"],
        scheduled_at=datetime.fromisoformat(at),
        phase=Phase(status.get("phase") or Phase.PENDING),
        completion_time=datetime.fromisoformat(ended) if ended else None,
    )


def _place(body: Body) -> tuple[Stage | None, int]:
    labels = body["metadata"].get("labels", {})
    stage, attempt = labels.get(names.LABEL_BATCH_STAGE), str(labels.get(names.LABEL_BATCH_ATTEMPT, ""))
    known = stage in tuple(Stage) and attempt.isdecimal()
    return (Stage(stage), int(attempt)) if known else (None, 0)


def _index(body: Body) -> int:
    index = str(body["metadata"].get("annotations", {}).get(INDEX_ANNOTATION, "0"))
    return int(index) if index.isdecimal() else 0


def _termination(body: Body) -> Body | None:
    statuses = body.get("status", {}).get("containerStatuses") or []
    return next((told["state"]["terminated"] for told in statuses if "terminated" in told.get("state", {})), None)


def _exit_code(ended: Body | None, *, phase: str | None) -> int | None:
    """Read the exit code; a pod that failed before its container ran has none, and that is a failure all the same."""
    if ended is not None:
        return int(ended["exitCode"])
    return -1 if phase == "Failed" else None


def _document(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _comparison(value: object) -> ComparisonStatus | None:
    if not isinstance(value, Mapping):
        return None
    largest = value.get("largestDifference")
    return ComparisonStatus(
        rows=_number(value.get("rows")),
        disagreeing=_number(value.get("disagreeing")),
        largest_difference=float(largest) if isinstance(largest, int | float) else None,
    )


def _is_true(condition: Body | None) -> bool:
    return condition is not None and condition["status"] == "True"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
