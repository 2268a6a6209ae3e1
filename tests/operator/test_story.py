"""Lives of an endpoint, told from outside: what people do, what the cluster does, what they see.

The invariants of ``support/invariants.py`` are checked after every write and turn of every story.
"""

from datetime import timedelta

import pytest

from support.invariants import Invariants, assert_clean
from support.stories import (
    BY_TIME,
    CANARY,
    REPLACE,
    a_paused_world,
    a_serving_world,
    a_world,
    everything_is,
    split,
    trace,
)
from support.world import BROKEN, NAME, Key, digest_of, model_of

# The first deployment.


def test_the_first_revision_needs_no_steps() -> None:
    world = a_world()

    assert trace(world) == ["Deploying: -", "Promoting: -", "Promoting: r1=100", "Serving: r1=100"]
    assert everything_is(world, 1)
    assert (world.replicas(1), world.ready_pods(1)) == (4, 4)
    assert world.status["url"] == "http://churn.shop.svc"
    assert world.status["stable"]["sha256"] == digest_of("1")
    assert [entry["revision"] for entry in world.status["history"]] == [1]


def test_one_pod_loads_an_unpinned_model_before_all_others_do() -> None:
    world = a_world()
    seen = [state.replicas(1) for state in world.history(turns=12)]

    assert seen[0] == 1
    assert seen[-1] == 4
    assert world.objects[Key("ConfigMap", "churn-r1")]["data"] == {"sha256": digest_of("1")}


def test_all_pods_of_a_pinned_model_start_at_once() -> None:
    world = a_world(model={**model_of("1"), "sha256": digest_of("1")})

    assert next(state.replicas(1) for state in world.history(turns=3)) == 4
    world.settle()
    assert everything_is(world, 1)


def test_later_pods_refuse_other_bytes_than_the_first() -> None:
    world = a_serving_world()
    world.digests["1"] = digest_of("overwritten")
    world.edit(replicas=6)
    world.settle()

    assert world.ready_pods(1) == 4
    assert (world.reason(), split(world)) == ("DigestMismatch", {1: 100})
    assert world.condition("Available")["status"] == "True"  # type: ignore[index]


def test_a_model_with_other_bytes_than_pinned_gets_no_request() -> None:
    world = a_world(model={**model_of("1"), "sha256": digest_of("pinned")})
    world.settle()

    assert world.condition("Stalled")["reason"] == "DigestMismatch"  # type: ignore[index]
    assert split(world) == {}


# Updates.


def test_a_canary_waits_for_promote_then_goes_on_by_itself() -> None:
    world = a_serving_world()
    world.use_model("2")
    first = trace(world)
    world.annotate(promote="2")

    assert first == ["Deploying: r1=100", "RollingOut: r1=100", "RollingOut: r2=20 r1=80", "Paused: r2=20 r1=80"]
    assert trace(world) == [
        "RollingOut: r2=20 r1=80",
        "RollingOut: r2=50 r1=50",
        "Promoting: r2=50 r1=50",
        "Promoting: r2=100",
        "Serving: r2=100",
    ]
    assert everything_is(world, 2)
    assert world.replicas(1) is None
    assert world.told() == [
        "RolloutStarted", "Promoted",
        "RolloutStarted", "RolloutPaused", "RolloutResumed", "WeightShifted", "GateUndecided", "Promoted",
    ]  # fmt: skip


def test_a_paused_rollout_says_the_command_that_goes_on() -> None:
    message = a_paused_world().condition("Reconciling")["message"]  # type: ignore[index]

    assert "step 1 of 2 with 20 % of the traffic" in message
    assert "kubectl annotate mep churn -n shop --overwrite modelendpoint.dev/promote=2" in message
    assert "modelendpoint.dev/abort=2" in message


def test_a_canary_by_time_holds_each_step_for_its_time() -> None:
    world = a_serving_world(rollout=BY_TIME)
    world.use_model("2")
    seconds: dict[int, int] = {}
    for _ in world.history(turns=90):
        weights = world.live_weights()[0]
        seconds[weights.get(2, 0)] = seconds.get(weights.get(2, 0), 0) + 1

    assert everything_is(world, 2)
    # Two states a turn; a step takes its 20 s, and a few more until the routers have the next weight.
    assert 40 <= seconds[10] <= 52
    assert 40 <= seconds[50] <= 52


def test_a_step_counts_its_time_from_when_the_routers_took_it_up() -> None:
    world = a_serving_world(rollout=BY_TIME)
    world.frozen_routers = {pod.name for pod in world.serving_routers()}
    world.use_model("2")
    world.settle(turns=100)
    assert split(world) == {1: 100}

    world.frozen_routers = set()
    seconds = sum(world.live_weights()[0].get(2) == 10 for _ in world.history(turns=50)) / 2
    assert 20 <= seconds <= 26


def test_replace_moves_everything_at_once_when_all_pods_are_there() -> None:
    world = a_serving_world(rollout=REPLACE)
    world.use_model("2")

    assert trace(world) == ["Deploying: r1=100", "Promoting: r1=100", "Promoting: r2=100", "Serving: r2=100"]
    assert everything_is(world, 2)


def test_a_candidate_starts_no_more_pods_than_its_step_needs() -> None:
    world = a_paused_world()

    assert (world.replicas(1), world.replicas(2)) == (4, 1)


def test_steps_that_neither_hold_nor_pause_end_when_taken_up() -> None:
    world = a_serving_world(rollout={"steps": [{"weight": 30}, {"weight": 60}]})
    world.use_model("2")

    assert "RollingOut: r2=30 r1=70" in trace(world)
    assert everything_is(world, 2)


def test_a_canary_without_steps_is_a_replace() -> None:
    world = a_serving_world(rollout={"steps": []})
    world.use_model("2")
    world.settle()

    assert everything_is(world, 2)
    assert "WeightShifted" not in world.told()


def test_a_step_of_weight_0_warms_up_without_traffic() -> None:
    world = a_serving_world(rollout={"steps": [{"weight": 0, "pause": True}]})
    world.use_model("2")
    world.settle()

    assert (world.reason(), split(world), world.ready_pods(2)) == ("Paused", {1: 100}, 1)


def test_a_change_of_the_servers_resources_is_a_new_revision_too() -> None:
    world = a_serving_world()
    world.edit(server={"resources": {"limits": {"memory": "2Gi"}}})
    world.settle()

    assert split(world) == {2: 20, 1: 80}


def test_a_change_of_routing_or_rollout_is_no_new_revision() -> None:
    world = a_serving_world()
    world.edit(routing={"timeoutSeconds": 30}, rollout=BY_TIME, revisionHistoryLimit=3)
    world.settle()

    assert everything_is(world, 1)
    assert len(world.kept("ControllerRevision")) == 1


# Abort and retry.


@pytest.mark.parametrize("after", range(0, 30, 2))
def test_abort_leads_back_to_stable_from_every_phase(after: int) -> None:
    world = a_serving_world(rollout=BY_TIME)
    world.use_model("2")
    world.settle(turns=1 + after)
    world.annotate(abort="2")
    world.settle()

    assert split(world) == {1: 100}
    assert (world.reason(), world.condition("Stalled")["reason"]) == ("Aborted", "Aborted")  # type: ignore[index]
    assert world.condition("Available")["status"] == "True"  # type: ignore[index]
    assert "modelendpoint.dev/retry=2" in world.condition("Stalled")["message"]  # type: ignore[index]
    assert world.replicas(2) is None
    assert_clean(world)


def test_abort_while_promoting_leads_back_too() -> None:
    world = a_serving_world(rollout=REPLACE)
    world.use_model("2")
    phases = set()
    for state in world.history(turns=20):
        rollout = state.status.get("rollout")
        phases.add(rollout and rollout["phase"])
        if rollout and rollout["phase"] == "Promoting" and "Aborted" not in state.told():
            state.annotate(abort="2")

    assert "Promoting" in phases
    world.settle()
    assert (split(world), world.reason()) == ({1: 100}, "Aborted")


def test_the_first_deployment_can_be_aborted() -> None:
    world = a_world(model=model_of(BROKEN))
    world.settle(turns=5)
    world.annotate(abort="1")
    world.settle()

    assert (world.reason(), split(world)) == ("Aborted", {})
    assert_clean(world)


def test_an_aborted_revision_stays_aborted_when_the_spec_is_applied_again() -> None:
    world = a_paused_world()
    world.annotate(abort="2")
    world.settle()
    world.edit()
    world.settle()

    assert (world.reason(), split(world), world.replicas(2)) == ("Aborted", {1: 100}, None)
    assert world.status["observedGeneration"] == world.body["metadata"]["generation"]


def test_retry_starts_an_aborted_revision_from_its_first_step() -> None:
    world = a_paused_world()
    world.annotate(abort="2")
    world.settle()
    world.annotate(retry="2")
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})
    assert "rejected" not in world.status or world.status["rejected"] == []


def test_another_model_after_an_abort_is_rolled_out_at_once() -> None:
    world = a_paused_world()
    world.annotate(abort="2")
    world.settle()
    world.use_model("3")
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {3: 20, 1: 80})


def test_going_back_to_the_stable_model_after_an_abort_ends_the_alarm() -> None:
    world = a_paused_world()
    world.annotate(abort="2")
    world.settle()
    world.use_model("1")
    world.settle()

    assert everything_is(world, 1)
    assert world.condition("Stalled") is None


# Orders.


def test_promote_for_another_revision_is_ignored_and_told() -> None:
    world = a_paused_world()
    world.annotate(promote="1")
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})
    assert (
        "OrderIgnored",
        "modelendpoint.dev/promote=1 was ignored: the candidate is revision 2",
    ) in world.events


@pytest.mark.parametrize("verb", ["promote", "abort", "retry"])
@pytest.mark.parametrize("value", ["", "yes", "2x", "-2", "²", "99999999999999999999", "1"])
def test_a_malformed_or_outdated_order_changes_nothing_and_is_told_once(verb: str, value: str) -> None:
    world = a_paused_world()
    world.annotate(**{verb: value})
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})
    assert world.told().count("OrderIgnored") == 1


def test_an_old_promote_does_not_promote_a_later_model() -> None:
    world = a_paused_world()
    world.annotate(promote="2")
    world.settle()
    world.use_model("3")
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {3: 20, 2: 80})


def test_promote_given_before_the_pause_is_used_when_it_is_reached() -> None:
    world = a_serving_world()
    world.annotate(promote="2")
    world.use_model("2")
    world.settle(turns=60)

    assert everything_is(world, 2)


def test_promote_without_a_pause_left_is_no_mistake() -> None:
    world = a_serving_world(rollout=BY_TIME)
    world.use_model("2")
    world.settle(turns=10)
    world.annotate(promote="2")
    world.settle(turns=80)

    assert everything_is(world, 2)
    assert "OrderIgnored" not in world.told()


TWO_PAUSES = {"steps": [{"weight": 20, "pause": True}, {"weight": 40, "pause": True}]}


def test_one_promote_ends_one_pause() -> None:
    world = a_paused_world(rollout=TWO_PAUSES)
    world.annotate(promote="2")
    world.settle()
    assert (world.reason(), split(world)) == ("Paused", {2: 40, 1: 60})
    assert "modelendpoint.dev/promote=2/2" in world.condition("Reconciling")["message"]  # type: ignore[index]

    world.annotate(promote="2/2")
    world.settle()
    assert everything_is(world, 2)


def test_an_order_that_was_taken_away_can_be_given_again() -> None:
    world = a_paused_world(rollout=TWO_PAUSES)
    world.annotate(promote="2")
    world.settle()
    world.annotate(promote=None)
    world.settle(turns=3)
    world.annotate(promote="2")
    world.settle()

    assert everything_is(world, 2)


def test_abort_wins_over_promote() -> None:
    world = a_paused_world()
    world.annotate(promote="2", abort="2")
    world.settle()

    assert (world.reason(), split(world)) == ("Aborted", {1: 100})


# Other specs in mid-rollout.


def test_edits_in_mid_rollout_end_where_the_last_one_says() -> None:
    world = a_serving_world(rollout={"steps": [{"weight": 50, "pause": True}]})
    world.use_model("2")
    world.settle()
    assert split(world) == {2: 50, 1: 50}

    world.use_model("3")
    world.settle(turns=2)
    world.use_model("4")
    world.settle()
    assert (world.reason(), split(world)) == ("Paused", {4: 50, 1: 50})
    assert (world.replicas(2), world.replicas(3)) == (None, None)
    assert_clean(world)

    world.use_model("1")
    world.settle()
    assert everything_is(world, 1)


def test_an_edit_in_mid_rollout_keeps_the_candidates_pods_until_the_routers_let_go() -> None:
    world = a_paused_world()
    world.frozen_routers = {pod.name for pod in world.serving_routers()}
    world.use_model("3")
    world.settle(turns=30)

    assert split(world) == {2: 20, 1: 80}
    assert (world.replicas(1), world.ready_pods(2)) == (4, 1)


def test_a_revision_that_served_before_comes_back_without_steps() -> None:
    world = a_paused_world()
    world.annotate(promote="2")
    world.settle(turns=60)
    world.use_model("1")

    assert trace(world) == [
        "Deploying: r2=100", "Promoting: r2=100", "Promoting: r1=100", "Serving: r1=100",
    ]  # fmt: skip
    assert everything_is(world, 1)
    assert [entry["revision"] for entry in world.status["history"]] == [1, 2]


def test_the_same_bytes_under_another_version_need_no_steps() -> None:
    world = a_serving_world()
    world.digests["renamed"] = digest_of("1")
    world.use_model("renamed")
    world.settle()

    assert everything_is(world, 2)
    assert "WeightShifted" not in world.told() and "RolloutPaused" not in world.told()


def test_the_same_bytes_with_other_settings_need_steps() -> None:
    world = a_serving_world()
    world.digests["renamed"] = digest_of("1")
    world.edit(model=model_of("renamed"), server={"resources": {"limits": {"memory": "2Gi"}}})
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})


def test_a_longer_list_of_steps_is_gone_through() -> None:
    world = a_paused_world()
    world.edit(rollout={"steps": [*CANARY["steps"], {"weight": 70, "pause": True}]})
    world.annotate(promote="2")
    world.settle(turns=60)

    assert (world.reason(), split(world)) == ("Paused", {2: 70, 1: 30})


def test_a_shorter_list_of_steps_leads_to_the_end() -> None:
    world = a_paused_world(rollout=TWO_PAUSES)
    world.annotate(promote="2")
    world.settle()
    world.edit(rollout={"steps": [{"weight": 5, "holdSeconds": 1}]})
    world.settle()

    assert everything_is(world, 2)


def test_a_lower_weight_in_the_present_step_is_taken_up() -> None:
    world = a_paused_world()
    world.edit(rollout={"steps": [{"weight": 10, "pause": True}]})
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {2: 10, 1: 90})


def test_a_higher_weight_in_the_present_step_waits_for_its_pods() -> None:
    world = a_paused_world()
    world.edit(rollout={"steps": [{"weight": 75, "pause": True}]})
    too_few = [state.ready_pods(2) for state in world.history(turns=40) if 75 in state.live_weights()[0].values()]

    assert (world.reason(), split(world)) == ("Paused", {2: 75, 1: 25})
    assert min(too_few) >= 3


def test_a_pause_that_is_taken_out_of_the_spec_ends() -> None:
    world = a_paused_world()
    world.edit(rollout={"steps": [{"weight": 20, "holdSeconds": 5}]})
    world.settle()

    assert everything_is(world, 2)


def test_a_change_of_strategy_in_mid_rollout_is_obeyed() -> None:
    world = a_paused_world()
    world.edit(rollout=REPLACE)
    world.settle()

    assert everything_is(world, 2)


# Models and pods that fail.


def test_a_broken_first_model_is_stalled_with_the_servers_own_words() -> None:
    world = a_world(model=model_of(BROKEN))
    world.settle()

    stalled = world.condition("Stalled")
    assert stalled and (stalled["reason"], stalled["message"]) == ("ModelInvalid", "not an ONNX model")
    assert world.condition("Available")["status"] == "False"  # type: ignore[index]
    assert split(world) == {}


def test_a_broken_candidate_gets_no_request_and_stable_serves_on() -> None:
    world = a_serving_world()
    world.use_model(BROKEN)
    world.settle()

    assert (world.reason(), split(world)) == ("ModelInvalid", {1: 100})
    assert world.condition("Available")["status"] == "True"  # type: ignore[index]
    assert world.condition("Reconciling") is None


def test_a_candidate_that_heals_goes_on_by_itself() -> None:
    world = a_serving_world()
    world.use_model(BROKEN)
    world.settle()
    del world.broken[BROKEN]
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})


def test_a_candidate_that_does_not_get_ready_in_time_is_stalled() -> None:
    world = a_serving_world()
    world.use_model("2")
    world.broken["2"] = world.broken[BROKEN].__class__(state="Downloading")
    world.settle(turns=70, turn=timedelta(seconds=10))

    stalled = world.condition("Stalled")
    assert stalled and stalled["reason"] == "ProgressDeadlineExceeded"
    assert "not ready after 600 s: 0 of 1 pods ready (downloading the model)" in stalled["message"]


def test_a_candidate_that_loses_its_pods_gives_its_traffic_back_in_one_pass() -> None:
    world = a_paused_world()
    Invariants(world).hurt.add(2)
    world.watchers.pop(0)
    world.fail_pods(2)
    world.reconcile()

    assert world.written_weights() == {1: 100}
    world.settle()
    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})
    assert "CandidateLost" in world.told()


def test_a_stable_revision_that_loses_all_pods_is_told_and_heals() -> None:
    world = a_serving_world()
    world.watchers.clear()
    world.fail_pods(1)
    world.reconcile()

    assert (world.reason(), world.condition("Available")["reason"]) == ("PodsNotReady", "NoPodReady")  # type: ignore[index]
    world.settle()
    assert everything_is(world, 1)


# Scaling and suspending.


def test_scaling_changes_only_the_number_of_pods() -> None:
    world = a_serving_world()
    for replicas in (7, 2):
        world.edit(replicas=replicas)
        world.settle()
        assert everything_is(world, 1)
        assert (world.ready_pods(1), world.status["replicas"]) == (replicas, replicas)


def test_scaling_in_mid_rollout_scales_both() -> None:
    world = a_paused_world()
    world.edit(replicas=10)
    world.settle()

    assert (world.ready_pods(1), world.ready_pods(2)) == (10, 2)
    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})


def test_a_suspended_endpoint_has_no_pods_and_resumes() -> None:
    world = a_serving_world()
    world.edit(replicas=0)
    world.settle()
    assert (world.reason(), split(world), world.replicas(1)) == ("Suspended", {}, 0)
    assert world.condition("Stalled") is None and world.condition("Reconciling") is None

    world.edit(replicas=2)
    world.settle()
    assert everything_is(world, 1)


def test_an_endpoint_can_begin_suspended() -> None:
    world = a_world(replicas=0)
    world.settle()
    assert (world.reason(), split(world)) == ("Suspended", {})

    world.edit(replicas=1)
    world.settle()
    assert everything_is(world, 1)


def test_a_rollout_outlives_a_suspension() -> None:
    world = a_paused_world()
    world.edit(replicas=0)
    world.settle()
    assert (world.reason(), split(world), world.replicas(1), world.replicas(2)) == ("Suspended", {}, 0, 0)

    world.edit(replicas=4)
    world.settle()
    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})


def test_a_new_model_for_a_suspended_endpoint_is_rolled_out_when_it_resumes() -> None:
    world = a_serving_world()
    world.edit(replicas=0)
    world.settle()
    world.use_model("2")
    world.settle()
    assert world.reason() == "Suspended"

    world.edit(replicas=4)
    world.settle()
    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})


# Routers.


def test_nothing_is_scaled_down_before_every_router_has_let_go() -> None:
    world = a_paused_world()
    last = world.serving_routers()[-1]
    world.frozen_routers = {last.name}
    world.annotate(abort="2")
    world.settle(turns=55)
    assert last.weights == {2: 20, 1: 80}
    assert world.ready_pods(2) == 1

    world.frozen_routers = set()
    world.settle(turns=80)
    assert world.replicas(2) is None
    assert_clean(world)


def test_routers_that_are_behind_are_named() -> None:
    world = a_paused_world()
    behind = world.serving_routers()[0].name
    world.frozen_routers = {behind}
    world.use_model("1")
    world.settle(turns=10)
    assert world.reason() == "Routing"
    assert world.condition("Ready")["message"].endswith(f"to take up the routes: {behind}")  # type: ignore[index]

    world.settle()
    assert world.reason() == "RouterOutOfSync"
    assert world.condition("Ready")["message"].startswith(f"Router pod {behind} does not take up")  # type: ignore[index]


def test_a_router_pod_that_was_replaced_takes_the_routes_up() -> None:
    world = a_paused_world()
    gone = world.serving_routers()[0]
    del world.pods[gone.name]
    world.settle()

    assert (world.reason(), split(world), len(world.serving_routers())) == ("Paused", {2: 20, 1: 80}, 2)


def test_more_and_fewer_routers_are_no_matter_of_the_revision() -> None:
    world = a_serving_world()
    for replicas in (4, 1):
        world.edit(routing={"replicas": replicas})
        world.settle()
        assert everything_is(world, 1)
        assert len(world.serving_routers()) == replicas


# What people do to the children.


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ControllerRevision", "churn-r1"),
        ("ConfigMap", "churn-r1"),
        ("Service", "churn-r1"),
        ("Service", "churn"),
        ("Deployment", "churn-r1"),
        ("Deployment", "churn-router"),
        ("ConfigMap", "churn-router"),
    ],
)
def test_a_child_that_was_deleted_comes_back(kind: str, name: str) -> None:
    world = a_serving_world()
    world.watchers.clear()
    before = {key: body["metadata"]["labels"] for key, body in world.objects.items()}
    world.remove(kind, name)
    world.settle()

    assert everything_is(world, 1)
    assert {key: body["metadata"]["labels"] for key, body in world.objects.items()} == before
    assert world.status["stable"]["sha256"] == digest_of("1")


@pytest.mark.parametrize("name", ["churn-r1", "churn-r2"])
@pytest.mark.parametrize("kind", ["ControllerRevision", "ConfigMap", "Service", "Deployment"])
def test_a_child_that_was_deleted_in_mid_rollout_comes_back(kind: str, name: str) -> None:
    world = a_paused_world()
    world.watchers.clear()
    world.remove(kind, name)
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})
    assert_clean(world)


def test_the_candidate_takes_over_when_somebody_deletes_all_of_stable() -> None:
    world = a_paused_world()
    world.watchers.clear()
    world.remove("Deployment", "churn-r1")
    world.remove("ControllerRevision", "churn-r1")
    world.settle()

    assert (world.reason(), split(world), world.ready_pods(2)) == ("Serving", {2: 100}, 4)
    assert_clean(world)


def test_a_child_that_was_edited_is_put_right() -> None:
    world = a_serving_world()
    world.tamper("Deployment", "churn-r1")["spec"]["replicas"] = 1
    world.tamper("Service", "churn")["spec"]["selector"] = {"app": "mine"}
    world.tamper("ConfigMap", "churn-router")["data"]["rds.json"] = "{}"
    world.settle()

    assert everything_is(world, 1)
    assert world.ready_pods(1) == 4
    assert world.objects[Key("Service", "churn")]["spec"]["selector"] != {"app": "mine"}


def test_fields_of_others_are_left_alone() -> None:
    world = a_serving_world()
    world.tamper("Deployment", "churn-r1")["metadata"]["annotations"]["example.com/note"] = "mine"
    writes = world.writes
    world.settle()

    assert world.writes == writes


@pytest.mark.parametrize(
    ("kind", "name"), [("Service", "churn"), ("Deployment", "churn-r1"), ("ConfigMap", "churn-router")]
)
def test_a_foreign_object_of_the_same_name_is_reported_and_never_touched(kind: str, name: str) -> None:
    world = a_world()
    world.put_foreign(kind, name)
    world.settle()

    stalled = world.condition("Stalled")
    assert stalled and stalled["reason"] == "NameConflict"
    assert f"{kind} {name} exists and is not this endpoint's" in stalled["message"]
    assert world.told().count("NameConflict") == 1

    world.foreign.clear()
    world.settle(turns=90)
    assert everything_is(world, 1)


def test_a_refused_object_is_reported_with_the_api_servers_words() -> None:
    world = a_world()
    world.refused["Deployment"] = "exceeded quota: pods"
    world.settle()
    stalled = world.condition("Stalled")
    assert stalled and (stalled["reason"], "exceeded quota: pods" in stalled["message"]) == ("WriteRefused", True)

    world.refused.clear()
    world.settle(turns=90)
    assert everything_is(world, 1)


def test_a_spec_that_can_not_be_read_is_reported_and_what_serves_serves_on() -> None:
    world = a_serving_world()
    world.edit(replicas="many")
    world.settle()
    stalled = world.condition("Stalled")
    assert stalled and stalled["reason"] == "InvalidSpec"
    assert stalled["message"].startswith("spec.replicas: ")
    assert (split(world), world.ready_pods(1)) == ({1: 100}, 4)
    assert world.status["observedGeneration"] == world.body["metadata"]["generation"]

    world.edit(replicas=4)
    world.settle()
    assert everything_is(world, 1)


def test_only_as_many_old_revisions_are_kept_as_the_spec_says() -> None:
    world = a_serving_world(rollout=REPLACE, revisionHistoryLimit=2)
    for version in "234567":
        world.use_model(version)
        world.settle(turns=30)

    assert everything_is(world, 7)
    assert world.kept("ControllerRevision") == {f"{NAME}-r{number}" for number in (5, 6, 7)}
    assert [entry["revision"] for entry in world.status["history"]] == [7, 6, 5]


def test_numbers_of_revisions_are_never_used_again() -> None:
    world = a_paused_world()
    world.use_model("1")
    world.settle()
    world.use_model("3")
    world.settle()

    assert (world.reason(), split(world)) == ("Paused", {3: 20, 1: 80})
