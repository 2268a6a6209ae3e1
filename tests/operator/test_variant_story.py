"""Variants in the life of an endpoint: beside the main model and its rollouts, and beside each other."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.invariants import assert_clean
from support.stories import REPLACE, a_serving_world, a_world, split, trace
from support.world import BROKEN, Key, World, model_of

B: dict[str, Any] = {"name": "b", "model": model_of("2"), "weight": 10}
C: dict[str, Any] = {"name": "c", "model": model_of("3"), "weight": 25, "replicas": 2}


def a_varied_world(*variants: Mapping[str, Any]) -> World:
    """Revision 1 is the main model's; the variants have those after it."""
    world = a_serving_world()
    world.edit(variants=list(variants))
    world.settle()
    assert world.reason() == "Serving"
    return world


def arm(world: World, name: str) -> dict[str, Any]:
    return next(dict(told) for told in world.status["variants"] if told["name"] == name)


def objects_of(world: World, *revisions: int) -> dict[Key, Any]:
    """The objects and the pods of some revisions."""
    owners = {f"churn-r{revision}" for revision in revisions}
    pods = {Key("Pod", name): pod.template for name, pod in world.pods.items() if pod.owner in owners}
    return {key: body for key, body in world.objects.items() if key.name in owners} | pods


def test_a_variant_gets_its_share_when_its_pods_are_ready() -> None:
    world = a_serving_world()
    world.edit(variants=[B])

    assert trace(world, turns=20) == [
        "Deploying: r1=100", "Routing: r1=100", "Routing: r1=90 r2=10", "Serving: r1=90 r2=10",
    ]  # fmt: skip
    assert split(world) == {1: 90, 2: 10}
    assert arm(world, "b") | {"sha256": "", "results": {}} == {
        "name": "b", "revision": 2, "version": "2", "sha256": "", "weight": 10, "replicas": 1, "readyReplicas": 1,
        "results": {},
    }  # fmt: skip
    assert world.told()[-2:] == ["VariantStarted", "VariantServes"]
    assert_clean(world)


def test_until_a_variant_is_there_the_main_model_answers_in_its_place() -> None:
    world = a_world(variants=[{**B, "model": model_of(BROKEN)}, C])
    world.settle()
    assert (world.reason(), split(world)) == ("ModelInvalid", {1: 75, 3: 25})

    world.broken.clear()
    world.settle()
    assert (world.reason(), split(world)) == ("Serving", {1: 65, 2: 10, 3: 25})


def test_a_change_of_a_variants_model_moves_its_requests_at_once_when_all_new_pods_are_ready() -> None:
    world = a_varied_world(B, C)
    world.edit(variants=[B, {**C, "model": model_of("4")}])
    lines = trace(world)

    assert [line.partition(": ")[2] for line in lines] == [*["r1=65 r2=10 r3=25"] * 2, *["r1=65 r2=10 r4=25"] * 2]
    assert split(world) == {1: 65, 2: 10, 4: 25}
    assert arm(world, "c")["revision"] == 4
    assert world.replicas(3) is None
    assert_clean(world)


@pytest.mark.parametrize(
    ("variants", "staying"),
    [
        pytest.param([B, C, {**B, "name": "d"}], (1, 2, 3), id="one is added"),
        pytest.param([B, {**C, "model": model_of("4")}], (1, 2), id="one is changed"),
        pytest.param([{**B, "weight": 60}, C], (1, 2, 3), id="one gets another weight"),
        pytest.param([B, {**C, "replicas": 5}], (1, 2), id="one gets more pods"),
        pytest.param([C], (1, 3), id="one is removed"),
        pytest.param([C, B], (1, 2, 3), id="their order changes"),
        pytest.param([{**C, "model": model_of(BROKEN)}, B], (1, 2, 3), id="one breaks"),
        pytest.param(None, (1,), id="all are removed"),
    ],
)
def test_what_happens_to_one_variant_changes_nothing_of_the_others(
    variants: list[dict[str, Any]] | None, staying: tuple[int, ...]
) -> None:
    world = a_varied_world(B, C)
    before = objects_of(world, *staying)
    world.edit(variants=variants)
    world.settle()

    assert objects_of(world, *staying) == before
    assert_clean(world)


ARMS: dict[str, list[dict[str, Any] | None]] = {
    "variants": [
        None,
        B,
        {**B, "weight": 40},
        {**B, "model": model_of("4")},
        {**B, "model": model_of(BROKEN)},
        {**B, "replicas": 3},
        {**B, "match": {"header": {"name": "x-team", "exact": "risk"}}},
        {**B, "server": {"limits": {"maxRows": 7}}},
    ],
    "shadows": [
        None,
        {"name": "b", "model": model_of("2"), "percent": 50},
        {"name": "b", "model": model_of("5"), "replicas": 2},
    ],
}
"""What may stand in the spec for the one that changes: nothing, or a variant or shadow of the name b."""
CHANGES = st.sampled_from([(kind, arm) for kind, arms in ARMS.items() for arm in arms])
NEIGHBOURS: dict[str, Any] = {
    "variants": [C],
    "shadows": [{"name": "next", "model": model_of("6"), "percent": 30}],
}


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.tuples(CHANGES, st.integers(0, 6)), min_size=1, max_size=5), st.booleans())
def test_whatever_becomes_of_one_no_object_or_pod_of_another_ever_changes(
    changes: list[tuple[tuple[str, dict[str, Any] | None], int]], is_first: bool
) -> None:
    world = a_serving_world(**NEIGHBOURS)
    others = (1, arm(world, "c")["revision"], world.status["shadows"][0]["revision"])
    before = objects_of(world, *others)
    written: list[Key] = []
    world.before_plan.append(lambda _, plan: written.extend(named(write.manifest) for write in plan.applies))
    for (kind, changed), turns in changes:
        changing = {kind: [changed] if changed else []}
        lists = {name: [*changing.get(name, []), *arms] for name, arms in NEIGHBOURS.items()}
        world.edit(**{name: arms if is_first else arms[::-1] for name, arms in lists.items()})
        world.settle(turns=turns)
    world.settle()

    assert objects_of(world, *others) == before
    assert not {f"churn-r{number}" for number in others} & {key.name for key in written}
    assert_clean(world)


def named(manifest: Mapping[str, Any]) -> Key:
    return Key(manifest["kind"], manifest["metadata"]["name"])


def test_a_removed_variant_is_deleted_when_no_router_sends_to_it_any_more() -> None:
    world = a_varied_world(B)
    world.frozen_routers = {world.serving_routers()[0].name}
    world.edit(variants=[])
    world.settle(turns=20)
    assert world.ready_pods(2) == 1

    world.frozen_routers = set()
    world.settle(turns=30)
    assert split(world) == {1: 100}
    assert world.replicas(2) is None
    assert world.told().count("VariantRemoved") == 1
    assert "variants" not in world.status or world.status["variants"] == []
    assert_clean(world)


def test_a_broken_model_leaves_the_variant_as_it_was_and_is_told() -> None:
    world = a_varied_world(B)
    world.edit(variants=[{**B, "model": model_of(BROKEN)}])
    world.settle()

    assert split(world) == {1: 90, 2: 10}
    assert (world.reason(), world.condition("Stalled")["status"]) == ("ModelInvalid", "True")  # type: ignore[index]
    assert world.condition("Available")["status"] == "True"  # type: ignore[index]
    told = arm(world, "b")
    assert (told["revision"], told["nextRevision"]) == (2, 3)
    assert told["message"] == "Variant b, revision 3: not an ONNX model"
    assert world.told().count("ModelInvalid") == 1

    world.broken.clear()
    world.settle()
    assert split(world) == {1: 90, 3: 10}
    assert world.reason() == "Serving"


def test_a_broken_variant_stops_no_rollout_of_the_main_model() -> None:
    world = a_varied_world(B)
    world.edit(variants=[{**B, "model": model_of(BROKEN)}], model=model_of("4"), rollout=REPLACE)
    world.settle()

    assert (split(world), world.reason()) == ({3: 90, 2: 10}, "ModelInvalid")
    assert world.status["stable"]["version"] == "4"


def test_a_candidate_and_variants_share_the_traffic() -> None:
    world = a_varied_world(C)
    world.use_model("4")
    world.settle()

    assert split(world) == {3: 15, 1: 60, 2: 25}
    assert (world.status["candidate"]["weight"], world.status["stable"]["weight"]) == (20, 80)
    assert arm(world, "c")["weight"] == 25


def test_a_change_of_variants_in_mid_rollout_moves_nothing_of_it() -> None:
    world = a_serving_world()
    world.use_model("4")
    world.settle()
    world.edit(variants=[B])
    world.settle()

    assert split(world) == {2: 18, 1: 72, 3: 10}
    assert (world.status["rollout"]["phase"], world.status["candidate"]["weight"]) == ("Paused", 20)
    assert "RolloutSuperseded" not in world.told()


def test_variants_may_answer_everything_and_the_main_model_is_still_rolled_out() -> None:
    world = a_varied_world({**B, "weight": 40}, {**C, "weight": 60})
    assert split(world) == {2: 40, 3: 60}
    world.use_model("4")
    world.settle()
    assert world.status["candidate"]["weight"] == 20
    world.annotate(promote="4")
    world.settle(turns=80)

    assert world.status["stable"]["revision"] == 4
    assert split(world) == {2: 40, 3: 60}
    assert_clean(world)


def test_a_variant_without_weight_runs_and_gets_nothing() -> None:
    world = a_varied_world({**B, "weight": 0})

    assert split(world) == {1: 100}
    assert (arm(world, "b")["revision"], world.ready_pods(2)) == (2, 1)


def test_a_variant_that_loses_its_pods_gives_its_share_to_the_main_model_until_they_are_back() -> None:
    world = a_varied_world(B)
    world.watchers.clear()  # until the next pass the routers send to nobody: the variant has no other pod
    world.before_plan.clear()
    world.fail_pods(2)

    lines = trace(world)
    assert "PodsNotReady: r1=100" in lines
    assert lines[-1] == "Serving: r1=90 r2=10"


def test_a_suspended_endpoint_has_no_pods_of_variants_either() -> None:
    world = a_varied_world(B, C)
    world.edit(replicas=0)
    world.settle()
    assert [world.replicas(number) for number in (1, 2, 3)] == [0, 0, 0]
    assert (world.reason(), split(world)) == ("Suspended", {})

    world.edit(replicas=4)
    world.settle()
    assert split(world) == {1: 65, 2: 10, 3: 25}


def test_the_same_model_in_two_variants_is_two_revisions() -> None:
    world = a_varied_world(B, {**B, "name": "twin"})

    assert (arm(world, "b")["revision"], arm(world, "twin")["revision"]) == (2, 3)
    assert world.objects[Key("Deployment", "churn-r3")]["metadata"]["labels"]["modelendpoint.dev/arm"] == "twin"


def test_a_variant_follows_the_endpoints_server_unless_it_has_its_own() -> None:
    own = {"limits": {"maxRows": 7}}
    world = a_varied_world(B, {**C, "server": own})
    world.edit(server={"limits": {"maxRows": 9}}, rollout=REPLACE)
    world.settle()

    assert arm(world, "b")["revision"] > 3
    assert arm(world, "c")["revision"] == 3


def test_numbers_of_removed_variants_are_not_used_again() -> None:
    world = a_varied_world(B)
    world.edit(variants=[])
    world.settle()
    world.edit(variants=[{**B, "model": model_of("5")}])
    world.settle()

    assert arm(world, "b")["revision"] == 3
    assert world.kept("ControllerRevision") == {"churn-r1", "churn-r3"}


def test_a_variant_that_does_not_get_ready_in_time_is_stalled() -> None:
    world = a_varied_world()
    world.broken[BROKEN] = world.broken[BROKEN].__class__(state="Loading")
    world.edit(variants=[{**B, "model": model_of(BROKEN)}])
    world.settle(turns=12)
    assert world.reason() == "Deploying"
    world.settle(turns=700)

    assert world.condition("Stalled")["reason"] == "ProgressDeadlineExceeded"  # type: ignore[index]
    assert "Variant b, revision 2: 0 of 1 pods ready (loading the model)" in arm(world, "b")["message"]


# Shadows.

NEXT: dict[str, Any] = {"name": "next", "model": model_of("2"), "percent": 50}


def mirrored(world: World) -> dict[int, int]:
    """Percent of the requests of which a revision gets copies, by the written routes."""
    routes = json.loads(world.objects[Key("ConfigMap", "churn-router")]["data"]["rds.json"])
    (weighted, _) = routes["resources"][0]["virtual_hosts"][0]["routes"]
    policies = weighted["route"].get("request_mirror_policies", [])
    return {
        int(policy["cluster"].rpartition("-r")[2]): policy["runtime_fraction"]["default_value"]["numerator"]
        for policy in policies
    }


def test_a_shadow_gets_copies_when_its_pods_are_ready_and_no_share() -> None:
    world = a_serving_world()
    world.edit(shadows=[NEXT])
    assert mirrored(world) == {}
    world.settle()

    assert (world.reason(), split(world), mirrored(world)) == ("Serving", {1: 100}, {2: 50})
    (told,) = world.status["shadows"]
    assert (told["name"], told["revision"], told["weight"], told["readyReplicas"]) == ("next", 2, 50, 1)
    assert world.told()[-2:] == ["ShadowStarted", "ShadowServes"]
    assert_clean(world)


def test_a_shadow_without_pods_gets_no_copies_and_a_removed_one_goes() -> None:
    world = a_serving_world(shadows=[NEXT])
    world.fail_pods(2)
    world.reconcile()
    assert mirrored(world) == {}

    world.settle()
    assert mirrored(world) == {2: 50}
    world.edit(shadows=[])
    world.settle()
    assert (mirrored(world), world.replicas(2), world.told()[-1]) == ({}, None, "ShadowRemoved")
    assert_clean(world)


def test_a_shadow_that_becomes_a_variant_keeps_its_pods() -> None:
    world = a_serving_world(shadows=[NEXT])
    pods = [pod.name for pod in world.pods_of(2)]
    world.edit(shadows=[], variants=[{"name": "next", "model": model_of("2"), "weight": 20}])
    world.settle()

    assert [pod.name for pod in world.pods_of(2)] == pods
    assert (split(world), mirrored(world), world.reason()) == ({1: 80, 2: 20}, {}, "Serving")


def test_a_broken_shadow_is_told_and_hurts_nothing() -> None:
    world = a_serving_world()
    world.edit(shadows=[{**NEXT, "model": model_of(BROKEN)}], model=model_of("3"), rollout=REPLACE)
    world.settle()

    assert world.status["stable"]["version"] == "3"
    assert world.condition("Stalled")["message"] == f"Shadow next, revision {arm_of_shadow(world)}: not an ONNX model"  # type: ignore[index]


def arm_of_shadow(world: World) -> int:
    return int(world.status["shadows"][0]["nextRevision"])
