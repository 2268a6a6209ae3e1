"""Results of variants and shadows in the life of an endpoint: 1,000 requests in a turn, which is a second."""

from typing import Any

from support.invariants import assert_clean
from support.stories import a_serving_world, split
from support.world import World, model_of

B: dict[str, Any] = {"name": "b", "model": model_of("2"), "weight": 20}
NEXT: dict[str, Any] = {"name": "next", "model": model_of("3"), "percent": 50}
PAUSE = {"steps": [{"weight": 20, "pause": True}]}


def a_compared_world(**spec: Any) -> World:
    """Revision 1 is the main model's, 2 the variant's, and 3 the shadow's; all have a hundredth of errors."""
    world = a_serving_world(**{"variants": [B], "shadows": [NEXT], "rollout": PAUSE, **spec})
    world.traffic, world.failing = 1000, dict.fromkeys(range(1, 6), 0.01)
    world.settle(turns=60)
    return world


def results(world: World, name: str = "b") -> dict[str, Any]:
    arms = [*world.status["variants"], *world.status["shadows"]]
    return next(dict(arm["results"]) for arm in arms if arm["name"] == name)


def test_arms_that_are_like_stable_show_no_difference() -> None:
    world = a_compared_world()

    assert (split(world), world.reason()) == ({1: 80, 2: 20}, "Serving")
    told = results(world)
    assert 7_000 < told["own"]["answers"] <= 12_000
    assert told["stable"]["answers"] == 4 * told["own"]["answers"]
    assert told["errors"]["lower"] < 0 < told["errors"]["upper"] < 1
    assert told["latency"]["lower"] <= 0 <= told["latency"]["upper"]
    copied = results(world, "next")
    assert copied["stable"]["answers"] == 80 * copied["own"]["answers"] // 50
    assert copied["errors"]["lower"] < 0 < copied["errors"]["upper"]
    assert world.status["results"].startswith("b: ") and "; next: " in world.status["results"]


def test_an_arm_with_twenty_points_more_errors_shows_them_and_nothing_else_happens() -> None:
    world = a_compared_world()
    world.failing[2] = 0.21
    world.settle(turns=120)

    told = results(world)
    assert told["errors"]["lower"] > 5
    assert results(world, "next")["errors"]["lower"] < 0 < results(world, "next")["errors"]["upper"]
    assert (split(world), world.reason()) == ({1: 80, 2: 20}, "Serving"), "results decide nothing"


def test_a_rollout_lets_results_rest_and_one_that_is_aborted_lets_them_go_on() -> None:
    world = a_compared_world()
    before = results(world)
    world.use_model("4")
    world.settle(turns=30)
    assert world.reason() == "Paused"
    resting = results(world)
    assert resting["resting"] == "the stable revision shares its requests with a candidate"
    assert resting["own"]["answers"] < before["own"]["answers"] + 20 * 200, "it does not go on counting"

    world.annotate(abort=str(world.status["candidate"]["revision"]))
    world.settle(turns=70)
    again = results(world)
    assert (again["since"], again.get("resting")) == (before["since"], None)
    assert again["own"]["answers"] > resting["own"]["answers"] + 5_000
    assert_clean(world)


def test_a_promoted_revision_is_compared_with_from_the_beginning() -> None:
    world = a_compared_world()
    world.edit(model=model_of("4"), rollout={"strategy": "Replace"})
    world.settle(turns=40)

    told = results(world)
    assert told["comparedWith"] == world.status["stable"]["revision"] == 4
    assert told["own"]["answers"] <= 40 * 200


def test_another_model_of_a_variant_leaves_the_results_of_the_others() -> None:
    world = a_compared_world(shadows=[])
    world.edit(variants=[{**B, "model": model_of("5")}, {"name": "c", "model": model_of("6")}])
    world.settle(turns=40)

    assert results(world)["revision"] == 3
    assert results(world, "c")["notCompared"] == "it has no share of the requests"
    assert "comparedWith" not in results(world, "c")


def test_a_variant_with_certain_requests_is_counted_and_compared_with_nothing() -> None:
    match = {"header": {"name": "x-team", "exact": "risk"}}
    world = a_compared_world(variants=[{**B, "match": match}])

    told = results(world)
    assert told["notCompared"] == "it gets certain requests (match), others than the stable revision"
    assert told["own"]["answers"] > 5_000
    assert not {"stable", "errors", "latency"} & told.keys()
    assert "takes away" in results(world, "next")["notCompared"]


def test_without_arms_nothing_is_remembered() -> None:
    world = a_compared_world()
    world.edit(variants=[], shadows=[])
    world.settle(turns=40)

    assert not {"results", "counting"} & world.status.keys()
    assert_clean(world)


def test_without_requests_nothing_is_written() -> None:
    world = a_compared_world()
    world.traffic = 0
    world.settle(turns=70)
    writes = world.writes
    world.settle(turns=300)

    assert world.writes == writes


def test_a_suspended_endpoint_keeps_what_was_counted() -> None:
    world = a_compared_world()
    world.edit(replicas=0)
    world.settle(turns=30)
    told = results(world)
    assert (told["resting"], world.reason()) == ("it has no pods, or the endpoint is suspended", "Suspended")

    world.edit(replicas=4)
    world.settle(turns=80)
    assert results(world)["since"] == told["since"]
    assert results(world)["own"]["answers"] > told["own"]["answers"]
