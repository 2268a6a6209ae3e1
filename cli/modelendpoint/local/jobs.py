"""Which pods a Job creates and ends, and when it is over: what the Job controller does, for the Jobs that the operator makes. Pure.

As on a cluster, but for two things: a failed pod's successor waits as short as a server's does here, and nobody evicts pods,
so that rules about disruptions are never met.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Body = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A pod of a Job."""

    name: str
    index: int
    """Which part of the work it does; 0 where the Job has only one."""
    exit_code: int | None = None
    """None while it runs."""
    ended_at: datetime | None = None
    is_ending: bool = False
    """It was told to end; however it does, it counts neither as done nor as failed."""

    @property
    def runs(self) -> bool:
        """Tell whether it has not ended."""
        return self.exit_code is None

    @property
    def has_failed(self) -> bool:
        """Tell whether it has ended with an error."""
        return self.exit_code not in (None, 0)


@dataclass(frozen=True, kw_only=True)
class Move:
    """What to do with a Job's pods, and what the Job shall say of itself."""

    status: Mapping[str, Any]
    create: tuple[int, ...] = ()
    """The indexes of new pods."""
    end: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """How a Job is over."""

    kind: str
    reason: str
    message: str


def drive(job: Body, pods: Sequence[Attempt], *, pauses: Sequence[float], now: datetime) -> Move:
    """Decide on one Job; ``pauses`` are the seconds before the first, second … new pod of an index, the last for all later."""
    spec, status = job["spec"], job.get("status") or {}
    running = [pod for pod in pods if pod.runs]
    ending = tuple(pod.name for pod in running if not pod.is_ending)
    if status.get("conditions"):
        return Move(status=status, end=ending)
    if spec.get("suspend"):
        # Without a start: the time that a Job may take begins anew when it goes on.
        return Move(status=_counts(pods), end=ending)
    started = datetime.fromisoformat(status["startTime"]) if "startTime" in status else now
    told = {"startTime": started.isoformat(), **_counts(pods)}
    verdict = _judge(spec, pods, runs_for=now - started)
    if verdict is None:
        return _fill(spec, pods, told, pauses=pauses, now=now)
    if running:
        # It is over when nobody works on it any more: what comes next must not meet one of its pods.
        return Move(status=told, end=ending)
    return Move(status={**told, "conditions": [_condition(verdict, now)]})


def _judge(spec: Body, pods: Sequence[Attempt], *, runs_for: timedelta) -> _Verdict | None:
    fatal = next((pod for pod in pods if pod.has_failed and _fails_the_job(spec, pod)), None)
    if fatal is not None:
        message = (
            f"Pod {fatal.name} failed with exit code {fatal.exit_code}, which a rule of podFailurePolicy calls final"
        )
        return _Verdict(kind="Failed", reason="PodFailurePolicy", message=message)
    found = _judge_indexes(spec, pods) if _is_indexed(spec) else _judge_one(spec, pods)
    limit = spec.get("activeDeadlineSeconds")
    if found is None and limit is not None and runs_for >= timedelta(seconds=limit):
        return _Verdict(
            kind="Failed", reason="DeadlineExceeded", message="Job was active longer than specified deadline"
        )
    return found


def _judge_one(spec: Body, pods: Sequence[Attempt]) -> _Verdict | None:
    if _done(pods):
        return _complete()
    if sum(pod.has_failed for pod in pods) > spec["backoffLimit"]:
        message = "Job has reached the specified backoff limit"
        return _Verdict(kind="Failed", reason="BackoffLimitExceeded", message=message)
    return None


def _judge_indexes(spec: Body, pods: Sequence[Attempt]) -> _Verdict | None:
    done, given_up = _done(pods), _given_up(spec, pods)
    most = spec.get("maxFailedIndexes")
    if most is not None and len(given_up) > most:
        message = "Job has exceeded the specified maximal number of failed indexes"
        return _Verdict(kind="Failed", reason="MaxFailedIndexesExceeded", message=message)
    if len(done | given_up) < spec["completions"]:
        return None
    return (
        _Verdict(kind="Failed", reason="FailedIndexes", message="Job has failed indexes") if given_up else _complete()
    )


def _complete() -> _Verdict:
    return _Verdict(kind="Complete", reason="CompletionsReached", message="Reached expected number of succeeded pods")


def _fill(spec: Body, pods: Sequence[Attempt], status: Body, *, pauses: Sequence[float], now: datetime) -> Move:
    """Give every index that is left a pod, as many as may run at once; of too many the last ones go."""
    running = sorted((pod for pod in pods if pod.runs), key=lambda pod: pod.index)
    taken = _done(pods) | _given_up(spec, pods) | {pod.index for pod in running}
    left = [index for index in range(spec["completions"]) if index not in taken]
    due = [index for index in left if now >= _due(index, pods, pauses=pauses, now=now)]
    surplus = [pod.name for pod in running[spec["parallelism"] :] if not pod.is_ending]
    return Move(status=status, create=tuple(due[: max(0, spec["parallelism"] - len(running))]), end=tuple(surplus))


def _due(index: int, pods: Sequence[Attempt], *, pauses: Sequence[float], now: datetime) -> datetime:
    """Say when an index may have its next pod."""
    failed = [pod.ended_at or now for pod in pods if pod.index == index and pod.has_failed]
    return max(failed) + timedelta(seconds=pauses[min(len(failed), len(pauses)) - 1]) if failed else now


def _done(pods: Sequence[Attempt]) -> set[int]:
    return {pod.index for pod in pods if pod.exit_code == 0}


def _given_up(spec: Body, pods: Sequence[Attempt]) -> set[int]:
    """Name the indexes that have failed too often."""
    if not _is_indexed(spec):
        return set()
    failures = Counter(pod.index for pod in pods if pod.has_failed)
    return {index for index, count in failures.items() if count > spec["backoffLimitPerIndex"]} - _done(pods)


def _is_indexed(spec: Body) -> bool:
    return bool(spec.get("completionMode") == "Indexed")


def _fails_the_job(spec: Body, pod: Attempt) -> bool:
    """Tell whether a rule says that no further pod can help. The first rule that fits a pod's end decides."""
    for rule in (spec.get("podFailurePolicy") or {}).get("rules", ()):
        codes = rule.get("onExitCodes")
        if codes and (pod.exit_code in codes["values"]) == (codes["operator"] == "In"):
            return bool(rule["action"] == "FailJob")
    return False


def _counts(pods: Sequence[Attempt]) -> dict[str, Any]:
    return {
        "active": sum(pod.runs for pod in pods),
        "succeeded": sum(pod.exit_code == 0 for pod in pods),
        "failed": sum(pod.has_failed for pod in pods),
    }


def _condition(verdict: _Verdict, now: datetime) -> dict[str, str]:
    return {
        "type": verdict.kind,
        "status": "True",
        "reason": verdict.reason,
        "message": verdict.message,
        "lastTransitionTime": now.isoformat(timespec="seconds"),
    }
