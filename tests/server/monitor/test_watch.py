"""Drift against a reference that comes, goes and changes; and in the monitor's own process, from real requests."""

import json
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from modelendpoint_server.errors import InvalidSettings, ModelNotFound
from modelendpoint_server.monitor.building import ProfileBuilder
from modelendpoint_server.monitor.sample import Column, Sample
from modelendpoint_server.monitor.watch import DriftWanted, DriftWatch
from support.monitors import configure, monitoring, wait_until
from support.onnx_models import INPUT, OUTPUT, linear_model
from support.server_process import started

TOLD = {"reference": "s3://models/profile.json", "windowSeconds": 60, "minimumRows": 100, "thresholds": {"psi": 0.2}}


def profile(*, mean: float = 0.0, column: str = "x", output: str = "y") -> bytes:
    values = np.random.default_rng(1).normal(mean, size=2000)
    builder = ProfileBuilder()
    builder.add({column: values}, {output: values}, rows=2000)
    return builder.build(model_sha256="ab" * 32)[0].as_json()


def sample(values: Column) -> Sample:
    return Sample(
        revision="7",
        variant="",
        sha256="ab" * 32,
        time=0.0,
        request_id="r",
        rows=len(values),
        inputs={"x": values},
        outputs={"y": values},
    )


class World:
    """A store and a clock."""

    def __init__(self) -> None:
        self.stored: bytes | None = None
        self.now = 1000.0

    def fetch(self, uri: str) -> bytes:
        if self.stored is None:
            raise ModelNotFound(f"Nothing is at {uri}. Correct monitoring.drift.reference.uri.")
        return self.stored

    def watch(self) -> DriftWatch:
        return DriftWatch(DriftWanted.from_json(TOLD), endpoint="churn", fetch=self.fetch, clock=lambda: self.now)


def test_without_a_reference_nothing_is_judged_and_the_report_says_why() -> None:
    world = World()
    watch = world.watch()
    assert watch.refresh() < 60
    watch.add(sample(np.zeros(500)))
    report = watch.report()
    assert (report["reference"], report["arms"], report["reason"]) == (None, [], "ModelNotFound")
    assert report["message"] == "Nothing is at s3://models/profile.json. Correct monitoring.drift.reference.uri."
    world.stored = b"{}"
    watch.refresh()
    assert watch.report()["reason"] == "InvalidProfile"


def test_a_reference_that_came_late_is_used_and_another_one_begins_anew() -> None:
    world = World()
    watch = world.watch()
    watch.refresh()
    world.stored = profile()
    watch.refresh()
    watch.add(sample(np.random.default_rng(2).normal(size=500)))
    first = watch.report()
    assert (first["reason"], first["reference"]["rows"], first["arms"][0]["window"]["rows"]) == (None, 2000, 500)
    watch.refresh()
    assert watch.report()["arms"] == first["arms"]
    world.stored = profile(mean=3)
    watch.refresh()
    second = watch.report()
    assert second["arms"] == []
    assert second["reference"]["sha256"] != first["reference"]["sha256"]


def test_a_store_that_is_down_takes_no_reference_away() -> None:
    world = World()
    world.stored = profile()
    watch = world.watch()
    watch.refresh()
    world.stored = None
    watch.refresh()
    report = watch.report()
    assert (report["reason"], report["reference"]["rows"]) == ("ModelNotFound", 2000)


def test_the_last_window_is_in_the_metrics() -> None:
    world = World()
    world.stored = profile(mean=3)
    watch = world.watch()
    watch.refresh()
    watch.add(sample(np.random.default_rng(2).normal(size=500)))
    world.now += 60
    registry = CollectorRegistry()
    registry.register(watch)
    text = generate_latest(registry).decode()
    labels = 'endpoint="churn",revision="7",variant=""'
    assert f"modelmonitor_drift_windows_drifted_total{{{labels}}} 1.0" in text
    lines = [line for line in text.splitlines() if line.startswith("modelmonitor_drift_population_stability{")]
    assert len(lines) == 2 and all(float(line.rpartition(" ")[2]) > 1 for line in lines)


@pytest.mark.parametrize(
    "told", [{}, {"reference": "s3://a/b", "windowSeconds": "soon"}, {"reference": "x", "thresholds": 3}]
)
def test_what_can_not_be_read_ends_the_process_with_what_it_is(told: dict[str, object]) -> None:
    with pytest.raises(InvalidSettings, match="drift of MODELENDPOINT_MONITOR"):
        DriftWanted.from_json(told)


def test_what_the_operator_says_is_what_counts() -> None:
    wanted = DriftWanted.from_json({"reference": "x", "minimumRows": 50, "thresholds": {"missingPercent": 5}})
    assert (wanted.rules.minimum_rows, wanted.rules.seconds) == (50, 300.0)
    assert (wanted.rules.thresholds.missing, wanted.rules.thresholds.psi) == (0.05, 0.1)


def test_drift_of_real_requests_is_in_the_report_of_the_monitor(tmp_path: Path) -> None:
    """A server, the monitor's process, and a reference that is written while both run."""
    reference = tmp_path / "profile.json"
    drift = {"reference": f"file://{reference}", "windowSeconds": 1, "minimumRows": 200}
    reference.write_bytes(b"no profile")
    (tmp_path / "server").mkdir()
    rows = np.random.default_rng(1).normal(size=(2000, 2))
    builder = ProfileBuilder()
    builder.add({INPUT: rows}, {OUTPUT: rows @ [1.0, 2.0]}, rows=2000)
    reference.write_bytes(builder.build(model_sha256="")[0].as_json())
    with (
        started(linear_model([1.0, 2.0]), tmp_path / "server", monitoring_dir=str(tmp_path / "monitoring")) as server,
        monitoring(tmp_path / "monitor", None, drift=drift) as monitor,
    ):
        configure(tmp_path / "monitoring", percent=100, port=monitor.port)
        random = np.random.default_rng(2)

        def send(shift: float) -> None:
            instances = random.normal([0, shift], size=(50, 2)).tolist()
            assert server.ask(json.dumps({"instances": instances}).encode())[0] == 200

        def judged(shift: float, windows: int) -> bool:
            send(shift)
            arms = monitor.report()["drift"]["arms"]
            return bool(arms) and arms[0]["windows"] >= windows

        wait_until(lambda: judged(0, 1))
        calm = monitor.report()["drift"]["arms"][0]
        assert (calm["drifted"], calm["last"]["columns"], calm["unknownColumns"]) == (0, 3, [])
        wait_until(lambda: judged(1.0, 3))
        arm = monitor.report()["drift"]["arms"][0]
        assert (arm["revision"], arm["variant"]) == ("7", "")
        found = {(finding["column"], finding["role"]) for finding in arm["last"]["findings"]}
        assert found == {(f"{INPUT}[1]", "Input"), (OUTPUT, "Output")}
        assert b"modelmonitor_drift_population_stability" in monitor.get("/metrics")[1]
        assert monitor.end() == 0
