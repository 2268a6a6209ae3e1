"""Conditions in every situation of docs/reference/conditions.md, and what kstatus makes of them."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_operator.observation import Measurement, PodReport
from support.kstatus import kstatus
from support.world import BROKEN, EPOCH, World, model_of

PAGE = (Path(__file__).parents[2] / "docs/reference/conditions.md").read_text()

NONE = "\N{EN DASH}"
"""As the page writes it."""

PAUSE = {"steps": [{"weight": 20, "pause": True}]}
HOLD = {"steps": [{"weight": 20, "holdSeconds": 600}]}


def a_world(**spec: Any) -> World:
    return World({"model": model_of("1"), "replicas": 2, "rollout": PAUSE, **spec})


def a_serving_world(**spec: Any) -> World:
    world = a_world(**spec)
    world.settle(turns=20)
    return world


def first_revision_starts() -> World:
    world = a_world()
    world.settle(turns=1)
    return world


def pods_missing() -> World:
    world = a_serving_world()
    pod = world.pods_of(1)[0]
    pod.body["status"]["conditions"] = []
    world.reconcile()
    return world


def asleep() -> World:
    world = a_world(replicas=1, autoscaling={"minReplicas": 0, "maxReplicas": 1, "idleSeconds": 5})
    world.settle(turns=40)
    assert world.reason() == "Idle"
    return world


def waking() -> World:
    world = asleep()
    world.traffic = 2
    world.settle(turns=2)
    assert world.reason() == "Waking"
    return world


def router_behind() -> World:
    world = a_serving_world()
    world.frozen_routers = {pod.name for pod in world.serving_routers()}
    world.edit(routing={"timeoutSeconds": 7})
    world.reconcile()
    return world


def router_lacks_its_keys() -> World:
    world = a_serving_world(routing={"auth": {"apiKeys": {"secretRef": {"name": "churn-keys"}}}})
    for router in world.serving_routers():
        router.troubles = {"keys": "missing"}
    world.reconcile()
    return world


def router_lacks_its_certificate() -> World:
    world = a_serving_world(routing={"tls": {"secretRef": {"name": "churn-tls"}}})
    for router in world.serving_routers():
        router.troubles = {"tls": "missing"}
    world.reconcile()
    return world


def router_refuses() -> World:
    world = a_serving_world()
    world.frozen_routers = {pod.name for pod in world.serving_routers()}
    world.use_model("2")
    world.settle(turns=40)
    return world


def variant_starts() -> World:
    world = a_serving_world()
    world.edit(variants=[{"name": "challenger", "model": model_of("2"), "weight": 10}])
    world.settle(turns=1)
    return world


def variant_broken() -> World:
    world = a_serving_world()
    world.edit(variants=[{"name": "challenger", "model": model_of(BROKEN), "weight": 10}])
    world.settle(turns=20)
    return world


def candidate_starts() -> World:
    world = a_serving_world()
    world.use_model("2")
    world.settle(turns=1)
    return world


def candidate_has_a_part() -> World:
    world = a_serving_world(rollout=HOLD)
    world.use_model("2")
    world.settle(turns=20)
    return world


def pause_reached() -> World:
    world = a_serving_world()
    world.use_model("2")
    world.settle(turns=20)
    return world


def candidate_takes_over() -> World:
    world = pause_reached()
    world.frozen_routers = {pod.name for pod in world.serving_routers()}
    world.annotate(promote="2")
    world.settle(turns=10)
    return world


def aborted() -> World:
    world = pause_reached()
    world.annotate(abort="2")
    world.settle(turns=20)
    return world


def candidate_broken() -> World:
    world = a_serving_world()
    world.use_model(BROKEN)
    world.settle(turns=20)
    return world


def first_revision_broken() -> World:
    world = a_world(model=model_of(BROKEN))
    world.settle(turns=20)
    return world


def not_ready_in_time() -> World:
    world = a_serving_world()
    world.broken["2"] = PodReport(state="Loading")
    world.use_model("2")
    world.settle(turns=12, turn=timedelta(seconds=60))
    return world


def candidate_is_checked() -> World:
    world = a_serving_world()
    world.edit(rollout={**HOLD, "gates": {"http": [{"name": "first", "path": "/"}]}})
    world.use_model("2")
    world.settle(turns=20)
    return world


def person_paused() -> World:
    world = candidate_has_a_part()
    world.annotate(pause="2")
    world.settle(turns=2)
    return world


def gate_undecided(action: str) -> World:
    gates = {"errorRate": {}, "insufficientData": {"afterSeconds": 3, "action": action}}
    world = a_serving_world(rollout={"steps": [{"weight": 20}], "gates": gates})
    world.use_model("2")
    world.settle(turns=20)
    return world


def gate_failed(**rollout: Any) -> World:
    world = a_serving_world(rollout={**HOLD, **rollout})
    world.traffic, world.failing = 500, {2: 1.0}
    world.use_model("2")
    world.settle(turns=25)
    return world


def baking() -> World:
    world = a_serving_world(rollout={"strategy": "Replace"})
    world.traffic = 500
    world.edit(rollout={"strategy": "Replace", "bakeSeconds": 600})
    world.use_model("2")
    world.settle(turns=20)
    return world


def failed_after_the_promotion() -> World:
    world = baking()
    world.failing = {2: 1.0}
    world.settle(turns=20)
    return world


def first_failed_after_the_promotion() -> World:
    world = a_world(rollout={"strategy": "Replace", "bakeSeconds": 600})
    world.traffic, world.failing = 500, {1: 1.0}
    world.settle(turns=30)
    return world


def first_does_not_pass() -> World:
    world = a_world(rollout={"gates": {"http": [{"name": "first", "path": "/", "failureThreshold": 1}]}})
    world.answers = {"http/first": Measurement(value=500)}
    world.settle(turns=20)
    return world


def rolled_back() -> World:
    world = baking()
    world.annotate(**{"rollback-to": "1"})
    world.settle(turns=20)
    return world


def suspended() -> World:
    world = a_serving_world()
    world.edit(replicas=0)
    world.settle(turns=20)
    return world


TABLE: list[tuple[str, Callable[[], World], tuple[str, ...], str]] = [
    ("first revision starts", first_revision_starts, ("False", "False", "Deploying", NONE), "InProgress"),
    ("serving", a_serving_world, ("True", "True", NONE, NONE), "Current"),
    (
        "no pod runs, because no request came ([`minReplicas: 0`](../scaling.md#to-zero-and-back))",
        asleep,
        ("True", "True", NONE, NONE),
        "Current",
    ),
    ("requests wait for the first pod, for up to `wakeSeconds`", waking, ("True", "True", NONE, NONE), "Current"),
    ("pods or router pods are missing", pods_missing, ("False", "True", "PodsNotReady", NONE), "InProgress"),
    ("pods or router pods are missing", router_behind, ("False", "True", "Routing", NONE), "InProgress"),
    ("candidate starts", candidate_starts, ("False", "True", "Deploying", NONE), "InProgress"),
    ("candidate has part of the traffic", candidate_has_a_part, ("False", "True", "RollingOut", NONE), "InProgress"),
    ("step with `pause: true` reached", pause_reached, ("False", "True", "Paused", NONE), "InProgress"),
    (
        "candidate is checked before it gets traffic",
        candidate_is_checked,
        ("False", "True", "RollingOut", NONE),
        "InProgress",
    ),
    ("a person paused the rollout", person_paused, ("False", "True", "Paused", NONE), "InProgress"),
    (
        "a gate could not tell in time, `action: Pause`",
        lambda: gate_undecided("Pause"),
        ("False", "True", "Paused", NONE),
        "InProgress",
    ),
    (
        "a gate could not tell in time, `action: Rollback`",
        lambda: gate_undecided("Rollback"),
        ("False", "True", NONE, "InsufficientData"),
        "Failed",
    ),
    ("a gate failed, stable serves", gate_failed, ("False", "True", NONE, "GateFailed"), "Failed"),
    (
        "a gate failed, `onFailure: Pause`",
        lambda: gate_failed(onFailure="Pause"),
        ("False", "True", NONE, "GateFailed"),
        "Failed",
    ),
    ("candidate took over, `bakeSeconds` run", baking, ("True", "True", NONE, NONE), "Current"),
    (
        "a gate failed after the promotion, the previous revision serves",
        failed_after_the_promotion,
        ("False", "True", NONE, "GateFailed"),
        "Failed",
    ),
    (
        "a gate failed after the promotion, and there is none to go back to",
        first_failed_after_the_promotion,
        ("False", "True", NONE, "GateFailed"),
        "Failed",
    ),
    (
        "first deployment does not pass its checks",
        first_does_not_pass,
        ("False", "False", NONE, "GateFailed"),
        "Failed",
    ),
    ("a person went back by `rollback-to`", rolled_back, ("False", "True", NONE, "RolledBack"), "Failed"),
    ("candidate takes over", candidate_takes_over, ("False", "True", "Promoting", NONE), "InProgress"),
    ("candidate was aborted, stable serves", aborted, ("False", "True", NONE, "Aborted"), "Failed"),
    (
        "candidate's model can't be had or used, stable serves",
        candidate_broken,
        ("False", "True", NONE, "ModelInvalid"),
        "Failed",
    ),
    (
        "first revision's model can't be had or used",
        first_revision_broken,
        ("False", "False", NONE, "ModelInvalid"),
        "Failed",
    ),
    (
        "pods do not get ready in time",
        not_ready_in_time,
        ("False", "True", NONE, "ProgressDeadlineExceeded"),
        "Failed",
    ),
    (
        "a Secret or ConfigMap of [access](../routing.md#what-else-there-is-to-know-about-access) is missing or of no use",
        router_lacks_its_keys,
        ("False", "False", NONE, "AccessNotReady"),
        "Failed",
    ),
    (
        "the certificate of [HTTPS](../routing.md#https) is missing or of no use, earlier routers serve",
        router_lacks_its_certificate,
        ("False", "True", NONE, "CertificateNotReady"),
        "Failed",
    ),
    (
        "a router refuses its configuration, or none with a new one gets ready",
        router_refuses,
        ("False", "True", NONE, "RouterOutOfSync"),
        "Failed",
    ),
    (
        "a [variant](../routing.md#variants)'s pods start, or are missing",
        variant_starts,
        ("False", "True", "Deploying", NONE),
        "InProgress",
    ),
    (
        "a variant's model can't be had or used",
        variant_broken,
        ("False", "True", NONE, "ModelInvalid"),
        "Failed",
    ),
    ("`replicas: 0`", suspended, ("False", "False", NONE, NONE), "InProgress"),
]


def rows_of_the_page() -> dict[str, list[str]]:
    table = PAGE.split("## What you see when")[1].split("##")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    return {situation: cells for situation, *cells in rows[2:]}


def told(world: World) -> tuple[str, ...]:
    """The conditions as the page writes them down."""
    ready, available = world.condition("Ready"), world.condition("Available")
    assert ready and available
    rest = (world.condition("Reconciling"), world.condition("Stalled"))
    return (ready["status"], available["status"], *(one["reason"] if one else NONE for one in rest))


@pytest.mark.parametrize(
    ("situation", "make", "expected", "verdict"), TABLE, ids=[f"{row[0]}-{row[2][2]}" for row in TABLE]
)
def test_each_situation_has_its_conditions(
    situation: str, make: Callable[[], World], expected: tuple[str, ...], verdict: str
) -> None:
    world = make()

    assert told(world) == expected
    assert kstatus(world.body) == verdict
    for ours, cell in zip(expected, rows_of_the_page()[situation], strict=True):
        assert agrees(ours, cell), f"the page says {cell!r} of {situation!r}, the operator {ours!r}"


def agrees(ours: str, cell: str) -> bool:
    named = re.findall(r"`(\w+)`", cell)
    if named:
        return ours in named or (cell.startswith("such as") and ours not in ("True", "False", NONE))
    return cell.startswith(ours)


def test_the_page_has_no_situation_more() -> None:
    assert rows_of_the_page().keys() - {"not seen by the operator yet"} == {row[0] for row in TABLE}


def test_an_endpoint_that_nobody_has_seen_yet_is_in_progress() -> None:
    world = a_serving_world()
    assert kstatus({**world.body, "status": {"observedGeneration": -1}}) == "InProgress"

    world.use_model("2")
    assert kstatus(world.body) == "InProgress", "the new spec was not seen yet"


@pytest.mark.parametrize("make", [row[1] for row in TABLE])
def test_ready_tells_the_same_story_as_reconciling_or_stalled(make: Callable[[], World]) -> None:
    world = make()
    conditions = {condition["type"]: condition for condition in world.status["conditions"]}

    assert not {"Reconciling", "Stalled"} <= conditions.keys()
    for kind in conditions.keys() & {"Reconciling", "Stalled"}:
        assert conditions[kind]["status"] == "True"
        for part in ("reason", "message"):
            assert conditions[kind][part] == conditions["Ready"][part]
    assert {condition["observedGeneration"] for condition in conditions.values()} == {
        world.body["metadata"]["generation"]
    }


def test_a_transition_has_its_time_until_the_next_one() -> None:
    world = a_serving_world()
    since = world.condition("Available")["lastTransitionTime"]  # type: ignore[index]
    world.use_model("2")
    world.settle(turns=20)

    assert world.condition("Available")["lastTransitionTime"] == since  # type: ignore[index]
    assert world.condition("Ready")["lastTransitionTime"] > since  # type: ignore[index]
    assert since.startswith(EPOCH.date().isoformat())


def test_a_pod_that_the_kubelet_can_not_start_is_told_of() -> None:
    world = a_serving_world()
    world.broken["2"] = PodReport(state="Loading")
    world.use_model("2")
    world.settle(turns=3)
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "server:1"'}
    world.pods_of(2)[0].body["status"]["containerStatuses"] = [{"state": {"waiting": waiting}}]
    world.reconcile()

    assert "ImagePullBackOff: Back-off pulling image" in world.condition("Ready")["message"]  # type: ignore[index]


def test_without_routers_nothing_is_available() -> None:
    world = a_serving_world()
    for pod in world.serving_routers():
        del world.pods[pod.name]
    world.reconcile()

    assert world.condition("Available")["reason"] == "NoRouter"  # type: ignore[index]
    assert world.condition("Ready")["message"] == "No router pod is ready"  # type: ignore[index]
