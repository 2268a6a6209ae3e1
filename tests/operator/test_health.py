"""The operator's own port."""

import http.client
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from modelendpoint_operator.api.batch_status import BatchPredictionStatus, Phase, Progress
from modelendpoint_operator.batch.plan import BatchPlan
from modelendpoint_operator.health import HealthServer
from modelendpoint_operator.plan import EventNote, Plan
from modelendpoint_operator.telemetry import Telemetry
from support.batch_world import EPOCH


class Patient:
    is_healthy = True


@pytest.fixture
def patient() -> Patient:
    return Patient()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def server(patient: Patient, telemetry: Telemetry) -> Iterator[HealthServer]:
    server = HealthServer(0, is_healthy=lambda: patient.is_healthy, registry=telemetry.registry)
    server.start()
    yield server
    server.stop()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_healthy_operator_says_so(server: HealthServer) -> None:
    assert get(server, "/healthz") == (200, "ok\n")
    assert get(server, "/readyz?verbose") == (200, "ok\n")


def test_a_silent_watch_is_unhealthy_until_it_is_over(server: HealthServer, patient: Patient) -> None:
    patient.is_healthy = False
    assert get(server, "/healthz") == (503, "a watch went silent\n")

    patient.is_healthy = True
    assert get(server, "/healthz")[0] == 200


def test_a_pod_that_waits_for_the_lease_is_ready(server: HealthServer, patient: Patient) -> None:
    patient.is_healthy = False

    assert get(server, "/readyz")[0] == 200


def test_the_metrics_count_what_passes_do(server: HealthServer, telemetry: Telemetry) -> None:
    note = EventNote(reason="Promoted", message="Revision 1 serves")
    telemetry.count(Plan(events=(note, note)))
    telemetry.failed(TimeoutError())
    telemetry.leader.set(1)
    status, text = get(server, "/metrics")

    assert status == 200
    assert 'modelendpoint_writes_total{verb="event"} 2.0' in text
    assert 'modelendpoint_writes_total{verb="status"} 0.0' in text
    assert 'modelendpoint_reconcile_errors_total{kind="TimeoutError"} 1.0' in text
    assert "modelendpoint_leader 1.0" in text


def test_the_metrics_count_runs_rows_and_missed_runs(server: HealthServer, telemetry: Telemetry) -> None:
    progress = Progress(text="", shards=1, rows_in=10, rows_out=7, rows_rejected=3, measured_at=EPOCH)
    telemetry.count(BatchPlan(ended=Phase.COMPLETE, status=BatchPredictionStatus(progress=progress)))
    telemetry.count(BatchPlan(ended=Phase.FAILED, status=BatchPredictionStatus(progress=progress)))
    telemetry.count(BatchPlan(missed_runs=2, status=BatchPredictionStatus()))
    _, text = get(server, "/metrics")

    assert 'modelendpoint_batch_runs_total{result="complete"} 1.0' in text
    assert 'modelendpoint_batch_runs_total{result="failed"} 1.0' in text
    assert 'modelendpoint_batch_rows_total{outcome="predicted"} 7.0' in text
    assert 'modelendpoint_batch_rows_total{outcome="rejected"} 3.0' in text
    assert "modelendpoint_batch_missed_runs_total 2.0" in text
    assert 'modelendpoint_writes_total{verb="status"} 3.0' in text


def test_other_paths_are_not_found(server: HealthServer) -> None:
    assert get(server, "/")[0] == 404


def test_two_operators_in_one_process_count_apart() -> None:
    assert isinstance(Telemetry().registry, CollectorRegistry)
    assert Telemetry().registry is not Telemetry().registry
