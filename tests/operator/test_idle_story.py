"""Lives of an endpoint with ``minReplicas: 0``: it falls asleep and wakes up, and no request is lost.

The invariants of ``support/invariants.py`` are checked after every write and turn of every story: among them that no pod
is taken away before every router has let go of it, and that requests which are not held find a pod.
"""

import json
from datetime import timedelta
from functools import lru_cache
from typing import Any

import pytest

from support.invariants import Invariants, assert_clean
from support.stories import a_world, everything_is, split, trace, watched
from support.world import BROKEN, NAME, Key, World, model_of

IDLE = {"minReplicas": 0, "maxReplicas": 1, "idleSeconds": 30, "wakeSeconds": 20}
BY_LOAD = {"minReplicas": 0, "maxReplicas": 5, "targetRequestsPerSecond": 10, "idleSeconds": 30}


def a_sleeping_world(**spec: Any) -> World:
    return watched(sleeping(json.dumps(spec)))


@lru_cache
def sleeping(spec: str) -> World:
    world = an_idle_world(**json.loads(spec))
    world.settle(turns=70)
    assert sleeps(world)
    return world


def an_idle_world(**spec: Any) -> World:
    return a_world(**{"replicas": 1, "autoscaling": IDLE, **spec})


def sleeps(world: World, revision: int = 1) -> bool:
    """Say whether nothing runs but the routers, and nothing is wrong."""
    assert_clean(world)
    told = {kind: world.condition(kind) for kind in ("Ready", "Available")}
    assert all(one and (one["status"], one["reason"]) == ("True", "Idle") for one in told.values()), told
    numbers = (world.replicas(revision), world.status["replicas"], world.status["scale"]["replicas"])
    return numbers == (0, 0, 0) and split(world) == {revision: 100} and not world.pods_of(revision)


def nothing_is_lost(world: World) -> bool:
    """Say whether all requests so far were answered, or are still held."""
    return world.unanswered == 0


def held(world: World) -> int:
    return sum(router.waiting for router in world.serving_routers())


# Falling asleep.


def test_it_serves_first_and_sleeps_when_no_request_came_for_long_enough() -> None:
    world = an_idle_world()

    lines = trace(world, turns=80)
    assert lines == ["Deploying: -", "Promoting: -", "Promoting: r1=100", "Serving: r1=100", "Idle: r1=100"]
    assert sleeps(world)
    assert world.told()[-1] == "Idle"


def test_requests_keep_it_awake_and_it_sleeps_soon_after_the_last() -> None:
    world = an_idle_world()
    world.traffic = 2
    world.settle(turns=120)
    assert everything_is(world, 1)

    world.traffic = 0
    seconds = sum(world.reason() == "Serving" for _ in world.history(turns=80)) / 2
    assert 30 <= seconds <= 46
    assert sleeps(world)


def test_its_pods_stay_until_every_router_holds_what_comes() -> None:
    world = an_idle_world()
    world.settle(turns=12)
    world.frozen_routers = {world.serving_routers()[0].name}
    world.settle(turns=80)
    assert world.replicas(1) == 1

    world.frozen_routers = set()
    world.settle(turns=10)
    assert sleeps(world)


def test_all_pods_go_however_many_the_load_needed() -> None:
    world = a_world(replicas=1, autoscaling=BY_LOAD)
    world.traffic = 40
    world.settle(turns=60)
    assert (world.replicas(1), everything_is(world, 1)) == (4, True)

    world.traffic = 0
    world.settle(turns=70)
    assert sleeps(world)


def test_a_second_pass_over_one_that_sleeps_writes_nothing() -> None:
    world = a_sleeping_world()
    before = world.writes
    world.hear_of_it()
    world.settle(turns=400)

    assert world.writes == before


def test_without_routers_that_tell_it_stays_awake() -> None:
    world = an_idle_world(routing={"replicas": 1})
    world.settle(turns=12)
    (router,) = world.serving_routers()
    router.versions = {}
    world.frozen_routers = {router.name}
    world.settle(turns=80)

    assert world.replicas(1) == 1


def test_with_a_router_that_can_hold_no_request_it_stays_awake() -> None:
    world = an_idle_world()
    world.settle(turns=12)
    old = world.serving_routers()[0]
    old.knocks = None
    world.settle(turns=80)
    assert everything_is(world, 1)

    old.knocks = 0
    world.settle(turns=40)
    assert sleeps(world)


# Waking up.


def test_a_request_starts_a_pod_waits_for_it_and_is_answered() -> None:
    world = a_sleeping_world()
    world.traffic = 10
    world.settle(turns=2)
    world.traffic = 0
    assert held(world) == 20

    assert trace(world, turns=20) == ["Waking: r1=100", "Serving: r1=100"]
    assert (held(world), nothing_is_lost(world), everything_is(world, 1)) == (0, True, True)
    assert world.told()[-1] == "Waking"


def test_ready_and_available_stay_true_while_it_sleeps_and_wakes() -> None:
    world = a_sleeping_world()
    for traffic in (10, 0, 10, 0):
        world.traffic = traffic
        for _ in world.history(turns=60):
            told = {kind: world.condition(kind) for kind in ("Ready", "Available")}
            assert all(one and one["status"] == "True" for one in told.values()), told


def test_it_sleeps_again_after_it_was_woken() -> None:
    world = a_sleeping_world()
    for _ in range(3):
        world.traffic = 4
        world.settle(turns=20)
        assert everything_is(world, 1)
        world.traffic = 0
        world.settle(turns=70)
        assert sleeps(world)
    assert nothing_is_lost(world)


@pytest.mark.parametrize("turns", range(30, 52, 2))
def test_a_request_at_any_time_while_it_falls_asleep_is_answered(turns: int) -> None:
    world = an_idle_world()
    world.settle(turns=10 + turns)
    world.traffic = 2
    world.settle(turns=2)
    world.traffic = 0
    world.settle(turns=10)

    assert (held(world), nothing_is_lost(world)) == (0, True)


def test_a_load_that_wakes_it_gets_the_pods_that_it_needs() -> None:
    world = a_sleeping_world(autoscaling=BY_LOAD)
    world.traffic = 40
    world.settle(turns=60)

    assert (world.replicas(1), nothing_is_lost(world), everything_is(world, 1)) == (4, True, True)


def test_a_router_pod_that_is_replaced_wakes_nobody() -> None:
    world = a_sleeping_world()
    world.traffic = 0
    router = world.serving_routers()[0]
    world.pods.pop(router.name)
    world.hear_of_it()
    world.settle(turns=20)
    assert sleeps(world)
    assert "Waking" not in world.told()

    world.traffic = 2
    world.settle(turns=20)
    assert (nothing_is_lost(world), everything_is(world, 1)) == (True, True)


def test_a_pod_that_does_not_get_ready_in_time_is_told_and_requests_wait_on() -> None:
    world = a_sleeping_world()
    world.broken["1"] = world.broken[BROKEN]
    world.traffic = 2
    world.settle(turns=20)
    ready, available = world.condition("Ready"), world.condition("Available")
    assert ready and (ready["status"], ready["reason"]) == ("False", "ModelInvalid")
    assert available and (available["status"], available["reason"]) == ("False", "NoPodReady")

    del world.broken["1"]
    world.settle(turns=20)
    assert (held(world), nothing_is_lost(world), everything_is(world, 1)) == (0, True, True)


def test_a_pod_that_starts_for_too_long_is_no_more_as_it_should_be() -> None:
    world = a_sleeping_world(autoscaling=IDLE | {"wakeSeconds": 3})
    world.broken["1"] = world.broken[BROKEN].__class__(state="Loading")
    world.traffic = 2

    assert trace(world, turns=20)[-1] == "PodsNotReady: r1=100"


# With all that may happen meanwhile.


def crashing(world: World, *, after: int) -> World:
    """Let the operator be killed at a write from now on."""
    world.crash_at = world.writes + after
    return world


@pytest.mark.parametrize("after", range(12))
def test_the_operator_may_be_killed_at_any_write_while_it_falls_asleep(after: int) -> None:
    world = an_idle_world()
    world.settle(turns=12)
    world.resync = timedelta(seconds=15)
    crashing(world, after=after).settle(turns=90)

    assert sleeps(world)


@pytest.mark.parametrize("after", range(14))
def test_the_operator_may_be_killed_at_any_write_while_it_wakes(after: int) -> None:
    world = a_sleeping_world()
    world.traffic = 2
    crashing(world, after=after).settle(turns=30)

    assert (held(world), nothing_is_lost(world), everything_is(world, 1)) == (0, True, True)


@pytest.mark.parametrize("strategy", [{"steps": [{"weight": 20, "holdSeconds": 5}]}, {"strategy": "Replace"}])
def test_a_new_model_wakes_it_and_it_sleeps_when_the_rollout_is_over(strategy: dict[str, Any]) -> None:
    world = a_sleeping_world(rollout=strategy)
    world.traffic = 4
    world.use_model("2")
    world.settle(turns=60)
    assert (nothing_is_lost(world), everything_is(world, 2)) == (True, True)

    world.traffic = 0
    world.settle(turns=70)
    assert sleeps(world, 2)


def test_a_new_model_while_nobody_asks_is_rolled_out_all_the_same() -> None:
    world = a_sleeping_world(rollout={"steps": [{"weight": 50, "holdSeconds": 5}]})
    world.use_model("2")
    world.settle(turns=120)

    assert sleeps(world, 2)
    assert "Promoted" in world.told()


def test_a_model_that_was_aborted_keeps_it_awake() -> None:
    world = a_sleeping_world(rollout={"steps": [{"weight": 50, "pause": True}]})
    world.use_model("2")
    world.settle(turns=40)
    world.annotate(abort="2")
    world.settle(turns=120)

    assert (world.reason(), split(world), world.replicas(1)) == ("Aborted", {1: 100}, 1)


def test_whoever_asks_for_more_pods_than_one_gets_them_at_once() -> None:
    world = a_sleeping_world(autoscaling=BY_LOAD)
    world.edit(replicas=2)
    world.settle(turns=120)
    assert (world.replicas(1), everything_is(world, 1)) == (2, True)

    world.edit(replicas=1)
    world.settle(turns=90)
    assert sleeps(world)


@pytest.mark.parametrize("autoscaling", [None, IDLE | {"minReplicas": 1, "targetRequestsPerSecond": 5}])
def test_one_that_may_sleep_no_more_wakes_up(autoscaling: dict[str, Any] | None) -> None:
    world = a_sleeping_world()
    world.traffic = 2
    world.edit(autoscaling=autoscaling)
    world.settle(turns=80)

    assert (nothing_is_lost(world), everything_is(world, 1), world.replicas(1)) == (True, True, 1)
    assert held(world) == 0


def test_one_that_is_suspended_in_its_sleep_resumes() -> None:
    world = a_sleeping_world()
    world.edit(replicas=0)
    world.settle(turns=20)
    assert (world.reason(), split(world)) == ("Suspended", {})

    world.edit(replicas=1)
    world.settle(turns=20)
    assert everything_is(world, 1)


def test_a_child_that_was_deleted_in_its_sleep_comes_back_and_it_sleeps_on() -> None:
    world = a_sleeping_world()
    for key in (Key("Deployment", f"{NAME}-r1"), Key("ConfigMap", f"{NAME}-router"), Key("Service", f"{NAME}-r1")):
        world.remove(*key)
        world.settle(turns=80)
        assert sleeps(world), key


def test_every_plan_is_the_same_when_it_is_made_twice() -> None:
    world = sleeping("{}").copy()
    Invariants(world, plan_twice=True)
    for traffic, version in ((2, "1"), (0, "1"), (2, "2"), (0, "2")):
        world.traffic = traffic
        world.edit(model=model_of(version), rollout={"strategy": "Replace"})
        world.settle(turns=60)

    assert nothing_is_lost(world)
