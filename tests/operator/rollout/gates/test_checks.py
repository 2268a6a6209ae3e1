"""Gates that ask somebody else: what they remember, when they are due, what they find."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelendpoint_operator.api.gates import Gates, HttpGate, PrometheusGate
from modelendpoint_operator.api.status import CheckStatus, Verdict
from modelendpoint_operator.observation import Measurement
from modelendpoint_operator.rollout.gates.checks import (
    BEING_MEASURED,
    CheckGate,
    due_checks,
    judge_checks,
    remember,
    time_to_measure,
    wanted_gates,
)

NOW = datetime(2026, 11, 25, tzinfo=UTC)
ALIVE = HttpGate(name="alive", path="/v2/health/ready", interval_seconds=10, failure_threshold=3)
JUDGE = HttpGate(name="judge", url="http://judge/", interval_seconds=60, failure_threshold=2)
QUERY = PrometheusGate(name="revenue", query="up", min=0.5, max=2, interval_seconds=15, failure_threshold=3)
ALL = Gates(http=[ALIVE, JUDGE], prometheus=[QUERY])
NAMES: dict[str, CheckGate] = {"http/alive": ALIVE, "http/judge": JUDGE, "prometheus/revenue": QUERY}


def nothing(message: str = "nobody is there") -> Measurement:
    return Measurement(message=message)


def after(gate: CheckGate, *measurements: Measurement) -> CheckStatus:
    """Take measurements one after the other."""
    name = next(name for name, known in NAMES.items() if known.name == gate.name)
    memory: tuple[CheckStatus, ...] = ()
    for measurement in measurements:
        memory = remember({name: gate}, memory, {name: measurement}, now=NOW)
    (entry,) = memory
    return entry


def values(*numbers: float | None) -> list[Measurement]:
    return [nothing() if number is None else Measurement(value=number) for number in numbers]


def test_only_the_candidate_itself_is_asked_before_it_has_traffic() -> None:
    assert set(wanted_gates(ALL, has_traffic=False)) == {"http/alive"}
    assert set(wanted_gates(ALL, has_traffic=True)) == set(NAMES)


def test_what_was_never_measured_is_due_and_stays_so_until_it_is_remembered() -> None:
    due = due_checks(NAMES, (), candidate=8, stable=7, period=NOW, now=NOW)

    assert {check.name: (check.gate, check.candidate, check.stable, check.period) for check in due} == {
        name: (gate, 8, 7, NOW) for name, gate in NAMES.items()
    }
    assert due_checks(NAMES, (), candidate=8, stable=7, period=NOW, now=NOW + timedelta(hours=1)) == due


def test_each_gate_is_due_again_after_its_own_interval() -> None:
    memory = remember(NAMES, (), dict.fromkeys(NAMES, Measurement(value=1)), now=NOW)

    def due_after(seconds: int) -> set[str]:
        later = NOW + timedelta(seconds=seconds)
        return {check.name for check in due_checks(NAMES, memory, candidate=8, stable=None, period=NOW, now=later)}

    assert due_after(0) == due_after(9) == set()
    assert due_after(10) == due_after(14) == {"http/alive"}
    assert due_after(15) == due_after(59) == {"http/alive", "prometheus/revenue"}
    assert due_after(60) == set(NAMES)


def test_the_time_to_the_next_measurement_is_that_of_the_most_impatient_gate() -> None:
    memory = remember(NAMES, (), dict.fromkeys(NAMES, Measurement(value=1)), now=NOW)

    assert time_to_measure(NAMES, memory, now=NOW + timedelta(seconds=4)) == timedelta(seconds=6)
    assert time_to_measure({}, (), now=NOW) is None


@pytest.mark.parametrize("memory", [(), remember(NAMES, (), {"http/alive": Measurement(value=200)}, now=NOW)], ids=len)
def test_while_an_answer_is_awaited_it_is_looked_for_every_second(memory: tuple[CheckStatus, ...]) -> None:
    assert time_to_measure(NAMES, memory, now=NOW + timedelta(hours=1)) == BEING_MEASURED


SEQUENCES: Mapping[str, tuple[CheckGate, list[Measurement], Verdict, int]] = {
    "one right result passes": (QUERY, values(1), Verdict.PASS, 0),
    "both limits are right": (QUERY, values(0.5, 2), Verdict.PASS, 0),
    "one wrong result is not enough": (QUERY, values(2.1), Verdict.INSUFFICIENT_DATA, 1),
    "wrong results in a row fail": (QUERY, values(2.1, 0.4, 3), Verdict.FAIL, 3),
    "a right one in between takes the count back": (QUERY, values(3, 3, 1, 3, 3), Verdict.INSUFFICIENT_DATA, 2),
    "not to know neither counts nor takes back": (QUERY, values(3, 3, None, 3), Verdict.FAIL, 3),
    "not to know is no pass": (QUERY, values(1, None), Verdict.INSUFFICIENT_DATA, 0),
    "not to know for ever is no failure": (QUERY, values(*[None] * 50), Verdict.INSUFFICIENT_DATA, 0),
    "a result that is no number tells nothing": (QUERY, values(*[math.nan] * 5), Verdict.INSUFFICIENT_DATA, 0),
    "infinity is above every max": (QUERY, values(*[math.inf] * 3), Verdict.FAIL, 3),
    "a right result after a failure passes": (QUERY, values(3, 3, 3, 1), Verdict.PASS, 0),
    "200 passes": (JUDGE, values(200), Verdict.PASS, 0),
    "202 is not known yet": (JUDGE, values(202, 202, 202), Verdict.INSUFFICIENT_DATA, 0),
    "anything else is wrong": (JUDGE, values(404, 204), Verdict.FAIL, 2),
    "a judge that is away says nothing": (JUDGE, values(None, None, None), Verdict.INSUFFICIENT_DATA, 0),
    "a candidate that does not answer is at fault": (ALIVE, values(None, None, None), Verdict.FAIL, 3),
    "a candidate may be late twice": (ALIVE, values(None, None, 200), Verdict.PASS, 0),
}


@pytest.mark.parametrize(("gate", "measurements", "verdict", "failures"), SEQUENCES.values(), ids=SEQUENCES.keys())
def test_measurements_lead_to_a_verdict(
    gate: CheckGate, measurements: list[Measurement], verdict: Verdict, failures: int
) -> None:
    entry = after(gate, *measurements)

    assert (entry.verdict, entry.failures) == (verdict, failures)


MESSAGES: list[tuple[CheckGate, list[Measurement], str]] = [
    (QUERY, values(1.25), "Gate prometheus/revenue: the result is 1.25"),
    (
        QUERY,
        values(2.5),
        "Gate prometheus/revenue can't tell yet (wrong once; it fails at 3): the result is 2.5, above max 2",
    ),
    (QUERY, values(3, 3, 0.1), "Gate prometheus/revenue failed, 3 times in a row: the result is 0.1, below min 0.5"),
    (QUERY, [nothing()], "Gate prometheus/revenue can't tell yet: nobody is there"),
    (JUDGE, [Measurement(value=200, message="AUC 0.91")], "Gate http/judge: the service answered 200 (AUC 0.91)"),
    (ALIVE, values(503, 503, 503), "Gate http/alive failed, 3 times in a row: the candidate answered 503"),
    (JUDGE, [Measurement()], "Gate http/judge can't tell yet: there was no answer"),
]


@pytest.mark.parametrize(("gate", "measurements", "message"), MESSAGES, ids=[message for *_, message in MESSAGES])
def test_the_message_tells_the_numbers(gate: CheckGate, measurements: list[Measurement], message: str) -> None:
    assert after(gate, *measurements).message == message


def test_a_failure_threshold_of_one_fails_at_once() -> None:
    strict = QUERY.model_copy(update={"failure_threshold": 1})

    assert after(strict, *values(3)).message == "Gate prometheus/revenue failed, once: the result is 3, above max 2"


def test_findings_are_what_is_remembered() -> None:
    memory = remember(NAMES, (), {"http/judge": Measurement(value=200)}, now=NOW)

    assert {finding.gate: (finding.verdict, finding.message) for finding in judge_checks(NAMES, memory)} == {
        "http/alive": (Verdict.INSUFFICIENT_DATA, "Gate http/alive has not been measured in this step yet"),
        "http/judge": (Verdict.PASS, "Gate http/judge: the service answered 200"),
        "prometheus/revenue": (
            Verdict.INSUFFICIENT_DATA,
            "Gate prometheus/revenue has not been measured in this step yet",
        ),
    }


def test_memory_keeps_to_the_gates_that_there_are() -> None:
    memory = remember(NAMES, (), dict.fromkeys(NAMES, Measurement(value=1)), now=NOW)
    fewer: dict[str, CheckGate] = {"http/alive": ALIVE}

    assert [entry.gate for entry in remember(fewer, memory, {"http/judge": nothing()}, now=NOW)] == ["http/alive"]


def test_nothing_new_changes_nothing() -> None:
    memory = remember(NAMES, (), dict.fromkeys(NAMES, Measurement(value=1)), now=NOW)

    assert remember(NAMES, memory, {}, now=NOW + timedelta(hours=1)) == memory


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_json_has_no_word_for_is_not_in_the_status(value: float) -> None:
    written: dict[str, Any] = after(QUERY, Measurement(value=value)).model_dump(mode="json", exclude_none=True)

    assert "value" not in written
