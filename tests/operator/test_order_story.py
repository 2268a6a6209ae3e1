"""Orders in the life of an endpoint: pause, resume, promote-full, rollback-to. Each is answered with an Event."""

from typing import Any

import pytest

from modelendpoint_operator.observation import Measurement
from support.invariants import Invariants, assert_clean
from support.stories import BY_TIME, a_paused_world, a_serving_world, a_world, everything_is, split
from support.world import BROKEN, World

TWO_PAUSES = {"steps": [{"weight": 20, "pause": True}, {"weight": 40, "pause": True}]}
SLOWLY: dict[str, Any] = {"steps": [{"weight": 10, "holdSeconds": 30}, {"weight": 50, "holdSeconds": 30}]}


def ignored(world: World) -> list[str]:
    return [message for reason, message in world.events if reason == "OrderIgnored"]


def freeze_in(world: World, phase: str) -> None:
    """Go on until the rollout is in a phase that waits for the routers, and let them not go on."""
    states = world.history(turns=30)
    next(state for state in states if (state.status.get("rollout") or {}).get("phase") == phase)
    world.frozen_routers = {pod.name for pod in world.serving_routers()}


def served_three(**spec: Any) -> World:
    """Revisions 1, 2 and 3 served, one after the other."""
    world = a_serving_world(rollout={"strategy": "Replace"}, **spec)
    for version in "23":
        world.use_model(version)
        world.settle(turns=25)
    assert everything_is(world, 3)
    return world


# pause and resume.


@pytest.mark.parametrize("after", range(0, 60, 3))
def test_pause_stays_where_the_rollout_is_until_resume(after: int) -> None:
    world = a_serving_world(rollout=SLOWLY)
    world.use_model("2")
    world.settle(turns=1 + after)
    world.annotate(pause="2")
    world.settle(turns=8)
    before = split(world)
    world.settle(turns=60)

    assert (world.reason(), split(world)) == ("Paused", before)
    assert "modelendpoint.dev/resume=2" in world.condition("Reconciling")["message"]  # type: ignore[index]
    assert "because a person paused it" in world.condition("Reconciling")["message"]  # type: ignore[index]

    world.annotate(resume="2")
    world.settle(turns=100)
    assert everything_is(world, 2)
    assert {"RolloutPaused", "RolloutResumed"} <= set(world.told())


def test_a_pause_before_the_first_step_lets_no_request_through() -> None:
    world = a_serving_world(rollout=SLOWLY)
    world.use_model("2")
    world.settle(turns=1)
    world.annotate(pause="2")
    world.settle()

    assert (world.reason(), split(world), world.ready_pods(2)) == ("Paused", {1: 100}, 1)


def test_a_pause_is_not_overtaken_by_steps_that_end_at_once() -> None:
    world = a_serving_world(rollout={"steps": [{"weight": 30}, {"weight": 60}]})
    world.use_model("2")
    freeze_in(world, "Shifting")
    world.annotate(pause="2")
    world.settle(turns=3)
    world.frozen_routers = set()
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {2: 30, 1: 70})


def test_promote_passes_a_persons_pause_too() -> None:
    world = a_serving_world(rollout=SLOWLY)
    world.use_model("2")
    world.settle(turns=10)
    world.annotate(pause="2")
    world.settle()
    world.annotate(promote="2")
    world.settle(turns=15)

    assert split(world) == {2: 50, 1: 50}


def test_promote_lets_a_candidate_go_that_was_paused_before_its_first_step() -> None:
    world = a_serving_world(rollout=SLOWLY)
    world.use_model("2")
    world.settle(turns=1)
    world.annotate(pause="2")
    world.settle()
    world.annotate(promote="2")
    world.settle(turns=10)

    assert split(world) == {2: 10, 1: 90}


def test_a_pause_outlives_the_loss_of_the_candidates_pods() -> None:
    world = a_serving_world(rollout=SLOWLY)
    world.use_model("2")
    world.settle(turns=10)
    world.annotate(pause="2")
    world.settle(turns=5)
    Invariants(world).hurt.add(2)
    world.watchers.pop(0)
    world.fail_pods(2)
    world.settle(turns=100)
    assert (world.reason(), split(world)) == ("Paused", {1: 100})

    world.annotate(resume="2")
    world.settle(turns=15)
    assert split(world) == {2: 10, 1: 90}


def test_a_paused_candidate_that_fails_is_taken_out_all_the_same() -> None:
    world = a_serving_world(rollout=SLOWLY)
    world.use_model("2")
    world.settle(turns=10)
    world.annotate(pause="2")
    world.settle(turns=5)
    world.traffic, world.failing = 500, {2: 1.0}
    world.settle()

    assert (world.reason(), split(world)) == ("GateFailed", {1: 100})


def test_a_higher_weight_in_a_paused_step_is_taken_up_and_the_pause_stays() -> None:
    world = a_serving_world(rollout=SLOWLY)
    world.use_model("2")
    world.settle(turns=10)
    world.annotate(pause="2")
    world.settle(turns=5)
    world.edit(rollout={"steps": [{"weight": 30, "holdSeconds": 5}]})
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {2: 30, 1: 70})


@pytest.mark.parametrize(
    ("orders", "why"),
    [
        ({"pause": "2"}, "it is paused already"),
        ({"resume": "2"}, "no person paused it; to go on from a pause, set modelendpoint.dev/promote"),
        ({"pause": "1"}, "the candidate is revision 2"),
        ({"resume": "x"}, "the candidate is revision 2"),
        ({"promote-full": "1"}, "the candidate is revision 2"),
        ({"rollback-to": "9"}, "it names no revision of status.history"),
        ({"rollback-to": "soon"}, "it names no revision of status.history"),
        (
            {"abort": "1"},
            "the candidate is revision 2; "
            + "to leave the revision that serves, set modelendpoint.dev/rollback-to to one of status.history",
        ),
    ],
)
def test_an_order_that_can_not_be_meant_is_answered_with_why(orders: dict[str, str], why: str) -> None:
    world = a_paused_world()
    world.annotate(**orders)
    world.settle()

    (verb, value), *_ = orders.items()
    assert ignored(world) == [f"modelendpoint.dev/{verb}={value} was ignored: {why}"]
    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})


@pytest.mark.parametrize("verb", ["promote", "promote-full", "pause", "resume", "abort"])
def test_without_a_rollout_there_is_nothing_to_order(verb: str) -> None:
    world = a_serving_world()
    writes = world.writes
    world.annotate(**{verb: "7"})
    world.settle()

    assert ignored(world) == [f"modelendpoint.dev/{verb}=7 was ignored: nothing is being rolled out"]
    assert world.writes == writes + 2, "the Event, and the memory of it"


def test_a_takeover_can_not_be_paused() -> None:
    world = a_serving_world(rollout={"strategy": "Replace"})
    world.use_model("2")
    freeze_in(world, "Promoting")
    world.annotate(pause="2")
    world.settle(turns=3)
    world.frozen_routers = set()
    world.settle()

    assert ignored(world) == [
        "modelendpoint.dev/pause=2 was ignored: it is taking over; to go back, set modelendpoint.dev/abort=2"
    ]
    assert everything_is(world, 2)


# promote-full.


@pytest.mark.parametrize("after", range(0, 20, 2))
def test_promote_full_skips_all_that_is_left(after: int) -> None:
    world = a_serving_world(rollout=TWO_PAUSES)
    world.use_model("2")
    world.settle(turns=1 + after)
    world.annotate(**{"promote-full": "2"})
    world.settle(turns=30)

    assert everything_is(world, 2)
    assert "StepsSkipped" in world.told()


def test_promote_full_skips_the_gates_too() -> None:
    gates = {"http": [{"name": "first", "path": "/"}]}
    world = a_serving_world(rollout={"steps": []})
    world.edit(rollout={"steps": [], "gates": gates})
    world.answers = {"http/first": Measurement(value=202)}
    world.use_model("2")
    world.settle(turns=10)
    assert split(world) == {1: 100}

    world.annotate(**{"promote-full": "2"})
    world.settle(turns=20)
    assert everything_is(world, 2)


def test_promote_full_overrules_a_gate_that_failed() -> None:
    world = a_serving_world(rollout={"steps": [{"weight": 10, "holdSeconds": 60}], "onFailure": "Pause"})
    world.traffic, world.failing = 500, {2: 1.0}
    world.use_model("2")
    world.settle(turns=30)
    assert world.reason() == "GateFailed"

    world.annotate(**{"promote-full": "2"})
    world.settle(turns=30)
    assert everything_is(world, 2)


def test_promote_full_puts_no_weight_on_pods_that_are_not_ready() -> None:
    world = a_serving_world(rollout=TWO_PAUSES)
    world.use_model(BROKEN)
    world.settle(turns=5)
    world.annotate(**{"promote-full": "2"})
    world.settle()
    assert (world.reason(), split(world)) == ("ModelInvalid", {1: 100})

    del world.broken[BROKEN]
    world.settle()
    assert everything_is(world, 2)


def test_promote_full_ends_a_bake() -> None:
    world = a_serving_world(rollout={"strategy": "Replace"})
    world.edit(rollout={"strategy": "Replace", "bakeSeconds": 6000})
    world.use_model("2")
    world.settle(turns=20)
    assert world.reason() == "Baking"

    world.annotate(**{"promote-full": "2"})
    world.settle()
    assert everything_is(world, 2)


# rollback-to.


@pytest.mark.parametrize("revision", [1, 2])
def test_rollback_to_serves_the_exact_model_of_the_history(revision: int) -> None:
    world = served_three()
    world.digests[str(revision)] = "ab" * 32  # somebody overwrote the file
    world.annotate(**{"rollback-to": str(revision)})
    world.settle(turns=10)
    assert split(world) == {3: 100}, "other bytes than it had are not that revision"

    del world.digests[str(revision)]
    world.settle()
    assert split(world) == {revision: 100}
    assert (world.reason(), world.status["rolledBackTo"]) == ("RolledBack", revision)
    message = world.condition("Stalled")["message"]  # type: ignore[index]
    assert (
        f"Revision 3 was taken back by a person; revision {revision} (version {revision}) serves in its place"
        in message
    )
    assert "set modelendpoint.dev/retry=3" in message
    assert_clean(world)


def test_the_spec_of_before_does_not_undo_a_rollback() -> None:
    world = served_three()
    world.annotate(**{"rollback-to": "1"})
    world.settle()
    world.edit()
    world.settle()

    assert (world.reason(), split(world)) == ("RolledBack", {1: 100})


def test_another_model_ends_a_rollback() -> None:
    world = served_three()
    world.annotate(**{"rollback-to": "1"})
    world.settle()
    world.use_model("4")
    world.settle()

    assert everything_is(world, 4)
    assert world.status.get("rolledBackTo") is None


def test_the_model_that_one_went_back_to_as_spec_ends_the_alarm() -> None:
    world = served_three()
    world.annotate(**{"rollback-to": "2"})
    world.settle()
    world.use_model("2")
    world.settle()

    assert everything_is(world, 2)
    assert world.condition("Stalled") is None


def test_retry_ends_a_rollback() -> None:
    world = served_three()
    world.annotate(**{"rollback-to": "1"})
    world.settle()
    world.annotate(retry="3")
    world.settle()

    assert everything_is(world, 3)


def test_rollback_to_in_mid_rollout_ends_that_and_goes_back_further() -> None:
    world = served_three()
    world.edit(rollout=BY_TIME)
    world.use_model("4")
    world.settle(turns=10)
    assert split(world) == {4: 10, 3: 90}
    world.annotate(**{"rollback-to": "1"})
    world.settle()

    assert (world.reason(), split(world)) == ("RolledBack", {1: 100})
    assert [entry["revision"] for entry in world.status["rejected"]] == [4]


def test_rollback_to_the_stable_revision_in_mid_rollout_is_an_abort() -> None:
    world = a_paused_world()
    world.annotate(**{"rollback-to": "1"})
    world.settle()

    assert (world.reason(), split(world)) == ("RolledBack", {1: 100})
    assert_clean(world)


def test_a_second_rollback_goes_further_back() -> None:
    world = served_three()
    world.annotate(**{"rollback-to": "2"})
    world.settle()
    world.annotate(**{"rollback-to": "1"})
    world.settle()

    assert (world.reason(), split(world), world.status["rolledBackTo"]) == ("RolledBack", {1: 100}, 1)


@pytest.mark.parametrize(
    ("revision", "why"),
    [
        ("3", "the spec asks for this revision; to try it again if it was rejected, set retry"),
        ("7", "it names no revision of status.history"),
    ],
)
def test_a_rollback_that_leads_nowhere_is_ignored(revision: str, why: str) -> None:
    world = served_three()
    world.annotate(**{"rollback-to": revision})
    world.settle()

    assert ignored(world) == [f"modelendpoint.dev/rollback-to={revision} was ignored: {why}"]
    assert everything_is(world, 3)


def test_a_rollback_that_is_done_already_is_ignored() -> None:
    world = served_three()
    world.annotate(**{"rollback-to": "1"})
    world.settle()
    world.annotate(**{"rollback-to": "1/again"})
    world.settle()

    assert ignored(world) == [
        "modelendpoint.dev/rollback-to=1/again was ignored: this revision serves already, or is on its way"
    ]


def test_a_way_back_can_not_be_aborted() -> None:
    world = served_three()
    world.frozen_routers = {pod.name for pod in world.serving_routers()}
    world.annotate(**{"rollback-to": "1"})
    world.settle(turns=10)
    world.annotate(abort="1")
    world.settle(turns=3)
    world.frozen_routers = set()
    world.settle(turns=80)

    assert ignored(world) == [
        "modelendpoint.dev/abort=1 was ignored: it takes over from a revision that was rejected; "
        + "to keep that one, set modelendpoint.dev/retry=3"
    ]
    assert (world.reason(), split(world)) == ("RolledBack", {1: 100})


def test_a_way_back_that_leads_to_a_broken_model_says_so_and_something_serves_on() -> None:
    world = served_three()
    world.broken["1"] = world.broken[BROKEN]
    world.annotate(**{"rollback-to": "1"})
    world.settle()

    assert split(world) == {3: 100}
    assert "; revision 1 does not get ready: not an ONNX model" in world.condition("Stalled")["message"]  # type: ignore[index]
    assert world.condition("Available")["status"] == "True"  # type: ignore[index]


def test_a_first_deployment_has_nothing_to_go_back_to() -> None:
    world = a_world()
    world.settle(turns=2)
    world.annotate(**{"rollback-to": "1"})
    world.settle()

    assert ignored(world) == ["modelendpoint.dev/rollback-to=1 was ignored: it names no revision of status.history"]
    assert everything_is(world, 1)
