"""The planner under anything that people, clusters and crashes may do, in any order; and killed before every write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.invariants import Invariants, assert_clean
from support.world import BROKEN, World, digest_of, model_of

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
    """Let a second pass follow each pass at once, and hold it to writing nothing."""
    first = world.reconciler.reconcile

    def reconcile(namespace: str, name: str) -> Any:
        plan = first(namespace, name)
        again = first(namespace, name)
        assert again is not None and again.is_empty, f"the second pass writes {again}"
        return plan

    world.reconciler.reconcile = reconcile  # type: ignore[method-assign]


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(commands=st.lists(st.tuples(COMMANDS, st.integers(0, 12)), min_size=1, max_size=10))
def test_whatever_happens_the_invariants_hold_and_it_comes_to_rest(commands: list[tuple[Command, int]]) -> None:
    world = a_world()
    invariants = Invariants(world, plan_twice=True)
    look_twice(world)
    world.settle(turns=8)
    for command, turns in commands:
        command.happen(world, invariants)
        world.settle(turns=turns)

    world.frozen_routers, world.crash_at = set(), None
    world.settle(turns=130)
    assert world.reason() in WELL, (world.reason(), world.condition("Ready"))
    assert_clean(world)
    writes = world.writes
    world.reconcile()
    world.settle(turns=70)
    assert world.writes == writes, "it comes to no rest"
