"""A toy world for BatchPredictions: one namespace in memory, on time that stands still until moved.

The operator's own adapter works on it through ``MemoryApi``. The cluster does what Kubernetes does: Jobs get pods,
pods end, Jobs are complete or failed. Workers do what ours do, on a store that remembers every commit. Like the real
operator it takes a pass only when a watch would have told of something, when the last plan asked to look again, or at
a resync.
"""

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.adapters.api_server import BATCH_PREDICTIONS, ENDPOINTS, JOBS, PODS, ApiServer, Resource
from modelendpoint_operator.adapters.batch_reduction import INDEX_ANNOTATION
from modelendpoint_operator.adapters.batches import KubernetesBatches
from modelendpoint_operator.adapters.notes import EventWriter
from modelendpoint_operator.adapters.reports import ReportReader
from modelendpoint_operator.batch.plan import BatchPlan
from modelendpoint_operator.batch_reconciler import BatchReconciler
from modelendpoint_operator.errors import ClusterUnavailable, NamespaceEnding
from modelendpoint_operator.handlers.keys import parent_of
from modelendpoint_operator.settings import Settings

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TURN = timedelta(seconds=1)
RESYNC_TURNS = 60
NAMESPACE = "shop"
PASSES_AT_ONCE = 6
"""More passes without anything happening in the cluster means that the operator answers its own writes for ever."""

Body = dict[str, Any]


class Crash(Exception):
    """The operator was killed in the middle of a pass."""


class SameThread(ThreadPoolExecutor):
    """Works in the thread of the caller."""

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:
        return map(fn, *iterables)


class MemoryApi(ApiServer):
    """The API server, as far as the adapter of BatchPredictions uses it."""

    def __init__(self) -> None:
        self.now = EPOCH
        self.objects: dict[tuple[str, str], Body] = {}
        self.writes = 0
        self.crash_at: int | None = None
        self.down = False
        self.ends = False
        """Whether the namespace is being deleted."""
        self.news: set[str] = set()
        """BatchPredictions that a watch has told of."""
        self._count = 0

    def get(self, resource: Resource, namespace: str, name: str) -> Body | None:
        return copy.deepcopy(self.objects.get((resource.kind, name)))

    def list(self, resource: Resource, namespace: str | None, *, labels: str = "") -> list[Body]:
        if self.down:
            raise ClusterUnavailable("connection refused")
        key, _, value = labels.partition("=")
        bodies = [body for (kind, _), body in self.objects.items() if kind == resource.kind]
        return copy.deepcopy([body for body in bodies if body["metadata"].get("labels", {}).get(key) == value])

    def create(self, resource: Resource, namespace: str, manifest: Mapping[str, Any]) -> Body | None:
        self._before_write()
        if self.ends:
            raise NamespaceEnding("the namespace is being terminated")
        if (resource.kind, manifest["metadata"]["name"]) in self.objects:
            return None
        return self.put(resource.kind, copy.deepcopy(dict(manifest)))

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        self._before_write()
        body = self.objects.get((resource.kind, name))
        if body is not None and body["metadata"]["uid"] == uid:
            self.remove(resource.kind, name)

    def merge(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        self._before_write()
        body = self.objects[resource.kind, name]
        body["spec"].update(patch["spec"])
        self.tell(body)

    def apply(self, resource: Resource, manifest: Mapping[str, Any], *, subresource: str | None = None) -> Body:
        self._before_write()
        assert subresource == "status"
        body = self.objects[resource.kind, manifest["metadata"]["name"]]
        assert body["metadata"]["uid"] == manifest["metadata"]["uid"]
        body["status"] = json.loads(json.dumps(manifest["status"]))
        self.tell(body)
        return body

    def is_ending(self, namespace: str) -> bool:
        return self.ends

    # What the cluster and people do.

    def put(self, kind: str, body: Body) -> Body:
        """Store an object; the API server adds what it knows."""
        self._count += 1
        body["metadata"] = {
            "uid": f"{self._count:08d}-uid",
            "namespace": NAMESPACE,
            "generation": 1,
            "creationTimestamp": self.now.isoformat().replace("+00:00", "Z"),
            **body["metadata"],
        }
        if kind == BATCH_PREDICTIONS.kind:
            body.setdefault("status", {"observedGeneration": -1})
        self.objects[kind, body["metadata"]["name"]] = body
        self.tell(body)
        return body

    def remove(self, kind: str, name: str) -> None:
        """Delete an object, and with it all that it owns."""
        body = self.objects.pop((kind, name))
        self.tell(body)
        uid = body["metadata"]["uid"]
        owned = [
            key
            for key, other in self.objects.items()
            if any(owner["uid"] == uid for owner in other["metadata"].get("ownerReferences", []))
        ]
        for key in owned:
            if key in self.objects:
                self.remove(*key)

    def tell(self, body: Body) -> None:
        """Let the watch tell of an object, as ``handlers/events.py`` does."""
        metadata = body["metadata"]
        if (BATCH_PREDICTIONS.kind, metadata["name"]) in self.objects and "Job" not in str(body.get("kind")):
            self.news.add(metadata["name"])
        parent = parent_of(metadata)
        if parent is not None:
            self.news.add(parent.name)

    def _before_write(self) -> None:
        if self.crash_at is not None and self.writes >= self.crash_at:
            self.crash_at = None
            raise Crash
        self.writes += 1


@dataclass
class Store:
    """The input, and what workers have committed."""

    shards: list[int] = field(default_factory=lambda: [100, 100, 100, 50])
    """Rows of each shard."""
    rejected: dict[int, int] = field(default_factory=dict)
    """Rejected rows by shard."""
    counts_rows: bool = True
    """Whether the plan knows the number of rows."""
    commits: dict[str, list[int]] = field(default_factory=dict)
    """Shards in the order of their commits, by run."""
    manifests: dict[str, Body] = field(default_factory=dict)

    def numbers(self, shards: Iterable[int]) -> Body:
        """Sum up shards."""
        shards = list(shards)
        rows, rejected = sum(self.shards[n] for n in shards), sum(self.rejected.get(n, 0) for n in shards)
        return {"rowsIn": rows, "rowsOut": rows - rejected, "rowsRejected": rejected, "shardsDone": len(shards)}


class Reports(ReportReader):
    """Asks a pod of the world by its address, which is its name."""

    def __init__(self, world: "BatchWorld") -> None:
        super().__init__()
        self._world = world

    def read_document(self, address: str) -> object:
        return self._world.report_of(address)


class BatchWorld:
    """The namespace, its cluster, and the operator."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.store = Store()
        self.settings = Settings(server_image="server:1")
        self.ages: dict[str, int] = {}
        self.failing: dict[str, Body] = {}
        """What the pods of a stage say when they end with exit code 42."""
        self.flaky: dict[str, int] = {}
        """How many pods of a Job end with exit code 1 before one does its work."""
        self.deaf = False
        """Whether every watch event is lost."""
        self.turns = 0
        adapter = KubernetesBatches(
            self.api,
            reports=Reports(self),
            events=EventWriter(self.api, reporter="pod-1"),
            pool=SameThread(1),
        )
        self.reconciler = BatchReconciler(adapter, self.settings, clock=lambda: self.now)
        self._wake: dict[str, datetime] = {}

    # What people do.

    @property
    def now(self) -> datetime:
        return self.api.now

    def apply(self, name: str = "weekly", **spec: Any) -> None:
        """Create or change a BatchPrediction."""
        found = self.api.objects.get((BATCH_PREDICTIONS.kind, name))
        if found is None:
            body = {"metadata": {"name": name}, "spec": {**a_spec(), **spec}}
            self.api.put(BATCH_PREDICTIONS.kind, body)
            return
        changed = {**found["spec"], **spec}
        found["spec"] = {key: value for key, value in changed.items() if value is not None}
        found["metadata"]["generation"] += 1
        self.api.tell(found)

    def annotate(self, value: str, *, name: str = "weekly") -> None:
        """Order a retry."""
        body = self.body(name)
        body["metadata"].setdefault("annotations", {})[names.ANNOTATION_RETRY] = value
        self.api.tell(body)

    def put_endpoint(self, *, stable: int | None = 1, revisions: Iterable[int] = (1,)) -> None:
        """Create the ModelEndpoint ``churn`` with its revisions."""
        status = {"stable": {"revision": stable}} if stable else {}
        body = self.api.put(ENDPOINTS.kind, {"metadata": {"name": "churn"}, "status": status})
        for number in revisions:
            model = {"uri": f"s3://models/churn/{number}.onnx", "version": str(number)}
            metadata = {
                "name": f"churn-r{number}",
                "labels": {names.LABEL_ENDPOINT: "churn", names.LABEL_REVISION: str(number)},
                "annotations": {names.ANNOTATION_SHA256: f"{number:064x}"},
                "ownerReferences": [{"uid": body["metadata"]["uid"]}],
            }
            data = {"model": model, "server": {}, "serverImage": "server:1"}
            record = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number, "data": data}
            self.api.put("ControllerRevision", {**record, "metadata": metadata})

    def kill(self, pod: str) -> None:
        """Kill a pod as a lost node or the OOM killer does: it says nothing."""
        self._end(self.api.objects["Pod", pod], exit_code=137, word=None)

    # What is seen.

    def body(self, name: str = "weekly") -> Body:
        """A BatchPrediction as it is stored."""
        return self.api.objects[BATCH_PREDICTIONS.kind, name]

    def status(self, name: str = "weekly") -> Body:
        """Its status."""
        return dict(self.body(name)["status"])

    def condition(self, kind: str, name: str = "weekly") -> Body | None:
        """One of its conditions."""
        found = (told for told in self.status(name).get("conditions", []) if told["type"] == kind)
        return next(found, None)

    def reason(self, name: str = "weekly") -> str:
        """What it is doing, in one word."""
        ready = self.condition("Ready", name)
        return ready["reason"] if ready else ""

    def kept(self, kind: str) -> list[str]:
        """Names of the objects of a kind."""
        return sorted(name for found, name in self.api.objects if found == kind)

    def told(self) -> list[str]:
        """Reasons of the Events so far."""
        return [body["reason"] for (kind, _), body in self.api.objects.items() if kind == "Event"]

    def running(self) -> list[str]:
        """Names of the pods that run."""
        return [body["metadata"]["name"] for body in self._pods() if body["status"]["phase"] == "Running"]

    # Time.

    def turn(self, count: int = 1) -> None:
        """Let the cluster work and time pass; the operator looks when it would."""
        for _ in range(count):
            self.turns += 1
            self.api.now += TURN
            self._run_jobs()
            self._look()

    def until(self, reason: str, *, name: str = "weekly", turns: int = 120) -> None:
        """Go on until a BatchPrediction has a reason."""
        for _ in range(turns):
            if (BATCH_PREDICTIONS.kind, name) in self.api.objects and self.reason(name) == reason:
                return
            self.turn()
        raise AssertionError(f"{self.reason(name)} instead of {reason}: {self.condition('Ready', name)}")

    def trace(self, *, name: str = "weekly", turns: int = 60) -> list[str]:
        """Go on and note each change of what it is doing."""
        seen = [self.reason(name)]
        for _ in range(turns):
            self.turn()
            if self.reason(name) != seen[-1]:
                seen.append(self.reason(name))
        return [reason for reason in seen if reason]

    def move_to(self, time: datetime) -> None:
        """Let time pass with the operator down."""
        self.api.now = time
        self.api.news.clear()
        self._wake = {name: time for name in self.kept(BATCH_PREDICTIONS.kind)}
        self._look()

    def reconcile(self, name: str) -> BatchPlan | None:
        """Take a pass; a second one right after it must have nothing to write unless the first says so."""
        plan = self.reconciler.reconcile(NAMESPACE, name)
        if plan is not None and plan.look_again_after != timedelta(0):
            again = self.reconciler.reconcile(NAMESPACE, name)
            assert again is None or again.is_empty, again
        return plan

    def _look(self) -> None:
        resync = self.turns % RESYNC_TURNS == 0
        for _ in range(PASSES_AT_ONCE):
            due = {name for name, time in self._wake.items() if time <= self.now}
            told = set() if self.deaf else set(self.api.news)
            looking = sorted(due | told | (set(self.kept(BATCH_PREDICTIONS.kind)) if resync else set()))
            self.api.news.clear()
            resync = False
            if not looking:
                return
            for name in looking:
                self._pass(name)
        raise AssertionError("the operator answers its own writes")

    def _pass(self, name: str) -> None:
        self._wake.pop(name, None)
        try:
            plan = self.reconcile(name)
        except (Crash, ClusterUnavailable):
            self._wake[name] = self.now + TURN  # it starts again, and its watch begins with everything
            return
        if plan is not None and plan.look_again_after is not None:
            self._wake[name] = self.now + plan.look_again_after

    # The Job controller.

    def _pods(self, job: str | None = None) -> list[Body]:
        bodies = [body for (kind, _), body in self.api.objects.items() if kind == PODS.kind]
        return [body for body in bodies if job is None or body["metadata"]["job"] == job]

    def _run_jobs(self) -> None:
        for name in self.kept(JOBS.kind):
            job = self.api.objects[JOBS.kind, name]
            if not _has_ended(job):
                self._run_job(name, job)

    def _run_job(self, name: str, job: Body) -> None:
        spec = job["spec"]
        if spec["suspend"]:
            for pod in self._pods(name):
                if pod["status"]["phase"] in ("Pending", "Running"):
                    self.api.remove("Pod", pod["metadata"]["name"])
            return
        for pod in self._pods(name):
            self._run_pod(pod)
        pods = self._pods(name)
        done = {_index(pod) for pod in pods if pod["status"]["phase"] == "Succeeded"} | set(job.get("done", ()))
        job["done"] = sorted(done)
        failed = [pod for pod in pods if pod["status"]["phase"] == "Failed"]
        limit = spec.get("backoffLimitPerIndex", spec.get("backoffLimit"))
        counts = {index: sum(_index(pod) == index for pod in failed) for index in range(spec["completions"])}
        if any(_exit_code(pod) == 42 for pod in failed):
            self._end_job(job, "Failed", reason="PodFailurePolicy")
        elif any(count > limit for count in counts.values()):
            self._end_job(job, "Failed", reason="FailedIndexes")
        elif len(done) == spec["completions"]:
            self._end_job(job, "Complete", reason="CompletionsReached")
        else:
            self._start_pods(name, job, done)

    def _start_pods(self, name: str, job: Body, done: set[int]) -> None:
        active = [pod for pod in self._pods(name) if pod["status"]["phase"] in ("Pending", "Running")]
        wanted = [n for n in range(job["spec"]["completions"]) if n not in done | {_index(pod) for pod in active}]
        for index in wanted[: job["spec"]["parallelism"] - len(active)]:
            template = job["spec"]["template"]
            metadata = {
                "name": f"{name}-{index}-{self.turns}",
                "job": name,
                "labels": template["metadata"]["labels"],
                "annotations": {INDEX_ANNOTATION: str(index)},
                "ownerReferences": [{"uid": job["metadata"]["uid"]}],
            }
            self.api.put(
                PODS.kind,
                {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}, "kind": "Pod"},
            )

    def _end_job(self, job: Body, kind: str, *, reason: str) -> None:
        job["status"] = {"conditions": [{"type": kind, "status": "True", "reason": reason, "message": ""}]}
        for pod in self._pods(job["metadata"]["name"]):
            if pod["status"]["phase"] in ("Pending", "Running"):
                self.api.remove("Pod", pod["metadata"]["name"])
        self.api.tell(job)

    # The workers.

    def _run_pod(self, pod: Body) -> None:
        name, phase = pod["metadata"]["name"], pod["status"]["phase"]
        if phase == "Pending":
            pod["status"] = {"phase": "Running", "podIP": name}
            self.api.tell(pod)
        elif phase == "Running":
            self._work(pod)

    def _work(self, pod: Body) -> None:
        stage = pod["metadata"]["labels"][names.LABEL_BATCH_STAGE]
        if stage in self.failing:
            self._end(pod, exit_code=42, word={"state": "Failed", **self.failing[stage]})
        elif self.flaky.get(pod["metadata"]["job"], 0) > 0:
            self.flaky[pod["metadata"]["job"]] -= 1
            word = {"state": "Failed", "reason": "StoreUnavailable", "message": "The store does not answer"}
            self._end(pod, exit_code=1, word=word)
        elif stage == "plan":
            shards = self.store.shards
            rows = sum(shards) if self.store.counts_rows else None
            self._end(
                pod, exit_code=0, word={"state": "Done", "shards": len(shards), "rows": rows, "sha256": "ab" * 32}
            )
        elif stage == "finish":
            self._end(pod, exit_code=0, word={"state": "Done", **self._write_manifest(_run(pod))})
        else:
            self._commit(pod)

    def _commit(self, pod: Body) -> None:
        """Commit one shard of the pod's index, unless it is committed."""
        run = _run(pod)
        committed = self.store.commits.setdefault(run, [])
        left = [shard for shard in self._own(pod) if shard not in committed]
        if left:
            committed.append(left[0])
        if len(left) <= 1:
            whole = len(committed) == len(self.store.shards)
            manifest = self._write_manifest(run) if whole else {}
            self._end(pod, exit_code=0, word={"state": "Done", **self._word(pod), **manifest})

    def _own(self, pod: Body) -> range:
        return range(_index(pod), len(self.store.shards), int(_environment(pod)[names.ENV_BATCH_WORKERS]))

    def _word(self, pod: Body) -> Body:
        committed = self.store.commits.get(_run(pod), [])
        return self.store.numbers(shard for shard in self._own(pod) if shard in committed)

    def report_of(self, name: str) -> Body | None:
        """What a worker reports while it runs."""
        pod = self.api.objects.get((PODS.kind, name))
        return None if pod is None else {"state": "Working", **self._word(pod)}

    def _write_manifest(self, run: str) -> Body:
        numbers = self.store.numbers(range(len(self.store.shards)))
        uri = f"s3://reports/{run}/_MANIFEST.json"
        self.store.manifests.setdefault(run, numbers)
        return {**numbers, "shards": len(self.store.shards), "manifest": uri}

    def _end(self, pod: Body, *, exit_code: int, word: Body | None) -> None:
        message = {"message": json.dumps(word)} if word is not None else {}
        reason = "Completed" if exit_code == 0 else "Error"
        ended = {"exitCode": exit_code, "reason": reason, "finishedAt": self.now.isoformat(), **message}
        pod["status"] = {
            "phase": "Failed" if exit_code else "Succeeded",
            "containerStatuses": [{"name": "worker", "state": {"terminated": ended}}],
        }
        self.api.tell(pod)


def a_spec() -> Body:
    """The spec of a BatchPrediction on a model."""
    return {
        "model": {"uri": "s3://models/churn/3/model.onnx", "version": "3"},
        "input": {"uri": "s3://customers/2026-01/"},
        "output": {"uri": "s3://reports/2026-01/"},
        "parallelism": 2,
    }


def a_schedule(cron: str = "0 * * * *", **schedule: Any) -> Body:
    """What a BatchPrediction needs besides to run again and again."""
    return {"schedule": {"cron": cron, **schedule}, "output": {"uri": "s3://reports/at={{ .ScheduledTime }}/"}}


def _has_ended(job: Body) -> bool:
    return bool(job.get("status", {}).get("conditions"))


def _index(pod: Body) -> int:
    return int(pod["metadata"]["annotations"][INDEX_ANNOTATION])


def _exit_code(pod: Body) -> int:
    return int(pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"])


def _environment(pod: Body) -> dict[str, str]:
    (container,) = pod["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def _run(pod: Body) -> str:
    return str(json.loads(_environment(pod)[names.ENV_BATCH])["run"])
