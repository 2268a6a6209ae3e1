"""The planner under anything that people, clusters and crashes may do, in any order; and killed before every write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from modelendpoint_operator.planner import make_plan
from support.invariants import Invariants, assert_clean
from support.world import BROKEN, EPOCH, World, digest_of, model_of

FAST_CANARY = {"steps": [{"weight": 20, "holdSeconds": 4}, {"weight": 60}]}
ROLLOUTS: list[dict[str, Any]] = [
    FAST_CANARY,
    {"steps": [{"weight": 30, "pause": True}, {"weight": 30, "holdSeconds": 3}]},
    {"steps": [{"weight": 0, "holdSeconds": 2}, {"weight": 90, "pause": True}]},
    {"steps": []},
    {"strategy": "Replace"},
]
VERSIONS = ["1", "2", "3", "same-as-1", BROKEN]
WELL = {"Serving", "Paused", "Suspended", "Aborted", "ModelInvalid"}
"""What an endpoint may be when everything that could happen has happened."""


@dataclass(frozen=True)
class Command:
    """Something that happens, with a name that a failing example can show."""

    name: str
    happen: Callable[[World, Invariants], None]

    def __repr__(self) -> str:
        return self.name


def a_world(rollout: Mapping[str, Any] = FAST_CANARY, *, replicas: int = 3) -> World:
    world = World({"model": model_of("1"), "replicas": replicas, "rollout": dict(rollout), "revisionHistoryLimit": 2})
    world.digests["same-as-1"] = digest_of("1")
    return world


def use(version: str) -> Command:
    return Command(f"use {version}", lambda world, _: world.use_model(version))


def scale(replicas: int) -> Command:
    return Command(f"scale to {replicas}", lambda world, _: world.edit(replicas=replicas))


def roll_out(rollout: dict[str, Any]) -> Command:
    return Command(f"roll out by {rollout}", lambda world, _: world.edit(rollout=rollout))


def order(verb: str, value: str | None) -> Command:
    return Command(f"{verb}={value}", lambda world, _: world.annotate(**{verb: value}))


def fail(revision: int) -> Command:
    def happen(world: World, invariants: Invariants) -> None:
        invariants.hurt.add(revision)
        world.fail_pods(revision)

    return Command(f"fail the pods of {revision}", happen)


def freeze(count: int) -> Command:
    def happen(world: World, _: Invariants) -> None:
        world.frozen_routers = {pod.name for pod in world.serving_routers()[:count]}

    return Command(f"freeze {count} routers", happen)


def crash(writes: int) -> Command:
    def happen(world: World, _: Invariants) -> None:
        world.crash_at = world.writes + writes

    return Command(f"crash before write {writes} from now", happen)


def lose_router(world: World, _: Invariants) -> None:
    for pod in world.serving_routers()[:1]:
        del world.pods[pod.name]
        world.hear_of_it()


def mend(world: World, _: Invariants) -> None:
    world.broken.clear()


COMMANDS = st.one_of(
    st.sampled_from(VERSIONS).map(use),
    st.sampled_from([0, 1, 2, 5]).map(scale),
    st.sampled_from(ROLLOUTS).map(roll_out),
    st.builds(order, st.sampled_from(["promote", "abort", "retry"]), st.sampled_from(["1", "2", "3", "2/x", None])),
    st.integers(1, 3).map(fail),
    st.integers(0, 2).map(freeze),
    st.just(Command("lose a router", lose_router)),
    st.just(Command("mend the model", mend)),
    st.integers(0, 8).map(crash),
)


def look_twice(world: World) -> None:
    """Let a second pass follow each pass at once, and hold it to writing nothing.

    While routers are frozen, a write can make what they use be what is written; then there is news.
    """
    first = world.reconciler.reconcile

    def reconcile(namespace: str, name: str) -> Any:
        plan = first(namespace, name)
        again = first(namespace, name)
        assert world.frozen_routers or (again is not None and again.is_empty), f"the second pass writes {again}"
        return plan

    world.reconciler.reconcile = reconcile  # type: ignore[method-assign]


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(commands=st.lists(st.tuples(COMMANDS, st.integers(0, 12)), min_size=1, max_size=10))
def test_whatever_happens_the_invariants_hold_and_it_comes_to_rest(commands: list[tuple[Command, int]]) -> None:
    world = serving().copy()
    invariants = Invariants(world, plan_twice=True)
    look_twice(world)
    for command, turns in commands:
        command.happen(world, invariants)
        world.settle(turns=turns)

    world.frozen_routers, world.crash_at = set(), None
    world.settle(turns=130)
    assert world.reason() in WELL, (world.reason(), world.condition("Ready"))
    assert_clean(world)
    writes = world.writes
    world.settle(turns=70)
    assert world.writes == writes, "it comes to no rest"


@lru_cache
def serving() -> World:
    world = a_world()
    world.settle(turns=12)
    assert world.reason() == "Serving"
    return world


@lru_cache
def rolling_out() -> World:
    world = serving().copy()
    world.use_model("2")
    world.settle(turns=8)
    assert 2 in world.live_weights()[0]
    return world


def update(world: World) -> None:
    world.use_model("2")
    world.settle(turns=35)


def abort(world: World) -> None:
    world.annotate(abort="2")
    world.settle(turns=20)


def change_in_mid_rollout(world: World) -> None:
    world.edit(model=model_of("3"), rollout={"strategy": "Replace"})
    world.settle(turns=25)


def suspend_and_resume(world: World) -> None:
    world.edit(replicas=0)
    world.settle(turns=15)
    world.edit(replicas=3)
    world.settle(turns=30)


def deploy_first(world: World) -> None:
    world.settle(turns=15)


STORIES: list[tuple[Callable[[World], None], Callable[[], World]]] = [
    (deploy_first, a_world),
    (update, lambda: serving().copy()),
    (abort, lambda: rolling_out().copy()),
    (change_in_mid_rollout, lambda: rolling_out().copy()),
    (suspend_and_resume, lambda: serving().copy()),
]


@pytest.mark.parametrize(("story", "start"), STORIES, ids=[story.__name__ for story, _ in STORIES])
def test_an_operator_killed_before_any_write_ends_where_one_that_lives_does(
    story: Callable[[World], None], start: Callable[[], World]
) -> None:
    whole = start()
    before = whole.writes
    story(whole)
    assert whole.writes > before
    for write in range(before, whole.writes):
        world = start()
        Invariants(world)
        world.crash_at = write
        story(world)
        assert world.crash_at is None, "the operator was not killed"
        assert end_of(world) == end_of(whole), f"killed before write {write - before}"
        assert_clean(world)


def end_of(world: World) -> Any:
    """What is there in the end, without times and names that a delay may change."""
    status = world.status
    revisions = [status.get(part) for part in ("stable", "candidate")]
    kinds = ("Deployment", "ConfigMap", "Service", "ControllerRevision")
    history = [entry["revision"] for entry in status.get("history", [])]
    told = sorted(set(world.told()))
    return world.reason(), world.live_weights(), revisions, history, [world.kept(kind) for kind in kinds], told


def test_time_alone_changes_nothing_that_serves() -> None:
    world = serving().copy()
    seen = world.observe(world.endpoint)

    for days in (1, 100, 10_000):
        assert make_plan(world.endpoint, seen, world.settings, now=EPOCH + timedelta(days=days)).is_empty


def test_a_plan_that_writes_nothing_new_keeps_the_status_as_it_is() -> None:
    world = serving().copy()
    plan = make_plan(world.endpoint, world.observe(world.endpoint), world.settings, now=world.now)

    assert (plan.status, plan.look_again_after, plan.is_empty) == (None, None, True)


def test_what_an_author_wrote_in_the_status_by_hand_is_put_right() -> None:
    world = serving().copy()
    world.body["status"] = {**world.status, "stable": {**world.status["stable"], "weight": 7}, "url": "http://evil"}
    world.hear_of_it()
    world.settle(turns=5)

    assert (world.status["stable"]["weight"], world.status["url"]) == (100, "http://churn.shop.svc")


def test_an_endpoint_whose_status_was_lost_is_taken_up_again() -> None:
    world = serving().copy()
    world.body["status"] = {"observedGeneration": -1}
    world.hear_of_it()
    Invariants(world)
    world.settle(turns=30)

    assert world.reason() == "Serving"
    assert world.live_weights() == [{1: 100}, {1: 100}]
    assert_clean(world)


def test_a_router_that_does_not_answer_holds_everything_back() -> None:
    world = serving().copy()
    endpoint, seen = world.endpoint, world.observe(world.endpoint)
    silent = replace(seen, routers=tuple(replace(router, route_version=None) for router in seen.routers))
    suspended = replace(endpoint, spec=endpoint.spec.model_copy(update={"replicas": 0}))
    plan = make_plan(suspended, silent, world.settings, now=world.now)

    assert not plan.deletes
    replicas = {
        write.manifest["metadata"]["name"]: write.manifest["spec"]["replicas"]
        for write in plan.applies
        if write.manifest["kind"] == "Deployment"
    }
    assert replicas["churn-r1"] == 1


def test_router_pods_are_poked_again_until_they_have_what_is_written() -> None:
    world = serving().copy()
    world.frozen_routers = {pod.name for pod in world.serving_routers()}
    world.edit(routing={"timeoutSeconds": 60}, replicas=0)
    pokes = set()
    for state in world.history(turns=10):
        annotations = [pod.body["metadata"]["annotations"] for pod in state.serving_routers()]
        pokes |= {tuple(sorted(told.items())) for told in annotations}

    assert len(pokes) >= 4
