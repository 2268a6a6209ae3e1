"""Updates that must agree with stable on recorded rows before they get traffic."""

from typing import Any

import pytest

from support.invariants import Invariants, assert_clean
from support.stories import a_serving_world, a_world, everything_is, split
from support.world import World, compared

GATE: dict[str, Any] = {
    "name": "recorded",
    "input": {"uri": "s3://rows/churn/"},
    "output": {"uri": "s3://reports/churn/"},
    "maxDisagreementPercent": 2,
}
STEPS = [{"weight": 10, "holdSeconds": 20}, {"weight": 50, "holdSeconds": 20}]
CANARY: dict[str, Any] = {"steps": STEPS, "gates": {"replay": [GATE]}}
STRATEGIES: list[dict[str, Any]] = [
    CANARY,
    {"strategy": "Replace", "gates": {"replay": [GATE]}},
    {"strategy": "BlueGreen", "keepSeconds": 0, "gates": {"replay": [GATE]}},
]
BY_STRATEGY = pytest.mark.parametrize("rollout", STRATEGIES, ids=["Canary", "Replace", "BlueGreen"])


def a_guarded_world(rollout: dict[str, Any] = CANARY, *, ends: dict[str, Any] | None = None, **spec: Any) -> World:
    """Revision 1 serves; revision 2 is asked for, and compared with it."""
    world = a_serving_world(rollout=rollout, **spec)
    world.replayed = {} if ends is None else {"recorded": ends}
    world.use_model("2")
    return world


def failed(reason: str) -> dict[str, Any]:
    return {"phase": "Failed", "failure": {"reason": reason, "message": "as the run says it."}}


def the_run(world: World) -> dict[str, Any]:
    ((_, run),) = ((key, body) for key, body in world.objects.items() if key.kind == "BatchPrediction")
    return run


def stalled(world: World) -> tuple[str, str]:
    condition = world.condition("Stalled")
    return (condition["reason"], condition["message"]) if condition else ("", "")


def holding(world: World) -> str:
    assert (world.status["rollout"]["phase"], world.status["rollout"]["step"]) == ("Holding", 0)
    assert split(world) == {1: 100}
    return str(world.condition("Reconciling")["message"])  # type: ignore[index]


def most_traffic(world: World, *, turns: int) -> float:
    return max(state.live_weights()[0].get(2, 0) for state in world.history(turns=turns))


@BY_STRATEGY
def test_a_candidate_that_disagrees_never_gets_a_request(rollout: dict[str, Any]) -> None:
    world = a_guarded_world(rollout, ends=compared(30))

    assert most_traffic(world, turns=40) == 0
    reason, message = stalled(world)
    assert reason == "GateFailed"
    assert "candidate and stable disagree about 30 of 1000 recorded rows (3 %, by at most 0.25; limit 2 %)" in message
    assert "disagreements/ beside s3://reports/churn/_MANIFEST.json" in message
    assert "set modelendpoint.dev/retry=2 to try it again" in message
    assert world.status["decisions"][-2]["gate"] == "replay/recorded"
    assert the_run(world)["status"]["phase"] == "Complete", "what was found stays to be read"
    assert_clean(world)


@BY_STRATEGY
def test_a_candidate_that_agrees_goes_on(rollout: dict[str, Any]) -> None:
    world = a_guarded_world(rollout, ends=compared(20))
    world.settle(turns=80)

    assert everything_is(world, 2)
    assert world.told().count("GatePassed") == 1
    assert the_run(world)["status"]["phase"] == "Complete"


def test_the_run_compares_the_two_revisions_and_is_the_endpoints() -> None:
    world = a_guarded_world(model={"uri": "s3://models/1.onnx", "version": "1", "serviceAccountName": "reader"})
    world.edit(model={"uri": "s3://models/2.onnx", "version": "2", "serviceAccountName": "reader"})
    world.settle(turns=10)
    run = the_run(world)
    name, spec, metadata = run["metadata"]["name"], run["spec"], run["metadata"]

    assert name.startswith("churn-r2-recorded-") and len(name) <= 50
    assert (spec["endpointRef"], spec["compareWith"]) == ({"name": "churn", "revision": 2}, {"revision": 1})
    assert (spec["input"]["uri"], spec["output"]["uri"]) == ("s3://rows/churn/", f"s3://reports/churn/{name}/")
    assert (spec["errorThreshold"], spec["serviceAccountName"]) == ({"percent": 100}, "reader")
    assert metadata["ownerReferences"][0]["uid"] == "endpoint-uid"
    assert (metadata["labels"]["modelendpoint.dev/endpoint"], metadata["labels"]["modelendpoint.dev/gate"]) == (
        "churn",
        "recorded",
    )
    assert "modelendpoint.dev/revision" not in metadata["labels"], "by that an endpoint knows its pods"


def test_until_the_run_has_ended_the_candidate_waits_whatever_the_patience() -> None:
    patience = {"insufficientData": {"afterSeconds": 0, "action": "Continue"}}
    world = a_guarded_world({**CANARY, "gates": {"replay": [GATE], **patience}})
    world.settle(turns=60)
    assert f"BatchPrediction {the_run(world)['metadata']['name']} has not compared the recorded rows yet" in holding(
        world
    )

    world.replayed = {"recorded": compared(0)}
    world.settle(turns=20)
    assert split(world) == {2: 10, 1: 90}


@pytest.mark.parametrize(
    ("ends", "what"),
    [
        (failed("StoreUnavailable"), "failed: StoreUnavailable: as the run says it."),
        (failed("MissingColumn"), "failed: MissingColumn"),
        (compared(0, rejected=50), "neither revision can predict for 50 of 1000 recorded rows (limit 1 %)"),
        (compared(0, rows=0), "neither revision can predict for 0 of 0 recorded rows"),
        ({"phase": "Complete"}, "neither revision can predict"),
    ],
)
def test_what_is_no_fault_of_the_candidate_waits_for_a_person(ends: dict[str, Any], what: str) -> None:
    world = a_guarded_world(
        {**CANARY, "gates": {"replay": [GATE], "insufficientData": {"afterSeconds": 10}}}, ends=ends
    )
    world.settle(turns=10)
    assert what in holding(world)

    world.settle(turns=20)
    assert (world.reason(), split(world)) == ("Paused", {1: 100})
    assert what in world.condition("Ready")["message"]  # type: ignore[index]


def test_models_that_take_or_give_other_things_are_a_failure() -> None:
    world = a_guarded_world(ends=failed("ModelsDiffer"))

    assert most_traffic(world, turns=30) == 0
    assert (stalled(world)[0], "failed: as the run says it." in stalled(world)[1]) == ("GateFailed", True)


def test_more_rows_that_disagree_than_allowed_fail_even_where_others_can_not_be_predicted() -> None:
    world = a_guarded_world(ends=compared(300, rejected=500))
    world.settle(turns=30)

    assert "disagree about 300 of 500 recorded rows (60 %" in stalled(world)[1]


def test_a_run_that_is_tried_again_by_a_person_is_heard() -> None:
    world = a_guarded_world(ends=failed("StoreUnavailable"))
    world.settle(turns=10)
    run = the_run(world)
    run["status"] = compared(0) | {"completionTime": world.now.isoformat()}
    world.hear_of_it()
    world.settle(turns=60)

    assert everything_is(world, 2)


# Who is not asked.


def test_a_first_deployment_goes_on_without_and_says_so() -> None:
    world = a_world(rollout=CANARY)
    world.settle(turns=30)

    assert everything_is(world, 1)
    assert world.kept("BatchPrediction") == set()
    assert (
        "GateSkipped",
        "Revision 1 goes on without replay/recorded: nothing serves that it could be compared with",
    ) in (world.events)


def test_a_revision_that_served_before_goes_on_without_and_says_so() -> None:
    world = a_guarded_world(ends=compared(0))
    world.settle(turns=80)
    world.use_model("1")
    world.settle(turns=40)

    assert everything_is(world, 1)
    assert world.kept("BatchPrediction") == set(), "the next rollout has begun"
    assert world.told().count("GateSkipped") == 2


# What becomes of runs.


def test_a_run_that_somebody_deletes_is_made_again_with_another_output() -> None:
    world = a_guarded_world()
    world.settle(turns=10)
    first = the_run(world)
    world.remove("BatchPrediction", first["metadata"]["name"])
    world.settle(turns=3)

    assert the_run(world)["spec"]["output"] != first["spec"]["output"]
    assert [entry["run"] for entry in world.status["rollout"]["replays"]] == [the_run(world)["metadata"]["name"]]


def test_a_run_that_somebody_deletes_once_there_is_traffic_is_not_missed() -> None:
    world = a_guarded_world(ends=compared(0))
    world.settle(turns=14)
    assert split(world) == {2: 10, 1: 90}
    world.remove("BatchPrediction", the_run(world)["metadata"]["name"])
    world.settle(turns=10)
    assert (world.kept("BatchPrediction"), split(world)) == (set(), {2: 10, 1: 90})

    world.settle(turns=60)
    assert everything_is(world, 2)


def test_a_gate_that_asks_for_other_rows_makes_another_run_and_another_limit_does_not() -> None:
    world = a_guarded_world(ends=compared(30))
    world.replayed = {}
    world.settle(turns=10)
    first = the_run(world)
    world.edit(rollout={**CANARY, "gates": {"replay": [{**GATE, "maxDisagreementPercent": 5}]}})
    world.settle(turns=3)
    assert the_run(world) is first

    world.edit(rollout={**CANARY, "gates": {"replay": [{**GATE, "input": {"uri": "s3://rows/other.csv"}}]}})
    world.settle(turns=3)
    assert the_run(world)["spec"]["input"]["uri"] == "s3://rows/other.csv"


def test_a_raised_limit_lets_what_was_found_pass() -> None:
    world = a_guarded_world({**CANARY, "onFailure": "Pause"}, ends=compared(30))
    world.settle(turns=20)
    assert (stalled(world)[0], split(world)) == ("GateFailed", {1: 100})

    world.edit(rollout={**CANARY, "onFailure": "Pause", "gates": {"replay": [{**GATE, "maxDisagreementPercent": 5}]}})
    world.annotate(promote="2")
    world.settle(turns=70)
    assert everything_is(world, 2)


@pytest.mark.parametrize("how", ["abort", "supersede", "remove the gate"])
def test_a_run_that_nobody_waits_for_is_deleted(how: str) -> None:
    world = a_guarded_world()
    world.settle(turns=10)
    (run,) = world.kept("BatchPrediction")
    if how == "abort":
        world.annotate(abort="2")
    elif how == "supersede":
        world.use_model("3")
    else:
        world.edit(rollout={"steps": STEPS})
    world.settle(turns=10)

    assert run not in world.kept("BatchPrediction")


def test_what_was_found_goes_when_the_gate_goes() -> None:
    world = a_guarded_world(ends=compared(500))
    world.settle(turns=30)
    assert world.kept("BatchPrediction")
    world.edit(rollout={"steps": STEPS})
    world.settle(turns=5)

    assert world.kept("BatchPrediction") == set()


def test_a_candidate_that_is_tried_again_is_compared_again() -> None:
    world = a_guarded_world(ends=compared(500))
    world.settle(turns=30)
    first = the_run(world)["metadata"]["name"]
    world.replayed = {"recorded": compared(0)}
    world.annotate(retry="2")
    world.settle(turns=80)

    assert everything_is(world, 2)
    assert the_run(world)["metadata"]["name"] != first


def test_losing_the_candidates_pods_does_not_start_the_comparison_anew() -> None:
    world = a_guarded_world()
    world.settle(turns=10)
    first = the_run(world)
    Invariants(world).hurt.add(2)
    world.watchers.pop(0)
    world.fail_pods(2)
    world.settle(turns=10)

    assert the_run(world) is first
    assert world.status["rollout"]["step"] == 0


# What people decide.


def test_a_person_can_go_on_against_the_gate_once_and_for_all() -> None:
    world = a_guarded_world({**CANARY, "onFailure": "Pause", "bakeSeconds": 10}, ends=compared(500))
    world.settle(turns=30)
    assert (stalled(world)[0], split(world)) == ("GateFailed", {1: 100})

    world.annotate(promote="2")
    world.settle(turns=90)
    assert everything_is(world, 2), "recorded rows say the same in every step"


def test_what_is_found_after_a_person_went_on_without_still_counts() -> None:
    world = a_guarded_world()
    world.settle(turns=10)
    world.annotate(promote="2")
    world.settle(turns=6)
    assert split(world) == {2: 10, 1: 90}

    world.replayed = {"recorded": compared(500)}
    world.settle(turns=10)
    assert (stalled(world)[0], split(world)) == ("GateFailed", {1: 100})


def test_a_cluster_that_refuses_the_run_says_so_and_lets_the_rest_be() -> None:
    world = a_guarded_world(ends=compared(0))
    world.refused = {"BatchPrediction": "exceeded quota"}
    world.settle(turns=10)
    assert (stalled(world)[0], "exceeded quota" in stalled(world)[1], split(world)) == ("WriteRefused", True, {1: 100})

    world.refused = {}
    world.settle(turns=120)
    assert everything_is(world, 2)
