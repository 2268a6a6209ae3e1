"""The adapter of BatchPredictions, against an API server over real HTTP."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.adapters.api_server import ApiServer
from modelendpoint_operator.adapters.batches import KubernetesBatches
from modelendpoint_operator.adapters.notes import EventWriter
from modelendpoint_operator.adapters.reports import ReportReader
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.api.batch_status import BatchPredictionStatus, Phase
from modelendpoint_operator.batch.observation import BatchObservation, Stage
from modelendpoint_operator.batch.plan import BatchPlan, Create, Patch
from modelendpoint_operator.errors import ForeignObject
from modelendpoint_operator.observation import ObjectRef
from modelendpoint_operator.plan import Delete, EventNote
from support.api_server import FakeApiServer, running

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
BATCH_PATH = "/apis/modelendpoint.dev/v1alpha1/namespaces/shop/batchpredictions/weekly"
ENDPOINTS = "/apis/modelendpoint.dev/v1alpha1/namespaces/shop/modelendpoints"
JOBS, PODS = "/apis/batch/v1/namespaces/shop/jobs", "/api/v1/namespaces/shop/pods"
REVISIONS = "/apis/apps/v1/namespaces/shop/controllerrevisions"
OWNER = {"uid": "batch-uid", "kind": names.BATCH_KIND, "name": "weekly", "apiVersion": names.API_VERSION}
SPEC = {
    "model": {"uri": "s3://m/k.onnx"},
    "input": {"uri": "s3://in/x/"},
    "output": {"uri": "s3://out/y/"},
}


class AddressedReports(ReportReader):
    """Answers by address instead of over the network."""

    def read_document(self, address: str) -> object:
        return {"state": "Working", "rowsIn": 5} if address == "10.0.0.1" else None


@pytest.fixture
def server() -> FakeApiServer:
    return FakeApiServer()


@pytest.fixture
def api(server: FakeApiServer) -> Iterator[ApiServer]:
    with running(server) as api:
        yield api


@pytest.fixture
def cluster(api: ApiServer) -> Iterator[KubernetesBatches]:
    with ThreadPoolExecutor(4) as pool:
        events = EventWriter(api, reporter="pod-1")
        yield KubernetesBatches(api, reports=AddressedReports(), events=events, pool=pool)


def a_batch(server: FakeApiServer, **spec: Any) -> BatchPrediction:
    metadata = {
        "name": "weekly",
        "namespace": "shop",
        "uid": "batch-uid",
        "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    chosen = {key: value for key, value in {**SPEC, **spec}.items() if value is not None}
    return BatchPrediction.from_body(server.put(BATCH_PATH, metadata=metadata, spec=chosen))


def a_job_manifest(name: str = "weekly-work") -> dict[str, Any]:
    labels = {
        names.LABEL_BATCH: "weekly",
        names.LABEL_BATCH_STAGE: "work",
        names.LABEL_BATCH_ATTEMPT: "1",
    }
    metadata = {"name": name, "namespace": "shop", "labels": labels, "ownerReferences": [OWNER]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"parallelism": 2}}


def job_ref(name: str = "weekly-work") -> ObjectRef:
    return ObjectRef(api_version="batch/v1", kind="Job", name=name)


def test_a_batch_prediction_is_found_unless_it_is_gone_or_going(
    cluster: KubernetesBatches, server: FakeApiServer
) -> None:
    a_batch(server)
    assert cluster.find("shop", "weekly") is not None
    assert cluster.find("shop", "other") is None

    server.objects[BATCH_PATH]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert cluster.find("shop", "weekly") is None


def test_only_own_jobs_and_their_pods_are_seen(cluster: KubernetesBatches, server: FakeApiServer) -> None:
    batch = a_batch(server)
    own = server.put(f"{JOBS}/weekly-work", **a_job_manifest())
    foreign = a_job_manifest("foreign")
    foreign["metadata"]["ownerReferences"] = [{"uid": "other"}]
    server.put(f"{JOBS}/foreign", **foreign)
    labels = own["metadata"]["labels"]
    for name, owner, address in (("a", own["metadata"]["uid"], "10.0.0.1"), ("b", "other", "10.0.0.2")):
        metadata = {"labels": labels, "ownerReferences": [{"uid": owner}]}
        server.put(f"{PODS}/{name}", metadata=metadata, status={"phase": "Running", "podIP": address})
    seen = cluster.observe(batch)

    assert [job.name for job in seen.jobs] == ["weekly-work"]
    (worker,) = seen.workers
    assert (worker.name, worker.stage) == ("a", Stage.WORK)
    assert worker.word is not None and worker.word.rows_in == 5


def test_the_endpoint_is_read_until_its_model_is_settled(cluster: KubernetesBatches, server: FakeApiServer) -> None:
    batch = a_batch(server, model=None, endpointRef={"name": "churn"})
    assert cluster.observe(batch).endpoint is None
    endpoint = server.put(f"{ENDPOINTS}/churn", status={"stable": {"revision": 1}})
    for name, uid in (("churn-r1", endpoint["metadata"]["uid"]), ("churn-r2", "of a deleted namesake")):
        number = int(name[-1])
        metadata = {
            "labels": {names.LABEL_ENDPOINT: "churn", names.LABEL_REVISION: str(number)},
            "ownerReferences": [{"uid": uid}],
        }
        data = {"model": {"uri": "s3://m/1.onnx"}, "server": {}, "serverImage": "server:1"}
        server.put(f"{REVISIONS}/{name}", metadata=metadata, revision=number, data=data)
    seen = cluster.observe(batch).endpoint

    assert seen is not None
    assert (seen.stable, list(seen.revisions)) == (1, [1])


def test_a_schedule_sees_its_own_runs(cluster: KubernetesBatches, server: FakeApiServer) -> None:
    batch = a_batch(server, schedule={"cron": "0 * * * *"})
    for name, uid in (("weekly-1", "batch-uid"), ("weekly-2", "other")):
        metadata = {
            "labels": {names.LABEL_SCHEDULE: "weekly"},
            "annotations": {names.ANNOTATION_SCHEDULED_AT: "2026-01-01T01:00:00Z"},
            "ownerReferences": [{"uid": uid}],
        }
        server.put(f"{BATCH_PATH.rpartition('/')[0]}/{name}", metadata=metadata)
    seen = cluster.observe(batch)

    assert [run.name for run in seen.runs] == ["weekly-1"]
    assert seen == BatchObservation(runs=seen.runs)


def test_a_plan_is_carried_out_in_its_order(cluster: KubernetesBatches, server: FakeApiServer) -> None:
    batch = a_batch(server)
    old = server.put(f"{JOBS}/weekly-plan", **a_job_manifest("weekly-plan"))
    server.put(f"{JOBS}/weekly-finish", **a_job_manifest("weekly-finish"))
    plan = BatchPlan(
        deletes=(Delete(ref=job_ref("weekly-plan"), uid=old["metadata"]["uid"]),),
        creates=(Create(manifest=a_job_manifest()),),
        patches=(Patch(ref=job_ref("weekly-finish"), spec={"suspend": True}),),
        events=(EventNote(reason="Planned", message="4 shards"),),
        status=BatchPredictionStatus(observed_generation=3, phase=Phase.WORKING),
    )
    cluster.apply(batch, plan, now=NOW)

    assert [method for method, _ in server.writes()] == ["DELETE", "POST", "PATCH", "POST", "PATCH"]
    assert set(server.objects) >= {f"{JOBS}/weekly-work", f"{JOBS}/weekly-finish"}
    assert server.objects[f"{JOBS}/weekly-finish"]["spec"] == {"parallelism": 2, "suspend": True}
    (event,) = [body for path, body in server.objects.items() if "/events/" in path]
    assert (event["regarding"]["kind"], event["regarding"]["uid"]) == (names.BATCH_KIND, "batch-uid")
    assert server.objects[BATCH_PATH]["status"] == {"observedGeneration": 3, "phase": "Working", "attempt": 1}


def test_a_job_that_was_created_by_a_pass_before_is_left_as_it_is(
    cluster: KubernetesBatches, server: FakeApiServer
) -> None:
    batch = a_batch(server)
    before = server.put(f"{JOBS}/weekly-work", **a_job_manifest())
    cluster.apply(batch, BatchPlan(creates=(Create(manifest=a_job_manifest()),)), now=NOW)

    assert server.objects[f"{JOBS}/weekly-work"] == before


def test_a_job_of_somebody_else_is_reported_and_left_alone(cluster: KubernetesBatches, server: FakeApiServer) -> None:
    batch = a_batch(server)
    before = server.put(f"{JOBS}/weekly-work", spec={"parallelism": 9})
    with pytest.raises(ForeignObject, match="Job weekly-work"):
        cluster.apply(batch, BatchPlan(creates=(Create(manifest=a_job_manifest()),)), now=NOW)

    assert server.objects[f"{JOBS}/weekly-work"] == before


def test_a_job_that_is_gone_needs_no_patch(cluster: KubernetesBatches, server: FakeApiServer) -> None:
    batch = a_batch(server)
    cluster.apply(batch, BatchPlan(patches=(Patch(ref=job_ref("gone"), spec={"suspend": True}),)), now=NOW)

    assert server.writes() == [("PATCH", "gone")]
