"""Gates that compare predictions: which run they ask for, when they ask anew, and what they find in it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelendpoint_operator.api.batch_rules import NAME_LENGTH
from modelendpoint_operator.api.batch_status import BatchPredictionStatus
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.gates import ReplayGate
from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_operator.api.status import ReplayStatus, Verdict
from modelendpoint_operator.observation import ReplaySeen
from modelendpoint_operator.rollout.gates.finding import Finding
from modelendpoint_operator.rollout.gates.replay import (
    LOOK,
    LOOK_LATER,
    Pair,
    judge_replays,
    overrule,
    remember,
    time_to_look,
)
from support.world import compared

NOW = datetime(2026, 11, 25, 12, 0, 0, 250_000, tzinfo=UTC)
SPEC = ModelEndpointSpec.model_validate({"model": {"uri": "s3://models/churn.onnx"}})


def a_pair(*, name: str = "churn", uid: str = "u1", candidate: int = 8, stable: int = 7) -> Pair:
    endpoint = ModelEndpoint(name=name, namespace="shop", uid=uid, generation=1, spec=SPEC)
    return Pair(endpoint=endpoint, candidate=candidate, stable=stable)


def a_gate(**changes: Any) -> ReplayGate:
    fields = {"name": "rows", "input": {"uri": "s3://rows/a.csv"}, "output": {"uri": "s3://reports/"}}
    return ReplayGate.model_validate(fields | changes)


def ask(
    *gates: ReplayGate,
    memory: tuple[ReplayStatus, ...] = (),
    seen: Mapping[str, ReplaySeen] | None = None,
    pair: Pair | None = None,
    asks: bool = True,
    now: datetime = NOW,
) -> tuple[ReplayStatus, ...]:
    return remember(gates or (a_gate(),), memory, seen or {}, pair=pair or a_pair(), asks=asks, now=now)


def seen(*entries: ReplayStatus, **status: Any) -> dict[str, ReplaySeen]:
    told = BatchPredictionStatus.model_validate(status)
    return {entry.run: ReplaySeen(gate=entry.gate, status=told) for entry in entries}


def find(gate: ReplayGate, **status: Any) -> Finding:
    memory = ask(gate)
    (finding,) = judge_replays([gate], memory, seen(*memory, **status))
    return finding


def names_of(*changes: dict[str, Any]) -> set[str]:
    return {ask(a_gate(**change))[0].run for change in changes}


# Which run.


def test_limits_are_no_part_of_a_run_and_all_else_is() -> None:
    assert len(names_of({}, {"maxDisagreementPercent": 5}, {"maxRejectedPercent": 50})) == 1
    others = [
        {"input": {"uri": "s3://rows/b.csv"}},
        {"output": {"uri": "s3://elsewhere/"}},
        {"columns": {"features": ["a"]}},
        {"absoluteTolerance": 0.1},
        {"relativeTolerance": 0.1},
        {"parallelism": 2},
        {"resources": {"limits": {"memory": "8Gi"}}},
    ]
    assert len(names_of({}, *others)) == 1 + len(others)


def test_other_revisions_another_endpoint_or_another_time_are_another_run() -> None:
    pairs = [a_pair(), a_pair(candidate=9), a_pair(stable=6), a_pair(uid="u2"), a_pair(name="other")]
    runs = {ask(pair=pair)[0].run for pair in pairs} | {ask(now=NOW + timedelta(seconds=1))[0].run}

    assert len(runs) == 6


def test_a_run_is_known_again_by_what_the_status_keeps_of_its_time() -> None:
    (entry,) = ask()
    (stored,) = [ReplayStatus.model_validate_json(entry.model_dump_json(by_alias=True))]

    assert ask(memory=(stored,), seen=seen(stored), now=NOW + timedelta(days=3)) == (stored,)


@given(
    name=st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True),
    gate=st.from_regex(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True),
    candidate=st.integers(1, 2**31 - 1),
)
def test_any_name_is_one_that_a_batch_prediction_may_have(name: str, gate: str, candidate: int) -> None:
    (entry,) = ask(a_gate(name=gate), pair=a_pair(name=name, candidate=candidate))

    assert len(entry.run) <= NAME_LENGTH
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", entry.run)


# When another one.


def test_nothing_is_asked_for_once_there_is_traffic_and_what_was_asked_for_stays() -> None:
    assert ask(asks=False) == ()
    memory = ask()
    assert ask(memory=memory, asks=False) == memory
    assert ask(a_gate(parallelism=2), memory=memory, asks=False) == ()


def test_a_run_that_is_gone_is_asked_for_again_but_not_within_its_second() -> None:
    memory = ask()

    assert ask(memory=memory, now=NOW + timedelta(milliseconds=500)) == memory
    assert ask(memory=memory, now=NOW + timedelta(seconds=1)) != memory


def test_a_gate_that_is_gone_takes_its_run_along() -> None:
    first, second = a_gate(name="first"), a_gate(name="second")
    memory = ask(first, second)

    assert ask(second, memory=memory, seen=seen(*memory)) == memory[1:]


def test_an_overruled_gate_is_not_asked_again_although_its_run_is_gone() -> None:
    memory = overrule(ask(), {"replay/rows"})

    assert memory[0].overruled
    assert ask(memory=memory, now=NOW + timedelta(hours=1)) == memory
    assert judge_replays([a_gate()], memory, seen(*memory, **compared(1000))) == ()
    assert overrule(ask(), {"replay/other", "errorRate"}) == ask()


def test_runs_are_looked_at_as_long_as_they_matter() -> None:
    memory = ask()
    ended = {"completionTime": NOW}

    assert time_to_look(memory, {}, asks=True) == LOOK
    assert time_to_look(memory, {}, asks=False) is None
    assert (
        time_to_look(memory, seen(*memory), asks=True) == time_to_look(memory, seen(*memory), asks=False) == LOOK_LATER
    )
    assert time_to_look(memory, seen(*memory, **ended), asks=True) is None
    assert time_to_look(overrule(memory, {"replay/rows"}), {}, asks=True) is None


# What it finds.


@pytest.mark.parametrize(
    ("disagreeing", "limit", "verdict"),
    [(0, 0, "Pass"), (1, 0, "Fail"), (10, 1, "Pass"), (11, 1, "Fail"), (1000, 100, "Pass"), (999, 99.8, "Fail")],
)
def test_the_limit_itself_is_allowed(disagreeing: int, limit: float, verdict: str) -> None:
    assert find(a_gate(maxDisagreementPercent=limit), **compared(disagreeing)).verdict == verdict


@pytest.mark.parametrize(
    ("rejected", "limit", "verdict"), [(10, 1, "Pass"), (11, 1, "InsufficientData"), (1000, 100, "InsufficientData")]
)
def test_rows_that_neither_can_predict_are_no_measure(rejected: int, limit: float, verdict: str) -> None:
    assert find(a_gate(maxRejectedPercent=limit), **compared(0, rejected=rejected)).verdict == verdict


def test_a_run_that_works_tells_how_far_it_is() -> None:
    progress = {"text": "400/1000", "shards": 2, "rowsIn": 400, "measuredAt": NOW}
    finding = find(a_gate(), phase="Working", progress=progress)

    assert (finding.verdict, "has compared 400/1000" in finding.message) == (Verdict.INSUFFICIENT_DATA, True)


def test_what_a_run_is_stuck_with_is_told() -> None:
    stuck = {"type": "Stalled", "status": "True", "reason": "PodsNotStarting", "message": "exceeded quota"}
    condition = {**stuck, "lastTransitionTime": NOW, "observedGeneration": 1}
    finding = find(a_gate(), phase="Planning", conditions=[condition])

    assert finding.verdict is Verdict.INSUFFICIENT_DATA
    assert finding.message.endswith("; PodsNotStarting: exceeded quota")


@pytest.mark.parametrize(
    "reason", ["StoreUnavailable", "OutOfMemory", "OutputInUse", "MissingColumn", "DeadlineExceeded"]
)
def test_no_other_failure_of_a_run_speaks_against_the_candidate(reason: str) -> None:
    finding = find(a_gate(), phase="Failed", failure={"reason": reason, "message": "so it is."})

    assert finding.verdict is Verdict.INSUFFICIENT_DATA
    assert f"failed: {reason}: so it is." in finding.message


def test_a_run_that_failed_is_told_with_how_to_try_it_again() -> None:
    told = {"type": "Failed", "status": "True", "reason": "OutOfMemory", "message": "Too little. To go on: retry=1"}
    condition = {**told, "lastTransitionTime": NOW, "observedGeneration": 1}
    failure = {"reason": "OutOfMemory", "message": "Too little."}
    finding = find(a_gate(), phase="Failed", failure=failure, conditions=[{**condition, "type": "Stalled"}, condition])

    assert finding.message.endswith("failed: OutOfMemory: Too little. To go on: retry=1")


def test_models_that_can_not_be_compared_do() -> None:
    finding = find(a_gate(), phase="Failed", failure={"reason": "ModelsDiffer", "message": "Other outputs."})

    assert (finding.verdict, "Other outputs." in finding.message) == (Verdict.FAIL, True)
