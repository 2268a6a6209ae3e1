"""How an endpoint's requests are sampled and stored, and what is said of it; and that its servers hardly notice."""

from typing import Any

import pytest

from modelendpoint_operator import names
from support.stories import REPLACE, a_serving_world, everything_is
from support.world import NAME, Key, World, model_of

CAPTURE = {"uri": "s3://captures/churn", "percent": 10}
MONITORING = {"capture": CAPTURE}
OBJECTS = {Key("ConfigMap", "churn-monitor"), Key("Service", "churn-monitor"), Key("Deployment", "churn-monitor")}


def known_to_servers(world: World) -> list[dict[str, Any] | None]:
    return [pod.monitoring for pod in world.pods.values() if pod.revision is not None]


def monitored(world: World) -> tuple[str, str]:
    told = world.condition("Monitored")
    assert told is not None
    return told["status"], told["reason"]


def say(world: World, *, sampled: int = 0, reason: str | None = None, message: str | None = None) -> None:
    """Let the monitor tell something; no watch tells the operator."""
    world.monitor_report = {
        "servers": {"sampled": sampled, "dropped": 3},
        "received": sampled - 3,
        "dropped": 2,
        "capture": {"captured": max(0, sampled - 10), "dropped": 1, "reason": reason, "message": message},
    }


def test_monitoring_is_turned_on_changed_and_off_while_the_servers_run() -> None:
    world = a_serving_world(replicas=3)
    pods = {pod.name for pod in world.pods.values()}
    assert known_to_servers(world) == [None] * 3

    world.edit(monitoring=MONITORING)
    world.settle(turns=10)
    config = {"percent": 10.0, "address": "churn-monitor.shop.svc.cluster.local:8082", "variants": {}}
    assert known_to_servers(world) == [config] * 3
    assert world.objects.keys() >= OBJECTS

    world.edit(monitoring={"capture": {**CAPTURE, "percent": 50}})
    world.settle(turns=10)
    assert known_to_servers(world) == [{**config, "percent": 50.0}] * 3

    world.edit(monitoring=None)
    world.settle(turns=10)
    assert known_to_servers(world) == [None] * 3
    assert not OBJECTS & world.objects.keys()
    assert "monitoring" not in world.status
    assert world.condition("Monitored") is None

    assert {pod.name for pod in world.pods.values()} == pods, "nothing was restarted"
    assert world.kept("ControllerRevision") == {"churn-r1"}, "no revision was made"
    assert everything_is(world, 1)


def test_servers_are_poked_twice_for_a_change_because_their_kubelet_may_see_the_first_too_early() -> None:
    world = a_serving_world(replicas=2)
    pokes: list[str] = []
    world.before_plan.append(lambda _, plan: pokes.extend(poke.pod for poke in plan.pokes))
    world.edit(monitoring=MONITORING)
    world.settle(turns=30)
    assert sorted(pokes) == sorted(2 * [pod.name for pod in world.pods.values() if pod.revision == 1])


def test_the_monitor_knows_variants_and_shadows_by_the_names_of_the_spec() -> None:
    world = a_serving_world(monitoring=MONITORING)
    world.edit(variants=[{"name": "trees", "model": model_of("2"), "weight": 10}])
    world.settle()
    assert all(config is not None and config["variants"] == {"2": "trees"} for config in known_to_servers(world))


def test_pods_of_a_new_revision_find_the_configuration_when_they_start() -> None:
    world = a_serving_world(monitoring=MONITORING, rollout=REPLACE)
    world.use_model("2")
    for _ in world.history(turns=60):
        assert all(pod.monitoring is not None for pod in world.pods_of(2) if pod.age > 1)
    assert everything_is(world, 2)


def test_status_tells_what_became_of_the_sample_every_half_minute_at_most() -> None:
    world = a_serving_world(monitoring=MONITORING)
    assert monitored(world) == ("True", "Capturing")
    written = []
    for sampled in range(100, 220):
        say(world, sampled=sampled)
        world.hear_of_it()
        world.settle(turns=1)
        written.append(world.status["monitoring"]["sampled"])
    assert 3 <= len(set(written)) <= 5
    numbers = {name: world.status["monitoring"][name] for name in ("sampled", "received", "captured", "dropped")}
    last = numbers["sampled"]
    assert numbers == {"sampled": last, "received": last - 3, "captured": last - 10, "dropped": 6}


def test_what_keeps_samples_from_being_stored_is_told_at_once_and_once() -> None:
    world = a_serving_world(monitoring=MONITORING)
    message = "The store refuses access; check monitoring.capture.credentialsSecretRef."
    for sampled in range(100):
        say(world, sampled=sampled, reason="StoreForbidden", message=message)
        world.settle(turns=1)
    assert monitored(world) == ("False", "StoreForbidden")
    assert "credentialsSecretRef" in world.status["monitoring"]["message"]
    assert world.told().count("StoreForbidden") == 1
    assert everything_is(world, 1), "nothing else is wrong"

    say(world)
    world.settle(turns=10)
    assert monitored(world) == ("True", "Capturing")
    assert "message" not in world.status["monitoring"]


def test_a_monitor_that_does_not_run_says_why() -> None:
    world = a_serving_world(monitoring=MONITORING)
    (pod,) = (pod for pod in world.pods.values() if pod.owner == "churn-monitor")
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    pod.age = -1000
    pod.body["status"] |= {"conditions": [], "containerStatuses": [{"state": {"waiting": waiting}}]}
    world.hear_of_it()
    world.settle(turns=3)
    assert monitored(world) == ("False", "MonitorNotReady")
    assert "ImagePullBackOff: no such image" in world.status["monitoring"]["message"]
    assert everything_is(world, 1)


@pytest.mark.parametrize("document", [None, {}, {"servers": None}, {"servers": {"sampled": "x"}}, [], "?"])
def test_a_pod_that_does_not_answer_like_a_monitor_is_no_reason_to_stop(document: object) -> None:
    world = a_serving_world(monitoring=MONITORING)
    world.monitor_report = document
    world.settle(turns=40)
    assert monitored(world) == ("False", "MonitorNotReady")
    assert everything_is(world, 1)


def test_what_somebody_deletes_of_the_monitor_comes_back() -> None:
    world = a_serving_world(monitoring=MONITORING)
    for kind in ("ConfigMap", "Service", "Deployment"):
        world.remove(kind, "churn-monitor")
        world.settle(turns=6)
    assert world.objects.keys() >= OBJECTS


def test_an_endpoint_that_was_never_monitored_has_no_such_annotation_on_its_pods() -> None:
    world = a_serving_world()
    assert all(names.ANNOTATION_MONITORING not in pod.body["metadata"]["annotations"] for pod in world.pods.values())
    assert f"{NAME}-monitor" not in world.kept("ConfigMap")
