"""The strategies in the life of an endpoint: BlueGreen with preview and a way back, candidates of fixed size."""

from datetime import timedelta
from typing import Any

import pytest

from modelendpoint_operator.observation import Measurement
from support.invariants import assert_clean
from support.stories import a_serving_world, a_world, everything_is, split, trace
from support.world import World

BLUE_GREEN: dict[str, Any] = {"strategy": "BlueGreen", "keepSeconds": 60}
PREVIEW_BY_TIME: dict[str, Any] = {**BLUE_GREEN, "preview": {"holdSeconds": 20}}
PREVIEW: dict[str, Any] = {**BLUE_GREEN, "preview": {"pause": True}}


def switched(**spec: Any) -> World:
    """Revision 2 has taken over by BlueGreen, and revision 1 is kept."""
    world = a_serving_world(rollout=BLUE_GREEN, **spec)
    world.use_model("2")
    world.settle(turns=20)
    assert (world.reason(), split(world), world.ready_pods(1)) == ("Serving", {2: 100}, 4)
    return world


# BlueGreen.


def test_blue_green_moves_everything_at_once_and_keeps_the_previous_revision_for_its_time() -> None:
    world = a_serving_world(rollout=BLUE_GREEN)
    world.use_model("2")

    assert trace(world, turns=30) == [
        "Deploying: r1=100", "Promoting: r1=100", "Promoting: r2=100", "Serving: r2=100",
    ]  # fmt: skip
    assert (world.ready_pods(1), world.ready_pods(2)) == (4, 4)
    assert_clean(world, kept=[1])

    world.settle(turns=50)
    assert everything_is(world, 2)


def test_replace_keeps_nothing() -> None:
    world = a_serving_world(rollout={"strategy": "Replace", "keepSeconds": 600})
    world.use_model("2")
    world.settle(turns=30)

    assert everything_is(world, 2)


def test_a_preview_lasts_its_time_with_all_pods_and_without_traffic() -> None:
    world = a_serving_world(rollout=PREVIEW_BY_TIME)
    world.use_model("2")
    seconds = 0.0
    for state in world.history(turns=60):
        candidate = state.status.get("candidate")
        if candidate and state.status["rollout"]["phase"] == "Holding":
            assert (split(state), state.ready_pods(2), candidate["weight"]) == ({1: 100}, 4, 0)
            assert candidate["url"] == "http://churn-r2.shop.svc.cluster.local:8080"
            seconds += 0.5

    assert 18 <= seconds <= 22
    assert split(world) == {2: 100}


def test_a_preview_can_wait_for_a_person() -> None:
    world = a_serving_world(rollout=PREVIEW)
    world.use_model("2")
    world.settle()
    assert (world.reason(), split(world), world.ready_pods(2)) == ("Paused", {1: 100}, 4)
    message = world.condition("Reconciling")["message"]  # type: ignore[index]
    assert "Revision 2 waits in step 1 of 1 with 0 % of the traffic" in message

    world.annotate(promote="2")
    world.settle(turns=20)
    assert (world.reason(), split(world)) == ("Serving", {2: 100})


def test_a_previewed_candidate_can_be_aborted() -> None:
    world = a_serving_world(rollout=PREVIEW)
    world.use_model("2")
    world.settle()
    world.annotate(abort="2")
    world.settle()

    assert (world.reason(), split(world)) == ("Aborted", {1: 100})
    assert_clean(world)


def test_a_first_deployment_has_no_preview() -> None:
    world = a_world(rollout=PREVIEW)
    world.settle()

    assert everything_is(world, 1)


def test_the_way_back_takes_no_time_while_the_previous_revision_is_kept() -> None:
    world = switched()
    world.use_model("1")
    lines = trace(world, turns=5)

    assert lines == ["Promoting: r2=100", "Promoting: r1=100", "Serving: r1=100"]
    assert world.ready_pods(2) == 4, "now the other one is kept"


def test_the_way_back_is_there_after_that_time_too() -> None:
    world = switched()
    world.settle(turns=80)
    assert world.replicas(1) is None

    world.use_model("1")
    world.settle(turns=20)
    assert (world.reason(), split(world)) == ("Serving", {1: 100})


def test_a_kept_revision_is_scaled_with_the_endpoint() -> None:
    world = switched()
    world.edit(replicas=6)
    world.settle(turns=10)

    assert (world.ready_pods(1), world.ready_pods(2)) == (6, 6)


def test_nothing_is_kept_by_an_endpoint_that_is_suspended() -> None:
    world = switched()
    world.edit(replicas=0)
    world.settle()

    assert (world.reason(), world.replicas(1), world.replicas(2)) == ("Suspended", None, 0)


def test_keeping_ends_when_the_spec_says_so() -> None:
    world = switched()
    world.edit(rollout={**BLUE_GREEN, "keepSeconds": 0})
    world.settle(turns=20)

    assert everything_is(world, 2)


def test_a_third_revision_leaves_the_kept_one_its_time() -> None:
    world = switched()
    world.edit(rollout={**BLUE_GREEN, "keepSeconds": 600})
    world.use_model("3")
    world.settle(turns=20)

    assert (split(world), world.ready_pods(2), world.replicas(1)) == ({3: 100}, 4, None)


def test_a_revision_that_is_kept_is_not_forgotten() -> None:
    world = switched(revisionHistoryLimit=1)
    world.edit(rollout={"steps": [{"weight": 10, "pause": True}]})
    for version in "345":
        world.use_model(version)
        world.settle(turns=15)
        world.annotate(abort=version)
        world.settle(turns=5)

    assert {"churn-r1", "churn-r2"} <= world.kept("ControllerRevision")


def test_the_operator_comes_to_rest_while_something_is_kept() -> None:
    world = switched()
    world.edit(rollout={**BLUE_GREEN, "keepSeconds": 6000})
    world.settle(turns=10)
    writes, asleep = world.writes, world.now
    plan = world.reconcile()
    assert plan is not None and plan.look_again_after is not None
    world.settle(turns=30)

    assert world.writes == writes
    assert plan.look_again_after > timedelta(seconds=5900) - (asleep - world.now)


# A candidate of a fixed size.

FIXED: dict[str, Any] = {
    "steps": [{"weight": 10, "holdSeconds": 9}, {"weight": 50, "pause": True}],
    "candidateReplicas": 2,
}


def test_a_candidate_has_as_many_pods_in_each_step_as_the_spec_says_and_all_at_the_end() -> None:
    world = a_serving_world(rollout=FIXED, replicas=8)
    world.use_model("2")
    seen = {
        (state.live_weights()[0].get(2, 0), state.ready_pods(2))
        for state in world.history(turns=40)
        if state.live_weights()[0].get(2, 0)
    }
    assert seen == {(10, 2), (50, 2)}

    world.annotate(promote="2")
    least = min(
        state.ready_pods(2)
        for state in world.history(turns=30)
        if 2 in state.live_weights()[0] and split(state) == {2: 100}
    )
    assert least == 8
    assert everything_is(world, 2)


def test_another_fixed_size_in_mid_rollout_takes_no_traffic_away() -> None:
    world = a_serving_world(rollout=FIXED, replicas=8)
    world.use_model("2")
    world.settle()
    world.edit(rollout={**FIXED, "candidateReplicas": 5})
    weights = [state.live_weights()[0].get(2) for state in world.history(turns=20)]

    assert (set(weights), world.ready_pods(2)) == ({50}, 5)


# Changes of mind.

ROLLOUTS: dict[str, dict[str, Any]] = {
    "Canary": {"steps": [{"weight": 20, "pause": True}]},
    "Canary with a check": {
        "steps": [{"weight": 20, "pause": True}],
        "gates": {"http": [{"name": "first", "path": "/"}]},
    },
    "BlueGreen": PREVIEW,
    "Replace": {"strategy": "Replace"},
}


@pytest.mark.parametrize("after", [1, 4, 8, 20])
@pytest.mark.parametrize("second", ROLLOUTS)
@pytest.mark.parametrize("first", ROLLOUTS)
def test_a_change_of_strategy_in_mid_rollout_ends_where_the_new_one_leads(first: str, second: str, after: int) -> None:
    world = a_serving_world()
    world.edit(rollout=ROLLOUTS[first])
    world.answers = {"http/first": Measurement(value=200)}
    world.use_model("2")
    world.settle(turns=after)
    world.edit(rollout=ROLLOUTS[second])
    world.settle(turns=25)
    if world.reason() == "Paused":
        world.annotate(promote="2")
        world.settle(turns=25)

    assert (world.reason(), split(world)) == ("Serving", {2: 100}), world.events[-3:]
