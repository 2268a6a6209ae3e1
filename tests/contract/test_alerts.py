"""Each alert fires when it should and is silent when it should be: the chart's rules in Prometheus' own rule tests.

``promtool`` is built from Prometheus' Go module at the first run.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from support.emulators import find_go_tool
from support.helm import Manifest
from support.promql import alerts, rules

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(1900)]

ONE = 'namespace="shop", endpoint="churn"'
OWNER = {"namespace": "shop", "endpoint": "churn"}
OPERATOR = 'namespace="modelendpoint-system", job="modelendpoint-operator"'
OPERATORS = {"namespace": "modelendpoint-system", "job": "modelendpoint-operator"}
WINDOWS = {"1h": "critical", "6h": "critical", "1d": "warning", "3d": "warning"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What Prometheus has seen, minute by minute, and what it makes of it."""

    alert: str
    name: str
    series: Mapping[str, str]
    at: str
    fires: Sequence[Mapping[str, str]] = ()
    """Labels of what fires; nothing: it is silent."""
    value: str = ""
    """The value as the summary has it."""


def answers(*, good: str, bad: str) -> dict[str, str]:
    """Count the routers' answers: Prometheus' notation for series, such as 0+98x60."""
    prefix = f'{ONE}, envoy_http_conn_manager_prefix="endpoint", pod="churn-router-1"'
    return {
        f'envoy_http_downstream_rq_xx{{{prefix}, envoy_response_code_class="2"}}': good,
        f'envoy_http_downstream_rq_xx{{{prefix}, envoy_response_code_class="5"}}': bad,
    }


def times(*, quick: str, every: str, limit: str = "500") -> dict[str, str]:
    """Count how long answers took; Prometheus 3 writes the limit as 500.0."""
    prefix = f'{ONE}, envoy_http_conn_manager_prefix="endpoint", pod="churn-router-1"'
    return {
        f'envoy_http_downstream_rq_xx{{{prefix}, envoy_response_code_class="2"}}': every,
        f"envoy_http_downstream_rq_time_count{{{prefix}}}": every,
        f'envoy_http_downstream_rq_time_bucket{{{prefix}, le="{limit}"}}': quick,
    }


def burns(*windows: str) -> list[dict[str, str]]:
    return [{**OWNER, "window": window, "severity": WINDOWS[window]} for window in windows]


def condition(kind: str, reason: str, values: str) -> dict[str, str]:
    return {f'modelendpoint_condition{{{ONE}, type="{kind}", reason="{reason}"}}': values}


def phase(name: str, values: str = "0x1600") -> dict[str, str]:
    return {f'modelendpoint_rollout_phase_timestamp_seconds{{{ONE}, phase="{name}"}}': values}


def memory(used: str) -> dict[str, str]:
    pod = f'{ONE}, revision="7", pod="churn-r7-1"'
    return {f"modelserver_memory_bytes{{{pod}}}": used, f"modelserver_memory_limit_bytes{{{pod}}}": "1000x60"}


ERRORS, SLOW = "ModelEndpointErrorBudgetBurn", "ModelEndpointLatencyBudgetBurn"
BATCH_RUNS = f'modelendpoint_batch_runs_total{{{OPERATOR}, result="failed"}}'
MISSED = f"modelendpoint_batch_missed_runs_total{{{OPERATOR}}}"
FAILURES = f'modelendpoint_reconcile_errors_total{{{OPERATOR}, kind="KeyError"}}'

QUICK = (
    Case(
        alert=ERRORS,
        name="two in a hundred",
        series=answers(good="0+98x90", bad="0+2x90"),
        at="75m",
        fires=burns("1h", "6h", "1d", "3d"),
        value="2%",
    ),
    Case(
        alert=ERRORS,
        name="one in two thousand is what the objective allows",
        series=answers(good="0+1999x90", bad="0+1x90"),
        at="75m",
    ),
    Case(
        alert=ERRORS,
        name="a few bad answers of very few",
        series=answers(good="0+1x60 60x30", bad="0x20 1 2 3x68"),
        at="62m",
    ),
    Case(
        alert=ERRORS,
        name="it is over: what is left is the leak of the day",
        series=answers(good="0+98x40 3920+100x60", bad="0+2x40 80x60"),
        at="80m",
        fires=burns("1d", "3d"),
        value="1.026%",
    ),
    Case(
        alert=SLOW,
        name="a fifth is slow",
        series=times(quick="0+80x90", every="0+100x90", limit="500.0"),
        at="75m",
        fires=burns("1h", "6h", "1d", "3d"),
        value="20%",
    ),
    Case(
        alert=SLOW,
        name="one in two hundred is slow, as the objective allows",
        series=times(quick="0+199x90", every="0+200x90", limit="500.0"),
        at="75m",
    ),
    Case(
        alert="ModelEndpointUnavailable",
        name="no pod",
        series=condition("Available", "NoPodReady", "0x20"),
        at="10m",
        fires=[{**OWNER, "severity": "critical"}],
    ),
    Case(
        alert="ModelEndpointUnavailable",
        name="one cause takes over from another",
        series=condition("Available", "NoPodReady", "0x4") | condition("Available", "NoRouter", "_x4 0x20"),
        at="10m",
        fires=[{**OWNER, "severity": "critical"}],
    ),
    Case(
        alert="ModelEndpointUnavailable",
        name="suspended, new, and serving",
        series=condition("Available", "Suspended", "0x20")
        | {
            'modelendpoint_condition{namespace="shop", endpoint="new", type="Available", reason="NoRevisionReady"}': "0x20"
        }
        | {'modelendpoint_condition{namespace="shop", endpoint="old", type="Available", reason="Serving"}': "1x20"},
        at="10m",
    ),
    Case(
        alert="ModelEndpointNotReady",
        name="a pod is missing for long",
        series=condition("Ready", "PodsNotReady", "0x60"),
        at="40m",
        fires=[{**OWNER, "severity": "warning"}],
    ),
    Case(
        alert="ModelEndpointNotReady",
        name="a pod was missing, and a rollout goes on",
        series=condition("Ready", "PodsNotReady", "0x20 _x40") | condition("Ready", "RollingOut", "_x20 0x40"),
        at="40m",
    ),
    Case(
        alert="ModelEndpointStalled",
        name="a gate failed",
        series=condition("Stalled", "GateFailed", "1x20"),
        at="10m",
        fires=[{**OWNER, "reason": "GateFailed", "severity": "warning"}],
    ),
    Case(
        alert="ModelEndpointStalled",
        name="a person aborted, and another endpoint serves",
        series=condition("Stalled", "Aborted", "1x20") | condition("Stalled", "", "0x20"),
        at="10m",
    ),
    Case(
        alert="ModelEndpointDriftDetected",
        name="drift that stays",
        series=condition("DriftDetected", "Drifted", "1x20"),
        at="16m",
        fires=[{**OWNER, "severity": "warning"}],
    ),
    Case(
        alert="ModelEndpointDriftDetected",
        name="one window, and nothing is known of another endpoint",
        series=condition("DriftDetected", "Drifted", "1x5 0x15")
        | condition("DriftDetected", "InsufficientData", "0x20"),
        at="16m",
    ),
    Case(
        alert="ModelEndpointRolloutStuck",
        name="pods do not come",
        series=phase("Deploying"),
        at="35m",
        fires=[{**OWNER, "phase": "Deploying", "severity": "warning"}],
        value="35m 0s",
    ),
    Case(alert="ModelEndpointRolloutStuck", name="pods come", series=phase("Deploying"), at="25m"),
    Case(alert="ModelEndpointRolloutStuck", name="a step is held", series=phase("Holding"), at="35m"),
    Case(
        alert="ModelEndpointRouterOutOfSync",
        name="a router lags",
        series={f"modelendpoint_routes_live{{{ONE}}}": "1 0x20"},
        at="10m",
        fires=[{**OWNER, "severity": "warning"}],
    ),
    Case(
        alert="ModelEndpointRouterOutOfSync",
        name="routers take up one change after the other",
        series={f"modelendpoint_routes_live{{{ONE}}}": "0 1 0 1 0 1 0 1 0 1 0 1"},
        at="10m",
    ),
    Case(
        alert="ModelEndpointServerMemoryHigh",
        name="nearly full",
        series=memory("950x60"),
        at="15m",
        fires=[{**OWNER, "revision": "7", "pod": "churn-r7-1", "severity": "warning"}],
        value="95%",
    ),
    Case(alert="ModelEndpointServerMemoryHigh", name="full for a moment", series=memory("950x5 500x60"), at="15m"),
    Case(
        alert="ModelEndpointModelOld",
        name="ninety-one days",
        series={f'modelendpoint_promoted_timestamp_seconds{{{ONE}, revision="7"}}': f"{-91 * 86400}x120"},
        at="2h",
        fires=[{**OWNER, "revision": "7", "severity": "info"}],
        value="91d 2h 0m 0s",
    ),
    Case(
        alert="ModelEndpointModelOld",
        name="eighty-nine days",
        series={f'modelendpoint_promoted_timestamp_seconds{{{ONE}, revision="7"}}': f"{-89 * 86400}x120"},
        at="2h",
    ),
    Case(
        alert="ModelEndpointBatchFailed",
        name="a run failed",
        series={BATCH_RUNS: "0x9 1x20", MISSED: "0x30"},
        at="15m",
        fires=[{**OPERATORS, "severity": "warning"}],
    ),
    Case(
        alert="ModelEndpointBatchFailed",
        name="a run did not start",
        series={BATCH_RUNS: "0x30", MISSED: "0x9 1x20"},
        at="15m",
        fires=[{**OPERATORS, "severity": "warning"}],
    ),
    Case(
        alert="ModelEndpointBatchFailed",
        name="one failed long ago",
        series={BATCH_RUNS: "0x2 3x60", MISSED: "5x60"},
        at="45m",
    ),
    Case(
        alert="ModelEndpointOperatorDown",
        name="gone",
        series={f'modelendpoint_leader{{{OPERATOR}, pod="a"}}': "1x3 _x40"},
        at="20m",
        fires=[{**OPERATORS, "severity": "critical"}],
    ),
    Case(
        alert="ModelEndpointOperatorDown",
        name="restarted",
        series={f'modelendpoint_leader{{{OPERATOR}, pod="a"}}': "1x3 _x5 1x20"},
        at="20m",
    ),
    Case(
        alert="ModelEndpointOperatorNotLeading",
        name="nobody has the Lease",
        series={f'modelendpoint_leader{{{OPERATOR}, pod="{pod}"}}': "0x20" for pod in "ab"},
        at="5m",
        fires=[{**OPERATORS, "severity": "critical"}],
    ),
    Case(
        alert="ModelEndpointOperatorNotLeading",
        name="one of two has it",
        series={
            f'modelendpoint_leader{{{OPERATOR}, pod="{pod}"}}': f"{leads}x20" for pod, leads in (("a", 0), ("b", 1))
        },
        at="5m",
    ),
    Case(
        alert="ModelEndpointOperatorQueueStuck",
        name="two minutes behind",
        series={f"modelendpoint_workqueue_late_seconds{{{OPERATOR}}}": "120x20"},
        at="10m",
        fires=[{**OPERATORS, "severity": "warning"}],
        value="2m 0s",
    ),
    Case(
        alert="ModelEndpointOperatorQueueStuck",
        name="a burst",
        series={f"modelendpoint_workqueue_late_seconds{{{OPERATOR}}}": "120x3 5x20"},
        at="10m",
    ),
    Case(
        alert="ModelEndpointOperatorErrors",
        name="an error a minute",
        series={FAILURES: "0+1x60"},
        at="40m",
        fires=[{**OPERATORS, "kind": "KeyError", "severity": "warning"}],
    ),
    Case(alert="ModelEndpointOperatorErrors", name="some errors, once", series={FAILURES: "0 1 2 3 8x60"}, at="40m"),
)

SLOWLY = (
    Case(
        alert="ModelEndpointRolloutWaits",
        name="nobody goes on",
        series=phase("Paused"),
        at="5h",
        fires=[{**OWNER, "phase": "Paused", "severity": "info"}],
        value="5h 0m 0s",
    ),
    Case(
        alert="ModelEndpointRolloutWaits",
        name="a gate can't tell",
        series=phase("Holding"),
        at="25h",
        fires=[{**OWNER, "phase": "Holding", "severity": "info"}],
        value="1d 1h 0m 0s",
    ),
    Case(alert="ModelEndpointRolloutWaits", name="a long step", series=phase("Holding"), at="5h"),
    Case(
        alert=ERRORS,
        name="a slow leak tells in the longest windows only",
        series=answers(good="0+499x500", bad="0+1x500"),
        at="8h",
        fires=burns("3d"),
        value="0.2%",
    ),
    Case(
        alert=ERRORS,
        name="twice as fast as a third of the budget",
        series=answers(good="0+199x500", bad="0+1x500"),
        at="8h",
        fires=burns("1d", "3d"),
        value="0.5%",
    ),
    Case(
        alert=SLOW,
        name="a slow leak tells in the longest windows only",
        series=times(quick="0+98x500", every="0+100x500"),
        at="8h",
        fires=burns("3d"),
        value="2%",
    ),
)


def told(alert: Manifest, labels: Mapping[str, str], value: str) -> dict[str, str]:
    """Fill in an alert's annotations, as Prometheus does."""
    texts = {}
    for name, template in alert["annotations"].items():
        text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], template)
        texts[name] = re.sub(r"\{\{ \$value \| \w+ \}\}", value.replace("\\", r"\\"), text)
    return texts


def expected(case: Case) -> list[dict[str, Mapping[str, str]]]:
    rules_of = {
        (alert["alert"], alert["labels"].get("window")): alert for alert in alerts() if alert["alert"] == case.alert
    }
    return [
        {"exp_labels": labels, "exp_annotations": told(rules_of[case.alert, labels.get("window")], labels, case.value)}
        for labels in case.fires
    ]


@pytest.mark.parametrize(("cases", "interval"), [(QUICK, "1m"), (SLOWLY, "5m")], ids=["quick", "slowly"])
def test_alerts_fire_when_they_should_and_not_otherwise(cases: Sequence[Case], interval: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    tests = [
        {
            "name": f"{case.alert}: {case.name}",
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
            "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected(case)}],
        }
        for case in cases
    ]
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": interval,
        # Without this an alert may be asked before what it is made of is there.
        "group_eval_order": [group["name"] for group in rules()["groups"]],
        "tests": tests,
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(document))

    done = promtool("test", "rules", str(tmp_path / "test.yaml"))

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire_and_to_be_silent() -> None:
    cases = (*QUICK, *SLOWLY)
    fired = {case.alert for case in cases if case.fires}
    silent = {case.alert for case in cases if not case.fires}
    assert fired == silent == {alert["alert"] for alert in alerts()}
    windows = {labels["window"] for case in cases for labels in case.fires if "window" in labels}
    assert windows == set(WINDOWS)


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))

    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yaml"))

    assert done.returncode == 0, done.stdout + done.stderr


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(find_go_tool("promtool")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
