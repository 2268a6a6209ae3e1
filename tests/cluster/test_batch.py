"""Batch predictions on a real cluster, with an S3 store: a million rows, kills, a schedule, and errors within seconds."""

import io
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from modelendpoint_operator import names
from support import onnx_models
from support.cluster import REPOSITORY, Cluster
from support.endpoints import MODELS, Endpoint
from support.installation import HOME, wait_for_operator
from support.kstatus import kstatus
from support.store import BUCKET, SECRET, Store, store_in

pytestmark = pytest.mark.usefixtures("operator")

ROWS = 1_000_000
FILES = 4
MODEL = MODELS["1"]
HEADER = "id,a,b,c"
SMALL_SHARDS = {"shardRows": 5_000, "parallelism": 3}
OPERATOR = "app.kubernetes.io/component=operator"
TOO_LARGE = {"requests": {"cpu": "1000", "memory": "192Mi"}, "limits": {"memory": "1Gi"}}
RESOURCES = {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "1Gi"}}

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """A namespace with a store that holds the input."""

    cluster: Cluster
    namespace: str
    store: Store

    def kubectl(self, verb: str, *arguments: str, **options: Any) -> str:
        return self.cluster.kubectl(verb, "-n", self.namespace, *arguments, **options)

    def evict(self, pod: str) -> None:
        """End a pod as a drained node does."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.namespace},
        }
        self.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    def put_rows(self, key: str, rows: Numbers) -> None:
        """Store rows as a CSV file."""
        text = io.StringIO()
        np.savetxt(text, rows, fmt="%d,%.3f,%.3f,%.3f", header=HEADER, comments="")
        self.store.put(key, text.getvalue().encode())


@dataclass(frozen=True)
class Batch:
    """One BatchPrediction, driven as its author drives it."""

    place: Place
    name: str

    def apply(self, **spec: Any) -> "Batch":
        credentials = {"credentialsSecretRef": {"name": SECRET}}
        fields = {
            "model": {"uri": "configmap://models/1.onnx", "version": "1"},
            "input": {"uri": f"s3://{BUCKET}/million/", **credentials},
            "output": {"uri": f"s3://{BUCKET}/out/{self.name}/", **credentials},
            "columns": {"features": ["a", "b", "c"], "passThrough": ["id"]},
            "shardRows": 100_000,
            "parallelism": 2,
            "resources": RESOURCES,
            **spec,
        }
        kept = {field: value for field, value in fields.items() if value is not None}
        document = {"apiVersion": names.API_VERSION, "kind": names.BATCH_KIND, "metadata": {"name": self.name}}
        self.place.cluster.apply({**document, "spec": kept}, namespace=self.place.namespace)
        return self

    def wait(self, condition: str = "Complete", *, seconds: int = 300) -> "Batch":
        self.place.kubectl(
            "wait", f"bp/{self.name}", f"--for=condition={condition}", f"--timeout={seconds}s", timeout=seconds + 60
        )
        return self

    def until(self, what: Callable[[], Any], seconds: float = 120) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < deadline, f"Not within {seconds} s: {json.dumps(self.status, indent=1)}"
            time.sleep(0.3)
        return found

    @property
    def body(self) -> dict[str, Any]:
        return dict(self.place.cluster.get("bp", self.name, namespace=self.place.namespace))

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.body.get("status", {}))

    def condition(self, kind: str) -> dict[str, Any]:
        return next(told for told in self.status["conditions"] if told["type"] == kind)

    def workers(self) -> list[str]:
        """Names of the worker pods that run."""
        selector = f"{names.LABEL_BATCH}={self.name},{names.LABEL_BATCH_STAGE}=work"
        pods = self.place.cluster.get("pods", namespace=self.place.namespace, selector=selector)
        return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]

    def manifest(self) -> dict[str, Any]:
        return dict(json.loads(self._read(self.status["manifest"])))

    def scores(self) -> Numbers:
        """Read all that the manifest names: id and score, in the order of ids."""
        prefix = f"s3://{BUCKET}/out/{self.name}/"
        files = [file["path"] for shard in self.manifest()["shards"] for file in shard["files"]]
        parts = [self._read(f"{prefix}{path}") for path in files if not path.startswith("errors/")]
        rows = np.concatenate([np.loadtxt(io.BytesIO(part), delimiter=",", skiprows=1, ndmin=2) for part in parts])
        return np.asarray(rows[np.argsort(rows[:, 0], kind="stable")], dtype=np.float64)

    def digests(self) -> list[tuple[str, str]]:
        """Name each file of the output with its digest."""
        shards = self.manifest()["shards"]
        return sorted((file["path"], file["sha256"]) for shard in shards for file in shard["files"])

    def events(self) -> list[str]:
        found = self.place.cluster.get("events.events.k8s.io", namespace=self.place.namespace)
        return [event["reason"] for event in found if event["regarding"]["name"] == self.name]

    def _read(self, uri: str) -> bytes:
        return self.place.store.get(uri.removeprefix(f"s3://{BUCKET}/"))


def some_rows(count: int, *, seed: int = 7) -> Numbers:
    """Make rows of an id and three features with three decimals, which CSV keeps exactly."""
    features = np.random.default_rng(seed).integers(-9999, 9999, size=(count, 3)) / 1000
    return np.column_stack([np.arange(count), features])


def expected(rows: Numbers) -> Numbers:
    return np.asarray(MODEL.compute(rows[:, 1:].astype(np.float32))[:, 0], dtype=np.float64)


def assert_scores(batch: Batch, rows: Numbers) -> None:
    """Check that each row of the input is in the output once, with what the model computes."""
    scores = batch.scores()
    assert np.array_equal(scores[:, 0], rows[:, 0])
    assert np.allclose(scores[:, 1], expected(rows), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[Place]:
    """A namespace with models, a store, and a million rows in it."""
    namespace = f"t-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", namespace)
    Endpoint(cluster, namespace).create_models()
    with store_in(namespace, cluster.kubectl, cluster.port_forward) as store:
        place = Place(cluster, namespace, store)
        for number, rows in enumerate(np.split(some_rows(ROWS), FILES)):
            place.put_rows(f"million/{number}.csv", rows)
        yield place
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module", autouse=True)
def begun(place: Place) -> None:
    """Start what takes its minutes: it goes on beside the other tests, and the last ones look at what came of it."""
    place.put_rows("small/rows.csv", some_rows(1000))
    small, output = s3("small/rows.csv"), s3("out/minutely/{{ .ScheduledTime }}/")
    # Its runs name a Secret that the operator itself may not get: the admission policy lets its own runs through.
    Batch(place, "minutely").apply(schedule={"cron": "* * * * *"}, input=small, output=output)
    # Its runs never start, as no node has that many cores.
    output = s3("out/stuck/{{ .ScheduledTime }}/")
    Batch(place, "stuck").apply(schedule={"cron": "* * * * *"}, input=small, output=output, resources=TOO_LARGE)
    Endpoint(place.cluster, place.namespace).apply("1")
    Batch(place, "by-endpoint").apply(model=None, endpointRef={"name": "churn"}, input=s3("million/0.csv"))


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> Batch:
    """A run over all rows that nothing happened to."""
    return Batch(place, "undisturbed").apply(**SMALL_SHARDS).wait()


def test_a_missing_column_is_an_error_within_seconds(place: Place) -> None:
    place.store.put("lacking/rows.csv", b"id,a,b\n1,2,3\n")
    begin = time.monotonic()
    batch = Batch(place, "lacking").apply(input=s3("lacking/rows.csv")).wait("Failed", seconds=60)
    seconds = time.monotonic() - begin

    told = batch.condition("Stalled")
    assert told["reason"] == "MissingColumn"
    assert "c" in told["message"] and "lacking" in told["message"]
    assert kstatus(batch.body) == "Failed"
    assert seconds < 30, f"{seconds:.1f} s"
    jobs = place.cluster.get("jobs", namespace=place.namespace, selector=f"{names.LABEL_BATCH}=lacking")
    assert [job["metadata"]["name"] for job in jobs] == ["lacking-plan"]


def s3(key: str) -> dict[str, Any]:
    return {"uri": f"s3://{BUCKET}/{key}", "credentialsSecretRef": {"name": SECRET}}


def test_a_million_rows_are_predicted_once_each(undisturbed: Batch) -> None:
    status = undisturbed.status
    progress = status["progress"]
    assert (progress["rowsIn"], progress["rowsOut"], progress["rowsRejected"]) == (ROWS, ROWS, 0)
    assert (progress["text"], progress["shards"]) == (f"{ROWS}/{ROWS}", progress["shardsDone"])
    assert status["model"]["sha256"] == MODEL.sha256 == undisturbed.manifest()["model"]["sha256"]
    assert_scores(undisturbed, some_rows(ROWS))
    assert kstatus(undisturbed.body) == "Current"
    assert sorted(undisturbed.events()) == ["Complete", "Planned", "Started"]
    table = undisturbed.place.kubectl("get", "bp", "undisturbed")
    assert f"{ROWS}/{ROWS}" in table


@pytest.mark.alone
def test_workers_and_the_operator_that_are_killed_change_no_byte(undisturbed: Batch) -> None:
    place = undisturbed.place
    batch = Batch(place, "killed").apply(retries=50, **SMALL_SHARDS)
    batch.until(lambda: batch.status.get("phase") == "Working")
    killed: dict[str, list[str]] = {"force": [], "evict": []}
    batch.until(lambda: len(batch.workers()) == SMALL_SHARDS["parallelism"])
    for pod in batch.workers():
        # After a failure Kubernetes waits 10 s before the index is worked again, so each is killed once; evictions are free.
        place.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        killed["force"].append(pod)
    place.cluster.kubectl("delete", "pod", "-n", HOME, "-l", OPERATOR, "--grace-period=0", "--force")
    fresh = batch.until(lambda: set(batch.workers()) - set(killed["force"]))
    for pod in fresh:
        place.evict(pod)
        killed["evict"].append(pod)
    wait_for_operator(place.cluster)
    batch.wait()

    assert batch.digests() == undisturbed.digests()
    assert (batch.status["progress"]["rowsOut"], batch.events().count("Complete")) == (ROWS, 1)


def test_bad_rows_are_listed_and_the_others_predicted(place: Place) -> None:
    place.store.put("poison/rows.csv", b"id,a,b,c\n1,1,2,3\n2,x,2,3\n3,4,5,6\n")
    strict = Batch(place, "strict").apply(input=s3("poison/rows.csv"), errorThreshold={"rows": 0})
    batch = Batch(place, "poison").apply(input=s3("poison/rows.csv"), errorThreshold={"rows": 1}).wait()

    progress = batch.status["progress"]
    assert (progress["rowsIn"], progress["rowsOut"], progress["rowsRejected"]) == (3, 2, 1)
    assert [row[0] for row in batch.scores()] == [1, 3]
    assert strict.wait("Failed").condition("Failed")["reason"] == "ErrorThresholdExceeded"


def test_a_run_whose_secret_comes_late_goes_on_by_a_retry(place: Place) -> None:
    place.store.put("late/rows.csv", b"id,a,b,c\n1,1,2,3\n")
    late = {**s3("late/rows.csv"), "credentialsSecretRef": {"name": "late"}}
    batch = Batch(place, "late").apply(input=late, retries=0).wait("Failed", seconds=120)
    assert f"retry={batch.status['attempt']}" in batch.condition("Stalled")["message"]
    secret = place.cluster.get("secret", SECRET, namespace=place.namespace)
    copied = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "data": secret["data"]}
    place.cluster.apply(copied, namespace=place.namespace)
    place.kubectl("annotate", "bp/late", f"{names.ANNOTATION_RETRY}=1")
    batch.wait()

    assert batch.status["attempt"] == 2
    assert len(batch.scores()) == 1


@pytest.mark.alone
def test_with_the_operator_down_a_run_works_on_and_deletion_ends(place: Place) -> None:
    batch = Batch(place, "alone").apply(input=s3("million/0.csv"), shardRows=20_000)
    batch.until(lambda: batch.status.get("phase") == "Working" and batch.workers())
    place.cluster.kubectl("scale", "-n", HOME, "deployment", "-l", OPERATOR, "--replicas=0")
    try:
        place.kubectl("wait", "job/alone-work", "--for=condition=Complete", "--timeout=120s")
    finally:
        place.cluster.kubectl("scale", "-n", HOME, "deployment", "-l", OPERATOR, "--replicas=1")
    batch.wait(seconds=60)
    place.kubectl("delete", "bp/alone", "--timeout=30s")
    selector = f"{names.LABEL_BATCH}=alone"
    deadline = time.monotonic() + 60
    while place.cluster.get("jobs,pods", namespace=place.namespace, selector=selector):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_namespace_with_a_failed_worker_ends(place: Place) -> None:
    cluster, other = place.cluster, Place(place.cluster, f"{place.namespace}-b", place.store)
    cluster.kubectl("create", "namespace", other.namespace)
    Endpoint(cluster, other.namespace).create_models()
    secret = cluster.get("secret", SECRET, namespace=place.namespace)
    copied = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": secret["data"]}
    cluster.apply(copied, namespace=other.namespace)
    # One worker for all shards: it must not be done before it is told to end.
    batch = Batch(other, "failing").apply(**{**SMALL_SHARDS, "parallelism": 1})
    pod = batch.until(batch.workers)[0]
    # It is told to end and does so with an error. There will be another, in 10 seconds.
    other.kubectl("delete", "pod", pod, "--wait=false")
    batch.until(lambda: cluster.get("pod", pod, namespace=other.namespace)["status"]["phase"] == "Failed")
    cluster.kubectl("delete", "namespace", other.namespace, "--timeout=90s", timeout=120)


def test_the_example_does_what_its_page_says(place: Place) -> None:
    file = REPOSITORY / "examples/02-model-in-a-configmap/model.onnx"
    scoring = onnx_models.linear_model([0.5, -1.5, 2.0], intercept=1.0)
    place.kubectl("create", "configmap", "scoring-model", f"--from-file={file}")
    place.put_rows("customers/1.csv", some_rows(1200))
    text = (REPOSITORY / "examples/05-batch/batch.yaml").read_text()
    place.kubectl("apply", "-f", "-", stdin=text)
    place.kubectl("wait", "bp/scores", "--for=condition=Complete", "--timeout=3m")
    table = place.kubectl("get", "bp", "scores")
    assert "1200/1200" in table

    manifest = json.loads(place.store.get("scores/2026-11/_MANIFEST.json"))
    assert manifest["model"]["sha256"] == scoring.sha256
    assert manifest["rowsOut"] == 1200


def test_a_run_takes_the_stable_revision_of_an_endpoint(place: Place) -> None:
    batch = Batch(place, "by-endpoint").wait()
    place.kubectl("delete", "mep/churn", "--wait=false")

    model = batch.status["model"]
    assert (model["endpoint"], model["revision"], model["sha256"]) == ("churn", 1, MODEL.sha256)
    assert_scores(batch, some_rows(ROWS)[: ROWS // FILES])


def test_a_schedule_starts_runs(place: Place) -> None:
    batch = Batch(place, "minutely")
    batch.until(lambda: batch.status.get("schedule", {}).get("lastSuccessfulTime"), 90)
    runs = place.cluster.get("bp", namespace=place.namespace, selector=f"{names.LABEL_SCHEDULE}=minutely")
    run = next(run for run in runs if run["status"].get("phase") == "Complete")
    minute = run["metadata"]["annotations"][names.ANNOTATION_SCHEDULED_AT]
    assert run["spec"]["output"]["uri"].endswith(f"/{minute[:16].replace('-', '').replace(':', '')}/")
    assert run["metadata"]["ownerReferences"][0]["name"] == "minutely"
    assert run["status"]["progress"]["rowsOut"] == 1000
    assert kstatus(batch.body) == "Current"
    place.kubectl("delete", "bp/minutely", "--timeout=30s")


def test_a_schedule_reports_a_run_that_is_skipped(place: Place) -> None:
    batch = Batch(place, "stuck")
    batch.until(lambda: batch.status.get("schedule", {}).get("lastMissed", {}).get("reason") == "StillRunning", 150)
    assert "RunMissed" in batch.events()
    assert len(batch.status["schedule"]["active"]) == 1
    place.kubectl("delete", "bp/stuck", "--timeout=30s")
