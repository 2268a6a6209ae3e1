"""Endpoints to begin a story with, and what is asked of them. The invariants are checked after every write and turn."""

import json
from functools import lru_cache
from typing import Any

from support.invariants import Invariants, assert_clean
from support.world import World, model_of

CANARY = {"steps": [{"weight": 20, "pause": True}, {"weight": 50, "holdSeconds": 10}]}
BY_TIME = {"steps": [{"weight": 10, "holdSeconds": 20}, {"weight": 50, "holdSeconds": 20}]}
REPLACE = {"strategy": "Replace"}


def a_world(**spec: Any) -> World:
    world = World({"model": model_of("1"), "replicas": 4, "rollout": CANARY, **spec})
    Invariants(world)
    return world


def a_serving_world(**spec: Any) -> World:
    return watched(serving(json.dumps(spec)))


def a_paused_world(**spec: Any) -> World:
    """Revision 1 serves, revision 2 waits with 20 % for a person."""
    return watched(paused(json.dumps(spec)))


def watched(world: World) -> World:
    copied = world.copy()
    Invariants(copied)
    return copied


@lru_cache
def serving(spec: str) -> World:
    world = a_world(**json.loads(spec))
    world.settle()
    assert world.reason() == "Serving"
    return world


@lru_cache
def paused(spec: str) -> World:
    world = watched(serving(spec))
    world.use_model("2")
    world.settle()
    assert (world.reason(), world.live_weights()[0]) == ("Paused", {2: 20, 1: 80})
    return world


def trace(world: World, *, turns: int = 60) -> list[str]:
    """Go on and tell each change of what ``kubectl get`` shows and of what the routers do."""
    lines: list[str] = []
    for state in world.history(turns=turns):
        weights = sorted({" ".join(f"r{n}={w:g}" for n, w in weights.items()) for weights in state.live_weights()})
        line = f"{state.reason()}: {' | '.join(weights) or '-'}"
        if not lines or lines[-1] != line:
            lines.append(line)
    return lines


def split(world: World) -> dict[int, float]:
    """The weights on which all routers agree."""
    weights = world.live_weights()
    assert weights and all(one == weights[0] for one in weights)
    return weights[0]


def everything_is(world: World, revision: int) -> bool:
    """Say whether one revision serves, alone, and nothing is left of others."""
    assert_clean(world)
    return (world.reason(), split(world), world.status.get("candidate")) == ("Serving", {revision: 100}, None)
