"""The planner under anything that people, clusters and crashes may do, in any order; and killed before every write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from modelendpoint_operator.observation import Measurement, PodReport
from modelendpoint_operator.planner import make_plan
from support.invariants import Invariants, assert_clean
from support.world import BROKEN, EPOCH, World, compared, digest_of, model_of

CHECK = {"name": "first", "path": "/", "intervalSeconds": 2, "failureThreshold": 2}
REPLAY = {"name": "recorded", "input": {"uri": "s3://rows/churn/"}, "output": {"uri": "s3://reports/churn"}}
FAST_CANARY: dict[str, Any] = {"steps": [{"weight": 20, "holdSeconds": 4}, {"weight": 60}]}
ROLLOUTS: list[dict[str, Any]] = [
    FAST_CANARY,
    {"steps": [{"weight": 30, "pause": True}, {"weight": 30, "holdSeconds": 3}]},
    {"steps": [{"weight": 0, "holdSeconds": 2}, {"weight": 90, "pause": True}]},
    {"steps": []},
    {"strategy": "Replace", "bakeSeconds": 8},
    {"strategy": "BlueGreen", "keepSeconds": 9, "preview": {"pause": True}},
    {"strategy": "BlueGreen", "keepSeconds": 5, "bakeSeconds": 12, "onFailure": "Pause"},
    {**FAST_CANARY, "candidateReplicas": 2, "bakeSeconds": 5, "onFailure": "Pause"},
    {**FAST_CANARY, "gates": {"http": [CHECK], "errorRate": {}, "latency": {}}, "bakeSeconds": 5},
    {**FAST_CANARY, "gates": {"replay": [REPLAY], "http": [CHECK]}},
    {"strategy": "BlueGreen", "gates": {"replay": [REPLAY, {**REPLAY, "name": "older"}]}, "onFailure": "Pause"},
    {**FAST_CANARY, "gates": {"errorRate": {}, "insufficientData": {"afterSeconds": 5, "action": "Rollback"}}},
]
VERSIONS = ["1", "2", "3", "same-as-1", BROKEN]
VARIANTS: list[list[dict[str, Any]]] = [
    [],
    [{"name": "b", "model": model_of("2"), "weight": 10}],
    [{"name": "b", "model": model_of("3"), "weight": 10}, {"name": "c", "model": model_of("2"), "weight": 30}],
    [{"name": "c", "model": model_of("1"), "weight": 100, "replicas": 2}],
    [{"name": "b", "model": model_of(BROKEN), "weight": 50}, {"name": "c", "model": model_of("2")}],
]
VERBS = ["promote", "abort", "retry", "promote-full", "pause", "resume", "rollback-to"]
WELL = {
    "Serving", "Idle", "Paused", "Suspended", "Aborted", "ModelInvalid", "GateFailed", "InsufficientData", "RolledBack",
}  # fmt: skip
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


def vary(variants: list[dict[str, Any]]) -> Command:
    return Command(f"vary by {variants}", lambda world, _: world.edit(variants=variants))


def autoscale(least: int | None) -> Command:
    wanted = {"minReplicas": least, "maxReplicas": 5, "targetRequestsPerSecond": 10.0, "scaleDownAfterSeconds": 20}
    wanted |= {"idleSeconds": 8, "wakeSeconds": 5}
    autoscaling = None if least is None else wanted
    return Command(f"autoscale from {least}", lambda world, _: world.edit(autoscaling=autoscaling))


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


def send(traffic: int, failing: Mapping[int, float]) -> Command:
    def happen(world: World, _: Invariants) -> None:
        world.traffic, world.failing = traffic, dict(failing)

    return Command(f"send {traffic} requests, of which fail {failing}", happen)


def answer(status: int) -> Command:
    def happen(world: World, _: Invariants) -> None:
        world.answers = {"http/first": Measurement(value=status)}

    return Command(f"answer checks with {status}", happen)


def replay(disagreeing: int | None) -> Command:
    def happen(world: World, _: Invariants) -> None:
        world.replayed = {} if disagreeing is None else {"recorded": compared(disagreeing), "older": compared(0)}

    return Command(f"let the models disagree about {disagreeing} rows", happen)


def lose_run(world: World, _: Invariants) -> None:
    for name in sorted(world.kept("BatchPrediction"))[:1]:
        world.remove("BatchPrediction", name)


def deafen(events: int) -> Command:
    def happen(world: World, _: Invariants) -> None:
        world.deaf_to = world.heard + events

    return Command(f"drop watch event {events} from now", happen)


def restart_routers(world: World, _: Invariants) -> None:
    for pod in world.serving_routers():
        pod.counted = {}


def lose_router(world: World, _: Invariants) -> None:
    for pod in world.serving_routers()[:1]:
        del world.pods[pod.name]
        world.hear_of_it()


def mend(world: World, _: Invariants) -> None:
    world.broken.clear()


COMMANDS = st.one_of(
    st.sampled_from(VERSIONS).map(use),
    st.sampled_from([0, 1, 2, 5]).map(scale),
    st.sampled_from([0, 1, 4, None]).map(autoscale),
    st.sampled_from(ROLLOUTS).map(roll_out),
    st.sampled_from(VARIANTS).map(vary),
    st.builds(order, st.sampled_from(VERBS), st.sampled_from(["1", "2", "3", "2/x", None])),
    st.builds(send, st.sampled_from([0, 30, 3000]), st.dictionaries(st.integers(1, 4), st.sampled_from([0.05, 1.0]))),
    st.sampled_from([200, 202, 500]).map(answer),
    st.sampled_from([0, 500, None]).map(replay),
    st.just(Command("lose a run", lose_run)),
    st.integers(1, 5).map(deafen),
    st.just(Command("restart the routers' counters", restart_routers)),
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
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(
    rollout=st.sampled_from(ROLLOUTS),
    commands=st.lists(st.tuples(COMMANDS, st.integers(0, 12)), min_size=1, max_size=10),
)
def test_whatever_happens_the_invariants_hold_and_it_comes_to_rest(
    rollout: dict[str, Any], commands: list[tuple[Command, int]]
) -> None:
    world = serving().copy()
    world.edit(rollout=rollout)
    world.resync = timedelta(seconds=60)
    invariants = Invariants(world, plan_twice=True)
    look_twice(world)
    for command, turns in commands:
        command.happen(world, invariants)
        world.settle(turns=turns)

    world.frozen_routers, world.crash_at, world.deaf_to, world.traffic = set(), None, None, 0
    world.settle(turns=130)
    assert world.reason() in WELL or waits_for_a_gate(world), (world.reason(), world.condition("Ready"))
    assert_clean(world, kept=kept_while_watched(world))
    rest = what_lasts(world)
    world.settle(turns=70)
    assert what_lasts(world) == rest, "it comes to no rest"


def waits_for_a_gate(world: World) -> bool:
    """Say whether a step has no end because a gate can't tell; it has an hour for that."""
    rollout = world.status.get("rollout") or {}
    undecided = [finding for finding in rollout.get("findings", []) if finding["verdict"] == "InsufficientData"]
    return rollout.get("phase") == "Holding" and bool(undecided)


def kept_while_watched(world: World) -> list[int]:
    """Name the revision before one that failed while it baked: a person may want to go back to it."""
    status = world.status
    if (status.get("rollout") or {}).get("phase") != "Baking":
        return []
    rejected = {entry["revision"] for entry in status["rejected"]}
    before = [entry["revision"] for entry in status["history"][1:] if entry["revision"] not in rejected]
    return [revision for revision in before[:1] if world.replicas(revision)]


def what_lasts(world: World) -> Any:
    """All that must stay as it is when nothing happens; what was measured when is no part of it."""
    status = {**world.status}
    rollout = {**(status.pop("rollout", None) or {}), "checks": None, "measuredAt": None}
    return world.objects, world.events, status, rollout


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


def fail_in_a_step(world: World) -> None:
    world.traffic, world.failing = 3000, {2: 1.0}
    world.use_model("2")
    world.settle(turns=25)


def fail_after_the_promotion(world: World) -> None:
    world.traffic = 3000
    world.edit(model=model_of("2"), rollout={"strategy": "Replace", "bakeSeconds": 60})
    world.settle(turns=12)
    assert world.reason() == "Baking"
    world.failing = {2: 1.0}
    world.settle(turns=25)


def switch_and_back(world: World) -> None:
    world.edit(model=model_of("2"), rollout={"strategy": "BlueGreen", "keepSeconds": 15})
    world.settle(turns=20)
    world.use_model("1")
    world.settle(turns=35)


def roll_back_by_hand(world: World) -> None:
    world.edit(model=model_of("2"), rollout={"strategy": "Replace"})
    world.settle(turns=25)
    world.annotate(**{"rollback-to": "1"})
    world.settle(turns=30)


def promote_in_full(world: World) -> None:
    world.annotate(**{"promote-full": "2"})
    world.settle(turns=30)


def pause_and_resume(world: World) -> None:
    world.annotate(pause="2")
    world.settle(turns=12)
    world.annotate(resume="2")
    world.settle(turns=40)


@lru_cache
def varied() -> World:
    world = serving().copy()
    world.edit(variants=VARIANTS[2])
    world.settle(turns=12)
    assert world.live_weights()[0] == {1: 60, 2: 10, 3: 30}
    return world


def vary_and_change_and_end(world: World) -> None:
    world.edit(variants=VARIANTS[2])
    world.settle(turns=20)
    world.edit(variants=VARIANTS[1])
    world.settle(turns=25)


def update_beside_variants(world: World) -> None:
    world.edit(model=model_of("2"), rollout={"strategy": "Replace"}, variants=VARIANTS[3])
    world.settle(turns=35)


def replay_and_agree(world: World) -> None:
    world.replayed = {"recorded": compared(0)}
    world.edit(model=model_of("2"), rollout={"strategy": "Replace", "gates": {"replay": [REPLAY]}})
    world.settle(turns=30)


def replay_and_disagree(world: World) -> None:
    world.replayed = {"recorded": compared(500)}
    world.edit(model=model_of("2"), rollout={**FAST_CANARY, "gates": {"replay": [REPLAY]}})
    world.settle(turns=25)


STORIES: list[tuple[Callable[[World], None], Callable[[], World]]] = [
    (deploy_first, a_world),
    (update, lambda: serving().copy()),
    (abort, lambda: rolling_out().copy()),
    (change_in_mid_rollout, lambda: rolling_out().copy()),
    (suspend_and_resume, lambda: serving().copy()),
    (fail_in_a_step, lambda: serving().copy()),
    (fail_after_the_promotion, lambda: serving().copy()),
    (switch_and_back, lambda: serving().copy()),
    (roll_back_by_hand, lambda: serving().copy()),
    (promote_in_full, lambda: rolling_out().copy()),
    (pause_and_resume, lambda: rolling_out().copy()),
    (vary_and_change_and_end, lambda: serving().copy()),
    (update_beside_variants, lambda: varied().copy()),
    (replay_and_agree, lambda: serving().copy()),
    (replay_and_disagree, lambda: serving().copy()),
]
DEAF_STORIES = [
    (deploy_first, a_world),
    (update, lambda: serving().copy()),
    (fail_in_a_step, lambda: serving().copy()),
    (fail_after_the_promotion, lambda: serving().copy()),
    (promote_in_full, lambda: rolling_out().copy()),
    (update_beside_variants, lambda: varied().copy()),
    (replay_and_agree, lambda: serving().copy()),
    (replay_and_disagree, lambda: serving().copy()),
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


@pytest.mark.parametrize(("story", "start"), DEAF_STORIES, ids=[story.__name__ for story, _ in DEAF_STORIES])
def test_an_operator_that_misses_any_watch_event_ends_where_one_that_hears_all_does(
    story: Callable[[World], None], start: Callable[[], World]
) -> None:
    whole = start()
    before = whole.heard
    story(whole)
    whole.settle(turns=20)
    for event in range(before + 1, whole.heard + 1):
        world = start()
        Invariants(world)
        world.deaf_to, world.resync = event, timedelta(seconds=10)
        story(world)
        world.settle(turns=20)
        assert end_of(world)[:-1] == end_of(whole)[:-1], f"deaf to watch event {event - before}"
        assert_clean(world)


def end_of(world: World) -> Any:
    """What is there in the end, without times and names that a delay may change."""
    status = world.status
    revisions = [status.get(part) for part in ("stable", "candidate")]
    revisions += [{**arm, "results": None} for arm in status.get("variants", [])]
    kinds = ("Deployment", "ConfigMap", "Service", "ControllerRevision")
    history = [entry["revision"] for entry in status.get("history", [])]
    told = sorted({*world.told(), f"{len(world.kept('BatchPrediction'))} runs"})
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


def test_a_server_pod_that_lacks_its_model_is_poked_every_quarter_of_a_minute() -> None:
    world = serving().copy()
    endpoint, seen = world.endpoint, world.observe(world.endpoint)
    (pod, *_), start = seen.pods, EPOCH + timedelta(days=1)

    def pokes(seconds: int, *, reason: str | None = "ModelNotFound", poked: str | None = None) -> list[tuple[str, str]]:
        lacking = replace(pod, ready=False, poked=poked, report=PodReport(state="Failed", reason=reason))
        plan = make_plan(
            endpoint, replace(seen, pods=(lacking,)), world.settings, now=start + timedelta(seconds=seconds)
        )
        return [(poke.pod, poke.value) for poke in plan.pokes]

    ((name, first),) = pokes(0)
    assert name == pod.name
    assert pokes(14, poked=first) == []
    ((_, second),) = pokes(15, poked=first)
    assert second != first
    assert pokes(29, poked=second) == []
    assert pokes(15, reason="ModelInvalid") == []


def test_router_pods_are_poked_again_until_they_have_what_is_written() -> None:
    world = serving().copy()
    world.frozen_routers = {pod.name for pod in world.serving_routers()}
    world.edit(routing={"timeoutSeconds": 60}, replicas=0)
    pokes = set()
    for state in world.history(turns=10):
        annotations = [pod.body["metadata"]["annotations"] for pod in state.serving_routers()]
        pokes |= {tuple(sorted(told.items())) for told in annotations}

    assert len(pokes) >= 4
