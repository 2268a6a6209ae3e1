"""The operator's port ``Batches`` on this machine: reads runs, Jobs, workers and the endpoint; writes plans. Decides nothing."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

from modelendpoint.local.events import EventLog, Subject
from modelendpoint.local.node import Node
from modelendpoint.local.objects import Key, Object, ObjectStore, key_of
from modelendpoint.local.pods import Pod
from modelendpoint.local.relocation import LOOPBACK
from modelendpoint_operator import names
from modelendpoint_operator.adapters.batch_reduction import (
    is_telling,
    parse_word,
    reduce_endpoint,
    reduce_job,
    reduce_runs,
    reduce_worker,
)
from modelendpoint_operator.adapters.reports import ReportReader
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.batch.observation import BatchObservation, EndpointSeen, Word
from modelendpoint_operator.batch.plan import BatchPlan
from modelendpoint_operator.errors import ForeignObject


class LocalBatches:
    """The batch predictions of one instance. Every pass reads afresh, as on a cluster."""

    def __init__(
        self,
        store: ObjectStore,
        node: Node,
        events: EventLog,
        *,
        pool: ThreadPoolExecutor,
        as_written: Callable[[str], str],
    ) -> None:
        self._store = store
        self._node = node
        self._events = events
        self._pool = pool
        self._as_written = as_written

    def find(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read a BatchPrediction; None when it is gone."""
        return self._store.get(names.BATCH_KIND, namespace, name)

    def observe(self, batch: BatchPrediction) -> BatchObservation:
        """Read the runs of a schedule; or a run's Jobs and pods, and the endpoint as long as its model is not settled."""
        owned = self._store.owned(batch.uid)
        if batch.spec.schedule is not None:
            return BatchObservation(runs=reduce_runs(body for body in owned if body["kind"] == names.BATCH_KIND))
        jobs = [body for body in owned if body["kind"] == "Job"]
        pods = [pod for job in jobs for pod in self._node.pods_of(job["metadata"]["uid"])]
        words = self._ask(pods)
        workers = [reduce_worker(pod.body, words.get(pod.name)) for pod in pods]
        return BatchObservation(
            jobs=tuple(job for job in map(reduce_job, jobs) if job),
            workers=tuple(worker for worker in workers if worker),
            endpoint=self._endpoint(batch),
        )

    def apply(self, batch: BatchPrediction, plan: BatchPlan, *, now: datetime) -> None:
        """Carry out a plan, in its order."""
        for gone in plan.deletes:
            self._store.delete(Key(gone.ref.kind, batch.namespace, gone.ref.name), uid=gone.uid)
        for new in plan.creates:
            self._create(batch, new.manifest, now=now)
        for change in plan.patches:
            self._store.merge(Key(change.ref.kind, batch.namespace, change.ref.name), change.spec)
        subject = Subject(
            kind=names.BATCH_KIND,
            namespace=batch.namespace,
            name=batch.name,
            uid=batch.uid,
            version=batch.status.attempt,
        )
        for note in plan.events:
            self._events.tell(subject, replace(note, message=self._as_written(note.message)), now=now)
        if plan.status is not None:
            status = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
            self._store.set_status(Key(names.BATCH_KIND, batch.namespace, batch.name), uid=batch.uid, status=status)

    def _endpoint(self, batch: BatchPrediction) -> EndpointSeen | None:
        reference = batch.spec.endpoint_ref
        if reference is None or batch.status.model is not None:
            return None
        body = self._store.get(names.KIND, batch.namespace, reference.name)
        if body is None:
            return None
        owned = self._store.owned(body["metadata"]["uid"])
        return reduce_endpoint(body, [one for one in owned if one["kind"] == "ControllerRevision"])

    def _ask(self, pods: Sequence[Pod]) -> dict[str, Word]:
        """Ask the pods that run how far they are; one that does not answer is asked again in the next pass."""
        telling = [pod for pod in pods if is_telling(pod.body)]
        words = (
            (pod.name, parse_word(found)) for pod, found in zip(telling, self._pool.map(_read, telling), strict=True)
        )
        return {name: word for name, word in words if word}

    def _create(self, batch: BatchPrediction, manifest: Object, *, now: datetime) -> None:
        key = key_of(manifest)
        found = self._store.get(*key)
        if found is None:
            self._store.apply(manifest, now=now)
        elif all(owner["uid"] != batch.uid for owner in found["metadata"].get("ownerReferences") or []):
            raise ForeignObject(f"{key.kind} {key.name}")


def _read(pod: Pod) -> object:
    assert pod.launch is not None
    return ReportReader(port=pod.launch.ports[names.MANAGEMENT_PORT]).read_document(LOOPBACK)
