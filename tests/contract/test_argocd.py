"""Argo CD's view of an endpoint: our Lua scripts, run by a real Lua 5.1 on objects as the operator writes them."""

from typing import Any

import lupa.lua51 as lua
import pytest
import yaml

from generate import ROOT
from support.batch_world import BatchWorld

FOLDER = ROOT / "docs/gitops/argocd"
KEY = "modelendpoint.dev_ModelEndpoint"
SETTINGS = yaml.safe_load((FOLDER / "argocd-cm.yaml").read_text())["data"]
HEALTH = SETTINGS[f"resource.customizations.health.{KEY}"]
BATCH_HEALTH = SETTINGS["resource.customizations.health.modelendpoint.dev_BatchPrediction"]
ACTIONS = yaml.safe_load(SETTINGS[f"resource.customizations.actions.{KEY}"])


def run_lua(script: str, obj: dict[str, Any]) -> Any:
    """Run a script as Argo CD does: ``obj`` is a global, and of the libraries only the harmless ones are there."""
    runtime = lua.LuaRuntime(unpack_returned_tuples=True)
    for library in ("os", "io", "package", "debug", "require", "dofile", "loadfile", "python"):
        runtime.globals()[library] = None
    runtime.globals().obj = runtime.table_from(obj, recursive=True)
    return as_python(runtime.execute(script))


def as_python(value: Any) -> Any:
    """Turn Lua tables into dicts, or into lists if they count from 1."""
    if lua.lua_type(value) != "table":
        return value
    keys = list(value.keys())
    if keys and keys == list(range(1, len(keys) + 1)):
        return [as_python(item) for item in value.values()]
    return {key: as_python(item) for key, item in value.items()}


def an_endpoint(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "churn", "generation": 4}, "status": {"observedGeneration": 4, **status}}


def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": f"{kind}: {reason}", "observedGeneration": 4}


READY = condition("Ready", "True", "Serving")
NOT_READY = condition("Ready", "False", "RollingOut")
AVAILABLE = condition("Available", "True", "Serving")


@pytest.mark.parametrize(
    ("obj", "health"),
    [
        ({"metadata": {"generation": 1}}, "Progressing"),
        ({"metadata": {"generation": 1}, "status": {"observedGeneration": -1}}, "Progressing"),
        (an_endpoint(), "Progressing"),
        (an_endpoint(observedGeneration=3, conditions=[READY, AVAILABLE]), "Progressing"),
        (an_endpoint(conditions=[READY, AVAILABLE]), "Healthy"),
        (an_endpoint(conditions=[NOT_READY, condition("Reconciling", "True", "Deploying")]), "Progressing"),
        (an_endpoint(conditions=[NOT_READY, AVAILABLE, condition("Reconciling", "True", "RollingOut")]), "Progressing"),
        (an_endpoint(conditions=[NOT_READY, AVAILABLE, condition("Reconciling", "True", "Paused")]), "Suspended"),
        (an_endpoint(conditions=[NOT_READY, AVAILABLE, condition("Stalled", "True", "Aborted")]), "Degraded"),
        (an_endpoint(conditions=[NOT_READY, condition("Stalled", "True", "ModelNotFound")]), "Degraded"),
        (an_endpoint(conditions=[NOT_READY, condition("Reconciling", "True", "Suspended")]), "Suspended"),
        (an_endpoint(conditions=[NOT_READY, AVAILABLE]), "Progressing"),
        (an_endpoint(conditions=[condition("Ready", "False", "Suspended")]), "Suspended"),
    ],
    ids=[
        "no status at all",
        "not yet seen",
        "seen, no conditions",
        "a newer spec",
        "serving",
        "first deployment",
        "rollout",
        "paused for a person",
        "aborted",
        "model can't be had",
        "zero replicas",
        "not ready for no known cause",
        "suspended",
    ],
)
def test_health(obj: dict[str, Any], health: str) -> None:
    answer = run_lua(HEALTH, obj)
    assert answer["status"] == health
    assert answer["message"]


def test_health_of_a_batch_prediction_through_its_life() -> None:
    world = BatchWorld()
    world.failing["work"] = {"reason": "ErrorThresholdExceeded", "message": "too many"}
    seen: list[str] = []

    def look() -> None:
        health = run_lua(BATCH_HEALTH, world.body())["status"]
        if not seen or seen[-1] != health:
            seen.append(health)

    world.apply(suspend=True)
    look()
    world.turn()
    look()
    world.apply(suspend=False)
    for _ in range(12):
        world.turn()
        look()
    world.failing.clear()
    world.annotate("1")
    for _ in range(12):
        world.turn()
        look()

    assert seen == ["Progressing", "Suspended", "Progressing", "Degraded", "Progressing", "Healthy"]


def test_health_tells_what_the_condition_tells() -> None:
    stalled = condition("Stalled", "True", "ModelNotFound")
    assert run_lua(HEALTH, an_endpoint(conditions=[NOT_READY, stalled]))["message"] == "Stalled: ModelNotFound"


def rollout(phase: str, **more: Any) -> dict[str, Any]:
    status = {"phase": phase, "step": 1, **more}
    return an_endpoint(rollout=status, candidate={"revision": 8}, stable={"revision": 7}, history=[{"revision": 7}])


SERVED = [{"revision": 7}, {"revision": 5}]
REJECTED = an_endpoint(stable={"revision": 7}, rejected=[{"revision": 8}, {"revision": 6}])
BAKING = an_endpoint(stable={"revision": 7}, rollout={"phase": "Baking", "step": 0}, history=SERVED)
SERVING = an_endpoint(stable={"revision": 7}, history=SERVED)


@pytest.mark.parametrize(
    ("obj", "enabled"),
    [
        ({"metadata": {"generation": 1}}, set()),
        (an_endpoint(stable={"revision": 7}, rejected=[], history=SERVED[:1]), set()),
        (SERVING, {"rollback-to"}),
        (an_endpoint(stable={"revision": 5}, history=SERVED, rolledBackTo=5), set()),
        (rollout("Deploying"), {"abort", "promote-full", "pause"}),
        (rollout("Deploying", heldBy="person"), {"abort", "promote-full", "promote", "resume"}),
        (rollout("Shifting"), {"abort", "promote-full"}),
        (rollout("Holding"), {"abort", "promote-full", "pause"}),
        (rollout("Paused"), {"abort", "promote-full", "promote"}),
        (rollout("Paused", heldBy="person"), {"abort", "promote-full", "promote", "resume"}),
        (rollout("Paused", heldBy="errorRate"), {"abort", "promote-full", "promote"}),
        (BAKING, {"promote-full", "rollback-to"}),
        (REJECTED, {"retry"}),
    ],
)
def test_actions_are_offered_only_while_they_can_do_something(obj: dict[str, Any], enabled: set[str]) -> None:
    actions = run_lua(ACTIONS["discovery.lua"], obj)
    assert {name for name, action in actions.items() if not action["disabled"]} == enabled
    assert set(actions) == {definition["name"] for definition in ACTIONS["definitions"]}
    assert all(action["displayName"] and action["iconClass"] for action in actions.values())


def act(name: str, obj: dict[str, Any]) -> Any:
    (script,) = (definition["action.lua"] for definition in ACTIONS["definitions"] if definition["name"] == name)
    return run_lua(script, obj)


@pytest.mark.parametrize(
    ("action", "obj", "value"),
    [
        ("promote", rollout("Paused"), "8"),
        ("promote-full", rollout("Paused"), "8"),
        ("promote-full", BAKING, "7"),
        ("pause", rollout("Holding"), "8"),
        ("resume", rollout("Paused"), "8"),
        ("abort", rollout("Holding"), "8"),
        ("retry", REJECTED, "8"),
        ("rollback-to", SERVING, "5"),
    ],
)
def test_an_action_names_the_revision_it_is_for_and_changes_nothing_else(
    action: str, obj: dict[str, Any], value: str
) -> None:
    changed = act(action, obj)
    assert changed["metadata"].pop("annotations") == {f"modelendpoint.dev/{action}": value}
    assert changed == {**obj, "status": changed["status"]}
    assert changed["metadata"] == obj["metadata"]


@pytest.mark.parametrize(
    ("before", "after"),
    [("7", "8"), ("7/3", "8"), ("8", "8/2"), ("8/2", "8/3"), ("8/9", "8/10"), ("8/again", "8"), ("", "8")],
)
def test_an_action_given_again_has_another_value(before: str, after: str) -> None:
    obj = rollout("Paused")
    obj["metadata"]["annotations"] = {"modelendpoint.dev/promote": before, "team": "a"}
    assert act("promote", obj)["metadata"]["annotations"] == {"modelendpoint.dev/promote": after, "team": "a"}
