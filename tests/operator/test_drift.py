"""Drift in status, conditions, Events and rollouts, from what the monitor tells; the statistics are in ``tests/server``."""

from datetime import timedelta
from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.adapters.drift_report import parse_drift_report
from support.stories import a_serving_world
from support.world import Key, World

DRIFT = {"reference": {"uri": "configmap://churn-profile/profile.json"}, "minimumRows": 500, "windowSeconds": 60}
MONITORING = {"drift": DRIFT}
SHA256 = "ab" * 32


def finding(column: str, *, kind: str = "Distribution", psi: float = 0.5) -> dict[str, Any]:
    return {
        "kind": kind,
        "column": column,
        "role": "Input",
        "pValue": 1e-9,
        "psi": psi,
        "missingPercent": 12.5,
        "outsidePercent": 4.0,
        "mean": 44.0,
        "referenceMean": 40.0,
    }


def arm(revision: int, *findings: dict[str, Any], variant: str = "", ended: float = 1000.0) -> dict[str, Any]:
    last = {
        "startedAt": ended - 60,
        "endedAt": ended,
        "rows": 512,
        "columns": 13,
        "findings": list(findings),
        "findingCount": len(findings),
    }
    return {
        "revision": str(revision),
        "variant": variant,
        "window": {"startedAt": ended, "rows": 12},
        "windows": 3,
        "drifted": int(bool(findings)),
        "unknownColumns": [],
        "last": last,
    }


def say(world: World, *arms: dict[str, Any], sha256: str | None = SHA256, reason: str | None = None) -> None:
    """Let the monitor tell of drift."""
    world.monitor_report = {
        "servers": {"sampled": 100, "dropped": 0},
        "received": 100,
        "dropped": 0,
        "capture": None,
        "drift": {
            "reference": {"sha256": sha256, "modelSha256": "", "rows": 5000} if sha256 else None,
            "reason": reason,
            "message": f"{reason}: upload it" if reason else None,
            "arms": list(arms),
        },
    }


def settled(world: World) -> tuple[str, str, str]:
    world.settle(turns=8, turn=timedelta(seconds=15))
    told = world.condition("DriftDetected")
    assert told is not None
    return told["status"], told["reason"], told["message"]


def test_without_a_reference_or_a_full_window_nobody_knows() -> None:
    world = a_serving_world(monitoring=MONITORING)
    assert settled(world)[:2] == ("Unknown", "Waiting")
    say(world, sha256=None, reason="ModelNotFound")
    assert settled(world) == ("Unknown", "NoReference", "ModelNotFound: upload it")
    say(world)
    assert settled(world) == ("Unknown", "InsufficientData", "No window of 500 rows and 60 s is full yet")
    say(world, arm(1))
    assert settled(world) == ("False", "NoDrift", "The last window looks like the reference")


def test_drift_is_told_with_its_columns_and_numbers_once_as_an_event_and_as_over() -> None:
    world = a_serving_world(monitoring=MONITORING)
    columns = [
        finding("age"),
        finding("income", kind="Missing"),
        finding("plan", kind="UnseenCategories"),
        finding("x"),
    ]
    say(world, arm(1, *columns))
    status, reason, message = settled(world)
    assert (status, reason) == ("True", "Drifted")
    assert message == (
        "Revision 1 drifted from the reference: age (PSI 0.50), income (12.5 % missing), plan (4 % unseen) and 1 more"
    )
    told = world.status["monitoring"]["drift"]["arms"][0]
    assert (told["revision"], told["findingCount"], told["rows"], told["driftedWindows"]) == (1, 4, 512, 1)
    assert told["findings"][0]["referenceMean"] == 40.0
    say(world, arm(1, *columns, ended=1060))
    settled(world)
    say(world, arm(1, ended=1120))
    assert settled(world)[0] == "False"
    events = [reason for reason in world.told() if reason.startswith("Drift")]
    assert events == ["DriftDetected", "DriftEnded"]


def test_a_monitor_that_starts_anew_takes_nothing_back_and_another_reference_does() -> None:
    world = a_serving_world(monitoring=MONITORING)
    say(world, arm(1, finding("age")))
    assert settled(world)[0] == "True"
    say(world)
    assert settled(world)[0] == "True"
    world.monitor_report = None
    assert settled(world)[0] == "True"
    say(world, sha256="cd" * 32)
    assert settled(world)[:2] == ("Unknown", "InsufficientData")


def test_a_revision_that_is_gone_is_not_told_of() -> None:
    world = a_serving_world(monitoring=MONITORING)
    say(world, arm(1), arm(7, finding("age")))
    assert settled(world)[0] == "False"
    assert [told["revision"] for told in world.status["monitoring"]["drift"]["arms"]] == [1]


def test_nothing_is_written_as_long_as_no_window_ends() -> None:
    world = a_serving_world(monitoring=MONITORING)
    say(world, arm(1))
    settled(world)
    before = world.status
    world.settle(turns=20, turn=timedelta(seconds=15))
    assert world.status == before


def test_the_monitor_is_told_what_to_compare_with_and_mounts_it() -> None:
    world = a_serving_world(monitoring=MONITORING)
    world.settle()
    pod = world.objects[Key("Deployment", "churn-monitor")]["spec"]["template"]["spec"]
    mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert f"{names.CONFIGMAP_DIR}/churn-profile" in mounts
    told = next(entry["value"] for entry in pod["containers"][0]["env"] if entry["name"] == names.ENV_MONITOR)
    assert '"reference": "configmap://churn-profile/profile.json"' in told
    assert '"capture"' not in told
    configs = [pod.monitoring for pod in world.pods.values() if pod.revision is not None]
    assert configs and all(config is not None and config["percent"] == 10 for config in configs)


def test_the_servers_send_what_the_greater_share_needs() -> None:
    monitoring = {"capture": {"uri": "s3://captures/churn", "percent": 2}, "drift": {**DRIFT, "percent": 30}}
    world = a_serving_world(monitoring=monitoring)
    world.settle()
    configs = [pod.monitoring for pod in world.pods.values() if pod.revision is not None]
    assert configs and all(config is not None and config["percent"] == 30 for config in configs)


STEPS = {"strategy": "Canary", "steps": [{"weight": 10, "holdSeconds": 10}, {"weight": 50, "holdSeconds": 10}]}


@pytest.mark.parametrize("revision", [1, 2], ids=["stable", "candidate"])
def test_a_rollout_waits_for_a_person_while_drift_is_found_where_the_author_wants_that(revision: int) -> None:
    monitoring = {"drift": {**DRIFT, "onDrift": "PauseRollout"}}
    world = a_serving_world(monitoring=monitoring, rollout=STEPS)
    say(world, arm(1))
    settled(world)
    say(
        world,
        arm(1, *([finding("age")] if revision == 1 else [])),
        arm(2, *([finding("age")] if revision == 2 else [])),
    )
    world.use_model("2")
    world.settle(turns=120)
    rollout = world.status["rollout"]
    assert (rollout["phase"], rollout["heldBy"]) == ("Paused", "drift")
    ready = world.condition("Ready")
    assert ready is not None
    assert f"Revision {revision} drifted from the reference: age (PSI 0.50)" in ready["message"]
    assert "promote=" in ready["message"]
    say(world, arm(1, ended=2000), arm(2, ended=2000))
    world.settle(turns=8, turn=timedelta(seconds=15))
    assert world.status["rollout"]["phase"] == "Paused", "a person was asked"
    world.annotate(promote=ready["message"].partition("promote=")[2].split()[0])
    world.settle(turns=120)
    assert world.status["stable"]["revision"] == 2


def test_a_rollout_goes_on_where_drift_is_only_reported() -> None:
    world = a_serving_world(monitoring=MONITORING, rollout=STEPS)
    say(world, arm(1, finding("age")), arm(2, finding("age")))
    world.use_model("2")
    world.settle(turns=120)
    assert world.status["stable"]["revision"] == 2


def test_drift_of_a_variant_holds_no_rollout() -> None:
    monitoring = {"drift": {**DRIFT, "onDrift": "PauseRollout"}}
    world = a_serving_world(monitoring=monitoring, rollout=STEPS)
    say(world, arm(1), arm(2), arm(1, finding("age"), variant="trees"))
    world.use_model("2")
    world.settle(turns=120)
    assert world.status["stable"]["revision"] == 2


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"drift": None},
        {"drift": []},
        {"drift": {"reference": None}},
        {"drift": {"reference": None, "reason": None, "message": None, "arms": [{}]}},
        {"drift": {"reference": None, "reason": None, "message": None, "arms": 7}},
        {"drift": {"reference": "x", "reason": None, "message": None, "arms": []}},
    ],
)
def test_what_is_no_drift_report_is_none(document: object) -> None:
    assert parse_drift_report(document) is None
