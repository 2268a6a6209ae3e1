"""The operator's batch planner on the objects of an instance, with a clock that stands still until it is moved."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelendpoint.local.batches import LocalBatches
from modelendpoint.local.containers import Containers, Folders
from modelendpoint.local.events import EventLog
from modelendpoint.local.node import Node
from modelendpoint.local.objects import Key, Object, ObjectStore
from modelendpoint_operator import names
from modelendpoint_operator.batch.plan import BatchPlan
from modelendpoint_operator.batch_reconciler import BatchReconciler
from modelendpoint_operator.settings import Settings

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = {"uri": "pvc://local-files/home/ann/model.onnx"}


class Bench:
    """A store, the planner, and a node that runs nothing."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.now = EPOCH
        self.store = ObjectStore(folder / "objects")
        folders = Folders(pods=folder / "pods", hosts=folder / "hosts", copies=folder / "copies")
        containers = Containers(self.store, folders, environment={}, traffic_port=lambda namespace, name: 8080)
        node = Node(self.store, containers, folders, clock=lambda: self.now, say=print)
        self.events = EventLog(folder / "events")
        batches = LocalBatches(
            self.store,
            node,
            self.events,
            pool=pool,
            as_written=lambda text: text.replace("pvc://local-files/", "file:///"),
        )
        self._reconciler = BatchReconciler(batches, Settings(), clock=lambda: self.now)

    def apply(self, name: str = "weekly", **spec: Any) -> None:
        """Write a batch prediction as it is applied."""
        given = {"model": MODEL, "input": {"uri": "s3://rows/a/"}, "output": {"uri": "s3://out/a/"}, **spec}
        metadata = {"namespace": "default", "name": name}
        body = {"apiVersion": names.API_VERSION, "kind": names.BATCH_KIND, "metadata": metadata, "spec": given}
        self.store.apply(body, now=self.now)

    def look(self, name: str = "weekly", *, passes: int = 2) -> BatchPlan | None:
        """Take passes at a batch prediction; return the last plan."""
        plans = [self._reconciler.reconcile("default", name) for _ in range(passes)]
        return plans[-1]

    def body(self, name: str = "weekly") -> Object:
        """Read a batch prediction."""
        found = self.store.get(names.BATCH_KIND, "default", name)
        assert found is not None
        return found

    def reason(self, name: str = "weekly") -> str:
        """Read what it does, in one word."""
        return next(str(told["reason"]) for told in self.body(name)["status"]["conditions"] if told["type"] == "Ready")

    def names_of(self, kind: str) -> list[str]:
        """Name the objects of a kind."""
        return [body["metadata"]["name"] for body in self.store.list_all(kind)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ThreadPoolExecutor(1) as pool:
        yield Bench(tmp_path, pool)


def test_a_run_begins_with_the_job_that_plans_it(bench: Bench) -> None:
    bench.apply()
    bench.look()
    assert bench.names_of("Job") == ["weekly-plan"]
    assert bench.reason() == "Planning"
    assert [(event.kind, event.name, event.reason) for event in bench.events.last(9)] == [
        ("BatchPrediction", "weekly", "Started")
    ]
    assert bench.events.last(1)[0].message.endswith("file:///home/ann/model.onnx")
    assert bench.look(passes=1) == BatchPlan(look_again_after=timedelta(seconds=5))


def test_what_is_seen_of_its_jobs_moves_a_run_on(bench: Bench) -> None:
    bench.apply()
    bench.look()
    job = bench.store.get("Job", "default", "weekly-plan")
    assert job is not None
    told = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}
    key = Key("Job", "default", "weekly-plan")
    bench.store.set_status(key, uid=job["metadata"]["uid"], status={"conditions": [told]})
    bench.look()
    assert bench.reason() == "WorkerFailed"


def test_a_suspended_job_is_changed_and_not_made_anew(bench: Bench) -> None:
    bench.apply()
    bench.look()
    before = bench.store.get("Job", "default", "weekly-plan")
    bench.apply(suspend=True)
    bench.look()
    after = bench.store.get("Job", "default", "weekly-plan")
    assert before is not None and after is not None
    assert (before["spec"]["suspend"], after["spec"]["suspend"]) == (False, True)
    assert before["metadata"]["uid"] == after["metadata"]["uid"]


def test_a_run_waits_for_its_endpoint_and_takes_its_stable_revision(bench: Bench) -> None:
    bench.apply(model=None, endpointRef={"name": "churn"})
    bench.look()
    assert bench.reason() == "EndpointNotFound"
    endpoint = bench.store.apply(
        {"kind": names.KIND, "metadata": {"namespace": "default", "name": "churn"}, "spec": {"model": MODEL}}, now=EPOCH
    )
    uid = endpoint["metadata"]["uid"]
    revision = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "namespace": "default",
            "name": "churn-r1",
            "labels": {names.LABEL_ENDPOINT: "churn", names.LABEL_REVISION: "1"},
            "ownerReferences": [{"uid": uid}],
        },
        "revision": 1,
        "data": {"model": MODEL, "server": {}, "serverImage": ""},
    }
    bench.store.apply(revision, now=EPOCH)
    bench.look()
    assert bench.reason() == "EndpointNotReady"
    bench.store.set_status(Key(names.KIND, "default", "churn"), uid=uid, status={"stable": {"revision": 1}})
    bench.look()
    assert (bench.reason(), bench.body()["status"]["model"]["revision"]) == ("Planning", 1)


def test_a_job_of_somebody_else_is_not_touched(bench: Bench) -> None:
    foreign = {"kind": "Job", "metadata": {"namespace": "default", "name": "weekly-plan"}, "spec": {}}
    bench.store.apply({**foreign, "metadata": {**foreign["metadata"], "ownerReferences": [{"uid": "o"}]}}, now=EPOCH)
    bench.apply()
    bench.look()
    assert bench.reason() == "NameConflict"


def test_a_schedule_starts_runs_of_its_own_and_they_go_with_it(bench: Bench) -> None:
    bench.apply(schedule={"cron": "0 * * * *"}, output={"uri": "s3://out/{{ .ScheduledTime }}/"})
    plan = bench.look()
    assert (bench.names_of(names.BATCH_KIND), bench.reason()) == (["weekly"], "Scheduled")
    assert plan is not None and plan.look_again_after == timedelta(hours=1)

    bench.now += timedelta(hours=1)
    bench.look()
    schedule, run = bench.names_of(names.BATCH_KIND)
    assert bench.body(run)["spec"]["output"]["uri"] == "s3://out/20260101T0100/"
    bench.look(run)
    assert (bench.names_of("Job"), bench.body(schedule)["status"]["schedule"]["active"]) == ([f"{run}-plan"], [run])

    bench.store.delete(Key(names.BATCH_KIND, "default", schedule))
    assert bench.store.list_all() == []


def test_a_run_past_its_time_is_deleted(bench: Bench) -> None:
    bench.apply(ttlSecondsAfterFinished=60)
    bench.look()
    body = bench.body()
    ended = {**body["status"], "phase": "Failed", "completionTime": EPOCH.isoformat(), "failure": FAILURE}
    bench.store.set_status(Key(names.BATCH_KIND, "default", "weekly"), uid=body["metadata"]["uid"], status=ended)
    bench.now += timedelta(seconds=59)
    bench.look()
    assert bench.reason() == "InputNotFound"
    bench.now += timedelta(seconds=1)
    bench.look()
    assert bench.store.list_all() == []


FAILURE = {"reason": "InputNotFound", "message": "Nothing is there"}
