"""What the operator, the model servers and the monitor agree on: files, environment, ports, the report."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelendpoint_operator import names
from modelendpoint_operator.adapters.drift_report import parse_drift_report
from modelendpoint_operator.adapters.reduction import parse_monitor_report
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.monitoring import CaptureFormat, Drift, DriftReference
from modelendpoint_operator.manifests.monitor import build_monitor, build_monitoring_config, monitoring_config
from modelendpoint_operator.observation import MonitorReport
from modelendpoint_operator.settings import Settings as OperatorSettings
from modelendpoint_server import capture, frames
from modelendpoint_server.batch.specification import Format
from modelendpoint_server.monitor.building import ProfileBuilder
from modelendpoint_server.monitor.captures import Captures, Figures, Trouble
from modelendpoint_server.monitor.receiver import Inbox
from modelendpoint_server.monitor.report import Report
from modelendpoint_server.monitor.sample import Sample
from modelendpoint_server.monitor.specification import MonitorSettings
from modelendpoint_server.monitor.watch import DriftWanted, DriftWatch
from modelendpoint_server.monitor.windows import WindowRules
from modelendpoint_server.settings import Settings

SPEC = {
    "uri": "pvc://captures/churn",
    "percent": 12.5,
    "format": "JSONLines",
    "redact": ["name"],
    "hash": ["customer"],
    "hashKeySecretRef": {"name": "key"},
    "serviceAccountName": "writer",
    "maxSeconds": 60,
}


def endpoint_with(**spec: Any) -> ModelEndpoint:
    metadata = {"name": "churn", "namespace": "shop", "uid": "1", "generation": 1}
    return ModelEndpoint.from_body({"metadata": metadata, "spec": {"model": {"uri": "s3://m/m.onnx"}, **spec}})


def pod_of(endpoint: ModelEndpoint) -> dict[str, Any]:
    assert endpoint.spec.monitoring is not None
    _, deployment = build_monitor(endpoint, endpoint.spec.monitoring, settings=OperatorSettings())
    return dict(deployment["spec"]["template"]["spec"])


def test_the_monitor_understands_the_environment_that_the_operator_sets() -> None:
    pod = pod_of(endpoint_with(monitoring={"capture": SPEC}))
    (container,) = pod["containers"]
    settings = MonitorSettings.from_environment({item["name"]: item["value"] for item in container["env"]})
    assert settings.capture is not None
    wanted = settings.capture
    assert (wanted.uri, wanted.percent, wanted.format) == ("pvc://captures/churn", 12.5, Format.JSON_LINES)
    assert (wanted.redact, wanted.hash, wanted.max_seconds) == (("name",), ("customer",), 60)
    assert settings.server.service_account == pod["serviceAccountName"] == "writer"

    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"samples": settings.port, "management": settings.server.management_port}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["hash-key"]["mountPath"] == str(settings.hash_key_dir)
    assert mounts["captures"] == {"name": "captures", "mountPath": f"{settings.server.pvc_dir}/captures"}
    assert mounts["models"]["mountPath"] == str(settings.server.model_dir)


def test_credentials_of_the_store_are_where_the_monitor_looks() -> None:
    spec = {"uri": "s3://captures/churn", "credentialsSecretRef": {"name": "captures"}}
    (container,) = pod_of(endpoint_with(monitoring={"capture": spec}))["containers"]
    settings = MonitorSettings.from_environment({item["name"]: item["value"] for item in container["env"]})
    folders = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "credentials"]
    assert folders == [str(settings.credentials_dir)]


def test_servers_understand_what_the_operator_tells_them_of_monitoring(tmp_path: Path) -> None:
    endpoint = endpoint_with(monitoring={"capture": SPEC})
    config = monitoring_config(endpoint, {9: "trees"}, domain="cluster.local")
    assert config is not None
    (tmp_path / names.MONITORING_KEY).write_text(build_monitoring_config(endpoint, config)["data"]["config.json"])
    read = capture.Config.read(tmp_path / "config.json")
    address = ("churn-monitor.shop.svc.cluster.local", MonitorSettings.from_environment({}).port)
    assert read == capture.Config(percent=12.5, address=address, variants={"9": "trees"})
    assert str(Settings(model_uri="s3://m/m.onnx").monitoring_dir) == names.MONITORING_DIR


@pytest.mark.parametrize("stored", [True, False])
def test_the_operator_reads_the_report_that_the_monitor_gives(stored: bool) -> None:
    inbox = Inbox()
    inbox.received, inbox.dropped = 9, 1
    inbox.note(frames.Figures(12, 3))
    captures = None
    if stored:
        captures = Captures.__new__(Captures)
        captures.figures = Figures(samples=5, trouble=Trouble("StoreFull", "Make room in it."))
        captures.figures.dropped["StoreBehind"] += 2
    report = Report(endpoint="churn", inbox=inbox, captures=captures, drift=None)
    told = parse_monitor_report(json.loads(json.dumps(report.as_json())))
    reason, message = ("StoreFull", "Make room in it.") if stored else (None, None)
    assert told == MonitorReport(
        sampled=12,
        received=9,
        captured=5 if stored else 0,
        dropped=6 if stored else 4,
        reason=reason,
        message=message,
    )


def test_both_know_the_same_formats() -> None:
    assert {str(kind) for kind in CaptureFormat} <= {str(kind) for kind in Format}


def test_the_monitor_understands_what_it_shall_compare_with() -> None:
    drift = {
        "reference": {"uri": "pvc://data/profile.json", "credentialsSecretRef": {"name": "reference"}},
        "windowSeconds": 900,
        "minimumRows": 2000,
        "thresholds": {"psi": 0.25, "missingPercent": 3, "outOfRangePercent": 4, "unseenPercent": 5},
    }
    pod = pod_of(endpoint_with(monitoring={"drift": drift}))
    (container,) = pod["containers"]
    settings = MonitorSettings.from_environment({item["name"]: item["value"] for item in container["env"]})
    assert settings.capture is None
    wanted = DriftWanted.from_json(settings.document["drift"])
    assert (wanted.uri, wanted.rules.seconds, wanted.rules.minimum_rows) == ("pvc://data/profile.json", 900, 2000)
    thresholds = wanted.rules.thresholds
    assert (thresholds.psi, thresholds.missing, thresholds.out_of_range, thresholds.unseen) == (0.25, 0.03, 0.04, 0.05)
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {str(settings.reference_credentials_dir), f"{settings.server.pvc_dir}/data"} <= mounts


def test_defaults_of_drift_are_the_same_on_both_sides() -> None:
    told, wanted = Drift(reference=DriftReference(uri="s3://a/b")), WindowRules()
    assert (told.window_seconds, told.minimum_rows) == (wanted.seconds, wanted.minimum_rows)
    ours, theirs = told.thresholds, wanted.thresholds
    assert ours.psi == theirs.psi
    assert [ours.missing_percent, ours.out_of_range_percent, ours.unseen_percent] == [
        100 * share for share in (theirs.missing, theirs.out_of_range, theirs.unseen)
    ]


def test_the_operator_reads_what_the_monitor_tells_of_drift() -> None:
    values = np.random.default_rng(1).normal(size=2000)
    builder = ProfileBuilder()
    builder.add({"x": values}, {}, rows=2000)
    profile = builder.build(model_sha256="")[0].as_json()
    wanted = DriftWanted.from_json({"reference": "s3://a/b", "windowSeconds": 1, "minimumRows": 100})
    times = iter(range(0, 1000, 10))
    watch = DriftWatch(wanted, endpoint="churn", fetch=lambda uri: profile, clock=lambda: float(next(times)))
    watch.refresh()
    for revision, shift in (("7", 0.0), ("8", 2.0)):
        rows = values[:500] + shift
        watch.add(
            Sample(
                revision=revision,
                variant="",
                sha256="",
                time=0,
                request_id="",
                rows=500,
                inputs={"x": rows},
                outputs={},
            )
        )
    told = parse_drift_report(json.loads(json.dumps({"drift": watch.report()})))
    assert told is not None and told.reference_sha256 == hashlib.sha256(profile).hexdigest()
    calm, drifted = told.arms
    assert (calm.revision, calm.last and calm.last.findings) == (7, ())
    assert drifted.last is not None
    assert (drifted.last.rows, drifted.last.findings[0].column, drifted.drifted) == (500, "x", 1)
