"""What gates are asked, with which share of the permitted error, and what of it is remembered."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.status import ModelEndpointStatus, Phase, RevisionStatus, RolloutStatus
from modelendpoint_operator.observation import Counters, Measurement, Observation, RouterSeen
from modelendpoint_operator.rollout import judging
from modelendpoint_operator.rollout.course import Course, Situation
from modelendpoint_operator.rollout.gates import error_rate, latency
from modelendpoint_operator.rollout.judging import begin_period, failure_of, judge, time_to_look, undecided_of
from modelendpoint_operator.rollout.waking import due_checks

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = {"name": "first", "path": "/"}
QUERY = {"name": "sales", "query": "sum(sales)", "min": 1}


def an_endpoint(*, phase: Phase = Phase.HOLDING, replicas: int = 1, **rollout: Any) -> ModelEndpoint:
    endpoint = ModelEndpoint.from_body(
        {
            "metadata": {"name": "churn", "namespace": "shop", "uid": "u", "generation": 1},
            "spec": {"model": {"uri": "s3://m/k"}, "replicas": replicas, "rollout": rollout},
        }
    )
    status = ModelEndpointStatus(
        stable=RevisionStatus(revision=7),
        candidate=RevisionStatus(revision=8),
        rollout=RolloutStatus(phase=phase, since=START, measured_since=START),
    )
    return replace(endpoint, status=status)


def a_situation(endpoint: ModelEndpoint, *, seconds: float = 0, **seen: Any) -> Situation:
    now = START + timedelta(seconds=seconds)
    return Situation(endpoint=endpoint, seen=Observation(**seen), records={}, target=8, now=now)


def a_router(*, stable: tuple[int, int], candidate: tuple[int, int]) -> RouterSeen:
    counted = {
        revision: Counters(answers=answers, server_errors=errors)
        for revision, (answers, errors) in ((7, stable), (8, candidate))
    }
    return RouterSeen(name="a", terminating=False, config=None, route_version="v", counted=counted)


def begun(endpoint: ModelEndpoint, *, weight: int = 10) -> Course:
    """A period that begins at START with counters that are not nothing."""
    course = Course(stable=7, candidate=8, rollout=endpoint.status.rollout, handled={})
    look = a_situation(endpoint, routers=(a_router(stable=(900, 9), candidate=(50, 50)),))
    return begin_period(course, look, weight=weight, compared_with=7)


def after(endpoint: ModelEndpoint, course: Course, *, seconds: float, **counts: tuple[int, int]) -> Course:
    return judge(course, a_situation(endpoint, seconds=seconds, routers=(a_router(**counts),)))


def test_only_what_came_after_the_period_began_is_judged() -> None:
    endpoint = an_endpoint()
    course = begun(endpoint)

    same = after(endpoint, course, seconds=1, stable=(900, 9), candidate=(50, 50))
    assert [finding.candidate_requests for finding in undecided_of(same)] == [0]
    worse = after(endpoint, course, seconds=1, stable=(1900, 19), candidate=(150, 100))
    finding = failure_of(worse)
    assert finding is not None
    assert (finding.gate, finding.candidate_requests, finding.stable_requests) == ("errorRate", 100, 1000)


@pytest.mark.parametrize(("before", "fails"), [((0, 0), True), ((900, 900), False)])
def test_what_is_compared_with_a_revision_that_never_had_a_request_is_judged_by_itself(
    before: tuple[int, int], fails: bool
) -> None:
    endpoint = an_endpoint()
    course = Course(stable=7, candidate=8, rollout=endpoint.status.rollout, handled={})
    look = a_situation(endpoint, routers=(a_router(stable=before, candidate=(0, 0)),))
    course = begin_period(course, look, weight=100, compared_with=7)

    found = failure_of(after(endpoint, course, seconds=1, stable=before, candidate=(100, 100)))
    assert (found is not None) == fails


def test_a_verdict_is_told_once_in_a_period() -> None:
    endpoint = an_endpoint()
    course = after(endpoint, begun(endpoint), seconds=1, stable=(1900, 19), candidate=(150, 150))
    again = after(endpoint, course, seconds=20, stable=(2900, 29), candidate=(250, 250))

    assert [note.reason for note in again.notes] == ["GateFailed"]
    assert [(told.verdict, told.gate, told.step) for told in again.decisions] == [("Fail", "errorRate", 0)]


def test_numbers_are_written_down_only_now_and_then() -> None:
    endpoint = an_endpoint()
    first = after(endpoint, begun(endpoint), seconds=1, stable=(901, 9), candidate=(51, 50))
    soon = after(endpoint, first, seconds=5.9, stable=(905, 9), candidate=(52, 50))
    later = after(endpoint, first, seconds=6, stable=(905, 9), candidate=(52, 50))
    unchanged = after(endpoint, first, seconds=60, stable=(901, 9), candidate=(51, 50))

    assert soon == first
    assert later.rollout is not None and later.rollout.measured_at == START + timedelta(seconds=6)
    assert unchanged == first


def test_the_permitted_error_is_shared_by_comparisons_and_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    for module in (error_rate, latency):
        original = module.judge

        def recorded(*args: Any, original: Any = original, **kwargs: Any) -> Any:
            given.append(kwargs["alpha"])
            return original(*args, **kwargs)

        monkeypatch.setattr(module, "judge", recorded)
    steps = [{"weight": 0}, {"weight": 10}, {"weight": 50}]
    gates = {"errorRate": {}, "latency": {}, "confidencePercent": 94}
    endpoint = an_endpoint(steps=steps, gates=gates, bakeSeconds=9)
    after(endpoint, begun(endpoint), seconds=1, stable=(901, 9), candidate=(51, 50))

    assert given == [pytest.approx(0.06 / 6)] * 2, "two comparisons, two steps with traffic and the bake"


def test_without_traffic_only_the_candidate_itself_is_asked() -> None:
    endpoint = an_endpoint(gates={"http": [FIRST], "prometheus": [QUERY], "errorRate": {}, "latency": {}})
    course = judge(begun(endpoint, weight=0), a_situation(endpoint, seconds=1))

    assert [finding.gate for finding in undecided_of(course)] == ["http/first"]


def test_a_measurement_from_before_the_period_says_nothing() -> None:
    endpoint = an_endpoint(gates={"http": [FIRST]})
    course, answer = begun(endpoint, weight=0), {"http/first": Measurement(value=200)}

    early = judge(course, a_situation(endpoint, measurements=answer))
    assert [finding.gate for finding in undecided_of(early)] == ["http/first"]
    in_time = judge(course, a_situation(endpoint, seconds=1, measurements=answer))
    assert undecided_of(in_time) == []
    assert in_time.rollout is not None and [check.verdict for check in in_time.rollout.checks] == ["Pass"]


def test_nothing_is_asked_outside_of_a_period_or_by_a_suspended_endpoint() -> None:
    gates = {"http": [FIRST]}
    due = due_checks(an_endpoint(gates=gates), now=START)
    assert [(check.name, check.candidate, check.stable, check.period) for check in due] == [("http/first", 8, 7, START)]

    assert due_checks(an_endpoint(gates=gates, replicas=0), now=START) == ()
    moving = an_endpoint(gates=gates, phase=Phase.DEPLOYING)
    assert moving.status.rollout is not None
    idle = moving.status.rollout.model_copy(update={"measured_since": None})
    status = moving.status.model_copy(update={"rollout": idle})
    assert due_checks(replace(moving, status=status), now=START) == ()


@pytest.mark.parametrize(("seconds", "wait"), [(0, judging.LOOK), (59, judging.LOOK), (60, judging.LOOK_LATER)])
def test_a_young_period_is_looked_at_more_often(seconds: float, wait: timedelta) -> None:
    endpoint = an_endpoint()

    assert time_to_look(begun(endpoint), a_situation(endpoint, seconds=seconds)) == wait


@pytest.mark.parametrize(("weight", "gates"), [(0, {"errorRate": {}}), (10, {})])
def test_where_nothing_is_compared_nobody_has_to_look(weight: int, gates: dict[str, Any]) -> None:
    endpoint = an_endpoint(gates=gates)

    assert time_to_look(begun(endpoint, weight=weight), a_situation(endpoint)) is None


@pytest.mark.parametrize(
    ("phase", "measured"),
    [(Phase.SHIFTING, 3), (Phase.PROMOTING, 3), (Phase.HOLDING, 4), (Phase.PAUSED, 4), (Phase.BAKING, None)],
)
def test_while_a_weight_is_on_its_way_the_step_before_it_is_measured(phase: Phase, measured: int | None) -> None:
    assert judging.measured_step(RolloutStatus(phase=phase, since=START, step=4)) == measured
