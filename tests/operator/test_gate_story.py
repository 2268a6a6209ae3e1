"""Gates in the life of an endpoint: what a bad candidate does to requests, what people see of it, and what follows.

Traffic is 200 requests in a turn, which is a second. A candidate that fails all of them must be out in seconds.
"""

from datetime import timedelta
from typing import Any

import pytest

from modelendpoint_operator.observation import Measurement, PodReport
from support.invariants import Invariants, assert_clean
from support.stories import a_serving_world, a_world, everything_is, split
from support.world import World

STEPS = [{"weight": 10, "holdSeconds": 30}, {"weight": 50, "holdSeconds": 30}]
CANARY: dict[str, Any] = {"steps": STEPS}
LONG: dict[str, Any] = {"steps": [{"weight": 10, "holdSeconds": 3000}]}
ERRORS: dict[str, Any] = {"errorRate": {}}


def a_busy_world(rollout: dict[str, Any], *, traffic: int = 200, **spec: Any) -> World:
    """Revision 1 serves under load."""
    world = a_serving_world(rollout=rollout, **spec)
    world.traffic = traffic
    world.settle(turns=5)
    return world


def update(world: World, *, turns: int, version: str = "2") -> World:
    world.use_model(version)
    world.settle(turns=turns)
    return world


def stalled(world: World) -> tuple[str, str]:
    condition = world.condition("Stalled")
    return (condition["reason"], condition["message"]) if condition else ("", "")


def decisions(world: World, *parts: str) -> list[tuple[Any, ...]]:
    return [tuple(told.get(part) for part in parts) for told in world.status.get("decisions", [])]


# Error rates.


def test_a_candidate_that_fails_every_request_is_out_within_seconds() -> None:
    world = a_busy_world(CANARY)
    world.failing = {2: 1.0}
    world.use_model("2")
    states = [state.live_weights()[0].get(2, 0) for state in world.history(turns=40)]

    assert 0 < sum(weight > 0 for weight in states) / 2 <= 4, "two states a turn"
    assert max(states) == 10
    assert split(world) == {1: 100}
    reason, message = stalled(world)
    assert reason == "GateFailed"
    assert "Revision 2 failed in step 1: errorRate: candidate 100 % of" in message
    assert "set modelendpoint.dev/retry=2 to try it again, or apply another model" in message
    assert world.condition("Available")["status"] == "True"  # type: ignore[index]
    assert tuple(world.told()[-2:]) == ("GateFailed", "RolledBack")
    assert_clean(world)


def test_what_was_found_and_decided_stands_in_the_status_with_its_numbers() -> None:
    world = a_busy_world(CANARY)
    world.failing = {2: 1.0}
    update(world, turns=40)

    failed, rolled_back = world.status["decisions"][-2:]
    assert (failed["revision"], failed["step"], failed["gate"], failed["verdict"]) == (2, 0, "errorRate", "Fail")
    assert failed["lower"] > failed["threshold"] == 2
    assert failed["candidateRequests"] > 0 and failed["stableRequests"] > 5 * failed["candidateRequests"]
    assert (rolled_back["revision"], rolled_back["verdict"]) == (2, "RolledBack")
    assert failed["message"] in rolled_back["message"]


def test_a_candidate_as_good_as_stable_passes_each_step_and_is_promoted() -> None:
    world = a_busy_world(CANARY, traffic=2000)
    world.failing = {1: 0.01, 2: 0.01}
    update(world, turns=100)

    assert everything_is(world, 2)
    found = decisions(world, "step", "gate", "verdict")
    assert found[-3:] == [(0, "errorRate", "Pass"), (1, "errorRate", "Pass"), (1, None, "Promoted")]
    assert world.told().count("GatePassed") == 2


def test_errors_that_stable_has_too_are_no_fault_of_the_candidate() -> None:
    world = a_busy_world({**CANARY, "gates": {**ERRORS, "insufficientData": {"afterSeconds": 0, "action": "Continue"}}})
    world.failing = {1: 0.5, 2: 0.5}
    update(world, turns=100)

    assert everything_is(world, 2)


def test_a_rejected_candidate_is_tried_again_from_its_first_step_when_it_is_asked_for() -> None:
    world = a_busy_world(CANARY)
    world.failing = {2: 1.0}
    update(world, turns=40)
    world.edit()
    world.settle(turns=10)
    assert stalled(world)[0] == "GateFailed", "the same spec once more is no new attempt"

    world.failing = {}
    world.annotate(retry="2")
    world.settle(turns=10)
    assert split(world) == {2: 10, 1: 90}
    world.settle(turns=100)
    assert everything_is(world, 2)


def test_counts_of_one_step_do_not_speak_for_the_next() -> None:
    world = a_busy_world(CANARY, traffic=2000)
    world.use_model("2")
    for state in world.history(turns=100):
        if state.live_weights()[0].get(2) == 50:
            break
    world.settle(turns=4)
    rollout = world.status["rollout"]

    (finding,) = rollout["findings"]
    assert (rollout["step"], finding["stableRequests"]) == (1, pytest.approx(finding["candidateRequests"], rel=0.1))


def test_a_candidate_that_turns_bad_while_more_of_its_pods_start_is_out_too() -> None:
    world = a_busy_world({"steps": [{"weight": 10}, {"weight": 80, "holdSeconds": 5}]})
    world.use_model("2")
    world.settle(turns=4)
    world.broken["2"] = PodReport(state="Loading")  # those that start from now on
    world.settle(turns=8)
    assert (world.status["rollout"]["phase"], split(world)) == ("Shifting", {2: 10, 1: 90})

    world.failing = {2: 1.0}
    world.settle(turns=20)
    assert (stalled(world)[0], split(world)) == ("GateFailed", {1: 100})


def test_a_paused_candidate_is_watched_too() -> None:
    world = a_busy_world({"steps": [{"weight": 20, "pause": True}]})
    update(world, turns=20)
    assert world.reason() == "Paused"

    world.failing = {2: 0.9}
    world.settle(turns=30)
    assert (stalled(world)[0], split(world)) == ("GateFailed", {1: 100})


def test_a_step_with_all_the_traffic_is_compared_with_what_is_known_of_stable() -> None:
    world = a_busy_world({"steps": [{"weight": 100, "holdSeconds": 60}]})
    update(world, turns=10)
    assert split(world) == {2: 100}

    world.failing = {2: 0.9}
    world.settle(turns=30)
    assert (stalled(world)[0], split(world)) == ("GateFailed", {1: 100})


# What a gate can't tell.


def test_without_requests_a_step_waits_and_says_what_is_missing() -> None:
    world = a_busy_world({**CANARY, "gates": ERRORS}, traffic=40)
    update(world, turns=60)

    assert split(world) == {2: 10, 1: 90}
    message = world.condition("Reconciling")["message"]  # type: ignore[index]
    assert "Revision 2 is in step 1 of 2 with 10 % of the traffic" in message
    assert "more" in message and "at the present rate" in message


@pytest.mark.parametrize(
    ("action", "reason", "weights"),
    [
        ("Pause", "Paused", {2: 10, 1: 90}),
        ("Rollback", "InsufficientData", {1: 100}),
        ("Continue", "Serving", {2: 100}),
    ],
)
def test_waiting_for_requests_ends_as_the_spec_says(action: str, reason: str, weights: dict[int, int]) -> None:
    gates = {**ERRORS, "insufficientData": {"afterSeconds": 20, "action": action}}
    world = a_busy_world({"steps": STEPS[:1], "gates": gates}, traffic=0)
    update(world, turns=40)
    assert (world.reason(), split(world)) == ("RollingOut", {2: 10, 1: 90}), "30 s of the step, and 20 of patience"

    world.settle(turns=40)
    assert (world.reason(), split(world)) == (reason, weights)
    assert (0, "errorRate", "InsufficientData") in decisions(world, "step", "gate", "verdict")
    assert "GateUndecided" in world.told()


def test_a_person_can_promote_what_a_gate_can_not_tell() -> None:
    world = a_busy_world({"steps": STEPS[:1], "gates": ERRORS}, traffic=0)
    update(world, turns=20)
    assert "to go on without" not in world.condition("Reconciling")["message"], "the step's time runs"  # type: ignore[index]
    world.settle(turns=30)
    message = world.condition("Reconciling")["message"]  # type: ignore[index]
    assert message.endswith("kubectl annotate mep churn -n shop --overwrite modelendpoint.dev/promote=2")

    world.annotate(promote="2")
    world.settle()
    assert everything_is(world, 2)


def test_a_promote_is_kept_for_the_pause_when_no_gate_stands_in_the_way() -> None:
    world = a_busy_world({"steps": [STEPS[0], {"weight": 50, "pause": True}]}, traffic=0)
    update(world, turns=10)
    world.annotate(promote="2")
    world.settle(turns=80)

    assert everything_is(world, 2)


# A failure that pauses.


@pytest.mark.parametrize(("verb", "revision", "reason"), [("promote", 2, "Serving"), ("abort", 1, "Aborted")])
def test_a_failure_can_pause_for_a_person_to_decide(verb: str, revision: int, reason: str) -> None:
    world = a_busy_world({"steps": STEPS[:1], "onFailure": "Pause"})
    world.failing = {2: 1.0}
    update(world, turns=60)

    assert (world.status["rollout"]["phase"], split(world)) == ("Paused", {2: 10, 1: 90})
    told, message = stalled(world)
    assert told == "GateFailed"
    assert "errorRate: candidate 100 %" in message
    assert "modelendpoint.dev/promote=2 (or modelendpoint.dev/abort=2 to go back)" in message

    world.annotate(**{verb: "2"})
    world.settle()
    assert (world.reason(), split(world)) == (reason, {revision: 100})


def test_a_failure_on_the_way_to_more_takes_that_back_before_it_pauses() -> None:
    world = a_busy_world({"steps": [{"weight": 10}, {"weight": 80, "pause": True}], "onFailure": "Pause"})
    world.use_model("2")
    world.settle(turns=4)
    world.broken["2"] = PodReport(state="Loading")
    world.settle(turns=8)
    world.failing = {2: 1.0}
    world.settle(turns=20)
    world.broken.clear()
    world.settle()

    assert (stalled(world)[0], split(world), world.status["rollout"]["step"]) == ("GateFailed", {2: 10, 1: 90}, 0)


def test_a_failure_that_waits_for_a_person_outlives_the_loss_of_the_candidates_pods() -> None:
    world = a_busy_world({"steps": STEPS[:1], "onFailure": "Pause"})
    world.failing = {2: 1.0}
    update(world, turns=40)
    assert stalled(world)[0] == "GateFailed"

    Invariants(world).hurt.add(2)
    world.watchers.pop(0)
    world.fail_pods(2)
    world.settle(turns=20)
    assert (stalled(world)[0], split(world)) == ("GateFailed", {1: 100})

    world.failing = {}
    world.annotate(promote="2")
    world.settle(turns=10)
    assert split(world) == {2: 10, 1: 90}, "a person's promote begins the step anew"


# Response times.


def test_a_slower_candidate_is_out() -> None:
    world = a_busy_world({**CANARY, "gates": {"latency": {}}}, traffic=1000)
    world.slow = {1: 20, 2: 220}
    update(world, turns=60)

    assert (stalled(world)[0], split(world)) == ("GateFailed", {1: 100})
    assert (0, "latency", "Fail") in decisions(world, "step", "gate", "verdict")


def test_a_candidate_as_fast_as_stable_goes_on() -> None:
    world = a_busy_world({**CANARY, "gates": {"latency": {}}}, traffic=4000)
    update(world, turns=150)

    assert everything_is(world, 2)
    assert (1, "latency", "Pass") in decisions(world, "step", "gate", "verdict")


# Checks.

FIRST = {"name": "first", "path": "/v1/models/churn", "intervalSeconds": 2, "failureThreshold": 2}
JUDGE = {"name": "judge", "url": "http://judge/", "intervalSeconds": 2, "failureThreshold": 2}
QUERY = {"name": "sales", "query": "sum(sales)", "min": 5, "intervalSeconds": 2, "failureThreshold": 2}
STRATEGIES: list[dict[str, Any]] = [CANARY, {"strategy": "Replace"}, {"strategy": "BlueGreen"}]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=["Canary", "Replace", "BlueGreen"])
def test_a_candidate_that_fails_its_first_check_never_gets_a_request(strategy: dict[str, Any]) -> None:
    world = a_serving_world(rollout=strategy)
    world.edit(rollout={**strategy, "gates": {"http": [FIRST]}})
    world.answers = {"http/first": Measurement(value=500, message="no such column")}
    world.use_model("2")
    weights = [state.live_weights()[0].get(2, 0) for state in world.history(turns=40)]

    assert max(weights) == 0
    reason, message = stalled(world)
    assert reason == "GateFailed"
    assert "Revision 2 failed in step 1: Gate http/first failed, 2 times in a row" in message


@pytest.mark.parametrize("strategy", STRATEGIES, ids=["Canary", "Replace", "BlueGreen"])
def test_a_first_deployment_that_fails_its_check_serves_nothing(strategy: dict[str, Any]) -> None:
    world = a_world(rollout={**strategy, "gates": {"http": [FIRST]}})
    world.answers = {"http/first": Measurement(value=500)}
    world.settle()

    assert (stalled(world)[0], split(world), world.condition("Available")["status"]) == ("GateFailed", {}, "False")  # type: ignore[index]
    assert_clean(world)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=["Canary", "Replace", "BlueGreen"])
def test_a_first_deployment_that_passes_its_check_serves(strategy: dict[str, Any]) -> None:
    world = a_world(rollout={**strategy, "gates": {"http": [FIRST]}})
    world.settle(turns=20)
    assert (world.status["rollout"]["phase"], split(world)) == ("Holding", {})
    assert "Gate http/first has not been measured" in world.condition("Reconciling")["message"]  # type: ignore[index]

    world.answers = {"http/first": Measurement(value=200)}
    world.settle()
    assert everything_is(world, 1)


def test_no_candidate_gets_traffic_before_it_has_passed_whatever_the_patience() -> None:
    gates = {"http": [FIRST], "insufficientData": {"afterSeconds": 0, "action": "Continue"}}
    world = a_serving_world(rollout=CANARY)
    world.edit(rollout={**CANARY, "gates": gates})
    world.answers = {"http/first": Measurement(value=202)}
    update(world, turns=60)
    assert (world.status["rollout"]["phase"], world.status["rollout"]["step"], split(world)) == ("Holding", 0, {1: 100})

    world.answers = {"http/first": Measurement(value=200)}
    world.settle(turns=10)
    assert split(world) == {2: 10, 1: 90}


def test_other_checks_are_asked_while_there_is_traffic() -> None:
    world = a_serving_world(rollout=CANARY)
    world.edit(rollout={**CANARY, "gates": {"http": [FIRST, JUDGE], "prometheus": [QUERY]}})
    world.answers = {name: Measurement(value=200) for name in ("http/first", "http/judge", "prometheus/sales")}
    world.use_model("2")
    asked: dict[int, set[str]] = {}
    for state in world.history(turns=120):
        weight = state.live_weights()[0].get(2, 0)
        asked.setdefault(weight, set()).update(check.name for check in state.asked)
        state.asked.clear()

    assert everything_is(world, 2)
    assert asked == {
        0: {"http/first"},
        10: {"http/first", "http/judge", "prometheus/sales"},
        50: {"http/first", "http/judge", "prometheus/sales"},
        100: set(),
    }


@pytest.mark.parametrize("gates", [{"http": [JUDGE]}, {"prometheus": [QUERY]}], ids=["http", "prometheus"])
def test_a_check_that_fails_in_a_step_rolls_back(gates: dict[str, Any]) -> None:
    world = a_serving_world(rollout={**CANARY, "gates": gates})
    world.answers = {"http/judge": Measurement(value=500), "prometheus/sales": Measurement(value=1)}
    update(world, turns=60)

    assert (stalled(world)[0], split(world)) == ("GateFailed", {1: 100})


# After the promotion.

BAKE: dict[str, Any] = {"strategy": "Replace", "bakeSeconds": 60}


def baking(**rollout: Any) -> World:
    """Revision 2 has just taken over from revision 1, and is watched."""
    world = a_busy_world({"strategy": "Replace"}, traffic=1000)
    world.edit(rollout={**BAKE, **rollout})
    update(world, turns=15)
    assert world.status["rollout"]["phase"] == "Baking"
    return world


def test_a_promoted_revision_is_ready_while_it_bakes_and_the_one_before_it_waits() -> None:
    world = baking()

    ready = world.condition("Ready")
    assert ready and (ready["status"], ready["reason"]) == ("True", "Baking")
    assert "Revision 2 serves all traffic; gates watch it for 60 s" in ready["message"]
    assert (world.ready_pods(1), split(world)) == (4, {2: 100})

    world.settle(turns=80)
    assert everything_is(world, 2)
    assert world.status.get("rollout") is None
    assert world.told()[-1] == "BakeEnded"


def test_a_promoted_revision_that_fails_gives_everything_back_at_once() -> None:
    world = baking()
    world.failing = {2: 1.0}
    bad = sum(state.live_weights()[0].get(2, 0) > 0 for state in world.history(turns=40)) / 2

    assert bad <= 5, "two states a turn"
    assert (split(world), world.status["stable"]["revision"], world.status["rolledBackTo"]) == ({1: 100}, 1, 1)
    reason, message = stalled(world)
    assert reason == "GateFailed"
    assert "Revision 2 failed after its promotion: errorRate: candidate" in message
    assert "revision 1 (version 1) serves in its place" in message
    assert "set modelendpoint.dev/retry=2" in message
    assert [entry["revision"] for entry in world.status["history"]] == [1]
    assert_clean(world)


def test_what_was_taken_back_is_tried_again_by_all_steps() -> None:
    world = baking()
    world.failing = {2: 1.0}
    world.settle()
    world.failing = {}
    world.edit(rollout={"steps": [{"weight": 10, "pause": True}]})
    world.settle(turns=5)
    assert stalled(world)[0] == "GateFailed"

    world.annotate(retry="2")
    world.settle()
    assert (world.reason(), split(world), world.status.get("rolledBackTo")) == ("Paused", {2: 10, 1: 90}, None)


def test_another_model_waits_until_the_way_back_is_gone() -> None:
    world = baking()
    world.frozen_routers = {pod.name for pod in world.serving_routers()}
    world.failing = {2: 1.0}
    world.settle(turns=10)
    world.edit(rollout={"steps": [{"weight": 10, "pause": True}]})
    world.use_model("3")
    world.settle(turns=5)
    assert (split(world), world.status["candidate"]["revision"]) == ({2: 100}, 1)

    world.frozen_routers = set()
    world.settle(turns=80)
    assert (world.reason(), split(world)) == ("Paused", {3: 10, 1: 90})


def test_a_first_revision_that_fails_while_it_bakes_serves_on_and_says_so() -> None:
    world = a_world(rollout=BAKE)
    world.traffic, world.failing = 1000, {1: 1.0}
    world.settle(turns=30)

    reason, message = stalled(world)
    assert (reason, split(world)) == ("GateFailed", {1: 100})
    assert "there is no revision to go back to, so it serves on" in message
    assert "to keep it: kubectl annotate mep churn -n shop --overwrite modelendpoint.dev/promote-full=1" in message
    assert world.condition("Available")["status"] == "True"  # type: ignore[index]

    world.settle(turns=100)
    assert stalled(world)[0] == "GateFailed", "time alone does not make it good"
    world.annotate(**{"promote-full": "1"})
    world.settle()
    assert everything_is(world, 1)


def test_a_failure_after_the_promotion_can_wait_for_a_person_and_the_way_back_stays_open() -> None:
    world = baking(onFailure="Pause")
    world.failing = {2: 1.0}
    world.settle(turns=150)

    reason, message = stalled(world)
    assert (reason, split(world), world.ready_pods(1)) == ("GateFailed", {2: 100}, 4)
    assert "to go back: kubectl annotate mep churn -n shop --overwrite modelendpoint.dev/rollback-to=1" in message

    world.annotate(**{"rollback-to": "1"})
    world.settle()
    assert (world.reason(), split(world)) == ("RolledBack", {1: 100})


def test_too_few_requests_are_no_failure_while_it_bakes() -> None:
    world = baking(gates=ERRORS)
    world.traffic = 0
    world.settle(turns=80)

    assert everything_is(world, 2)


def test_a_promoted_revision_that_gets_slower_is_taken_back() -> None:
    world = baking(gates={"latency": {}})
    world.slow = {2: 300}
    world.settle()

    assert (stalled(world)[0], split(world)) == ("GateFailed", {1: 100})


def test_a_revision_that_one_went_back_to_is_not_watched_again() -> None:
    world = baking()
    world.failing = {1: 0.5, 2: 1.0}
    world.settle(turns=60)

    assert (split(world), world.status.get("rollout")) == ({1: 100}, None)


# What the status is written for.


def test_findings_are_written_when_a_verdict_changes_and_else_now_and_then() -> None:
    world = a_busy_world({"steps": [{"weight": 10, "holdSeconds": 100}]}, traffic=1000)
    update(world, turns=10)
    assert world.status["rollout"]["phase"] == "Holding"
    before, writes = world.status["rollout"]["measuredAt"], world.writes
    world.settle(turns=40)

    assert world.status["rollout"]["measuredAt"] > before
    assert world.writes - writes <= 40 / 5 + 2


def test_the_longer_a_step_lasts_the_less_often_findings_are_written() -> None:
    world = a_busy_world(LONG, traffic=1000)
    update(world, turns=10)
    world.settle(turns=100, turn=timedelta(seconds=10))
    writes = world.writes
    world.settle(turns=60, turn=timedelta(seconds=10))

    assert world.writes - writes <= 600 / 50 + 1


def test_only_the_last_decisions_are_kept() -> None:
    world = a_busy_world({"strategy": "Replace"}, traffic=0, revisionHistoryLimit=3)
    for number in range(2, 26):
        update(world, turns=15, version=str(number))

    kept = decisions(world, "revision", "verdict")
    assert len(kept) == 20
    assert kept[-1] == (25, "Promoted")


def test_a_router_pod_that_is_replaced_takes_nothing_of_the_verdict_along() -> None:
    world = a_busy_world(CANARY, traffic=1000)
    update(world, turns=12)
    gone = world.serving_routers()[0]
    del world.pods[gone.name]
    world.hear_of_it()
    world.settle(turns=100)

    assert everything_is(world, 2)


def test_a_router_that_starts_anew_counts_from_nothing() -> None:
    world = a_busy_world(LONG, traffic=1000)
    update(world, turns=20)
    for pod in world.serving_routers():
        pod.counted = {}
    world.settle(turns=20)

    (finding,) = world.status["rollout"]["findings"]
    assert 0 < finding["candidateRequests"] <= 2000
    assert finding["verdict"] != "Fail"
