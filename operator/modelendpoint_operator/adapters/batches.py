"""The cluster as BatchPredictions need it: observe one, carry out a plan. Decides nothing."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Protocol

from modelendpoint_operator import names
from modelendpoint_operator.adapters.api_server import (
    BATCH_PREDICTIONS,
    ENDPOINTS,
    JOBS,
    PODS,
    REVISIONS,
    ApiServer,
    Object,
)
from modelendpoint_operator.adapters.batch_reduction import (
    is_held,
    is_telling,
    parse_word,
    reduce_endpoint,
    reduce_job,
    reduce_runs,
    reduce_worker,
)
from modelendpoint_operator.adapters.notes import EventWriter, Regarding
from modelendpoint_operator.adapters.reports import ReportReader
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.batch.observation import BatchObservation, EndpointSeen, Word
from modelendpoint_operator.batch.plan import BatchPlan
from modelendpoint_operator.errors import ForeignObject

_RESOURCES = {resource.kind: resource for resource in (JOBS, BATCH_PREDICTIONS)}


class Batches(Protocol):
    """What the reconciler needs of the place where BatchPredictions run."""

    def find(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read a BatchPrediction; None when it is gone or going."""

    def observe(self, batch: BatchPrediction) -> BatchObservation:
        """Read everything about one BatchPrediction."""

    def apply(self, batch: BatchPrediction, plan: BatchPlan, *, now: datetime) -> None:
        """Carry out a plan, in its order."""


class KubernetesBatches:
    """A Kubernetes cluster. Every pass reads afresh."""

    def __init__(self, api: ApiServer, *, reports: ReportReader, events: EventWriter, pool: ThreadPoolExecutor) -> None:
        self._api = api
        self._reports = reports
        self._events = events
        self._pool = pool

    def find(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read a BatchPrediction; None when it is gone or going."""
        body = self._api.get(BATCH_PREDICTIONS, namespace, name)
        return None if body is None or "deletionTimestamp" in body["metadata"] else body

    def observe(self, batch: BatchPrediction) -> BatchObservation:
        """Read the runs of a schedule; or a run's Jobs and pods, and the endpoint as long as its model is not settled."""
        if batch.spec.schedule is not None:
            labels = f"{names.LABEL_SCHEDULE}={batch.name}"
            runs = self._api.list(BATCH_PREDICTIONS, batch.namespace, labels=labels)
            return BatchObservation(runs=reduce_runs(run for run in runs if _is_owned(run, batch)))
        labels = f"{names.LABEL_BATCH}={batch.name}"
        jobs = [job for job in self._api.list(JOBS, batch.namespace, labels=labels) if _is_owned(job, batch)]
        uids = {job["metadata"]["uid"] for job in jobs}
        pods = [pod for pod in self._api.list(PODS, batch.namespace, labels=labels) if _owners(pod) & uids]
        words = self._ask(pods)
        workers = [reduce_worker(pod, words.get(pod["metadata"]["name"])) for pod in pods]
        return BatchObservation(
            jobs=tuple(job for job in map(reduce_job, jobs) if job),
            workers=tuple(worker for worker in workers if worker),
            endpoint=self._endpoint(batch),
            namespace_ends=any(map(is_held, pods)) and self._api.is_ending(batch.namespace),
        )

    def apply(self, batch: BatchPrediction, plan: BatchPlan, *, now: datetime) -> None:
        """Carry out a plan, in its order: what makes room first, and the status tells of all."""
        for gone in plan.deletes:
            self._api.delete(_RESOURCES[gone.ref.kind], batch.namespace, gone.ref.name, uid=gone.uid)
        for new in plan.creates:
            self._create(batch, new.manifest)
        for change in plan.patches:
            self._api.merge(_RESOURCES[change.ref.kind], batch.namespace, change.ref.name, {"spec": dict(change.spec)})
        subject = Regarding(
            resource=BATCH_PREDICTIONS,
            namespace=batch.namespace,
            name=batch.name,
            uid=batch.uid,
            version=batch.status.attempt,
        )
        for note in plan.events:
            self._events.write(subject, note, now=now)
        if plan.status is not None:
            self._api.apply(BATCH_PREDICTIONS, _with_status(batch, plan), subresource="status")

    def _endpoint(self, batch: BatchPrediction) -> EndpointSeen | None:
        reference = batch.spec.endpoint_ref
        if reference is None or batch.status.model is not None:
            return None
        body = self._api.get(ENDPOINTS, batch.namespace, reference.name)
        if body is None:
            return None
        labels = f"{names.LABEL_ENDPOINT}={reference.name}"
        revisions = self._api.list(REVISIONS, batch.namespace, labels=labels)
        return reduce_endpoint(body, [one for one in revisions if body["metadata"]["uid"] in _owners(one)])

    def _ask(self, pods: Iterable[Object]) -> dict[str, Word]:
        """Ask the pods that run how far they are; one that does not answer is asked again in the next pass."""
        telling = [pod for pod in pods if is_telling(pod)]
        documents = self._pool.map(lambda pod: self._reports.read_document(pod["status"]["podIP"]), telling)
        words = (
            (pod["metadata"]["name"], parse_word(document)) for pod, document in zip(telling, documents, strict=True)
        )
        return {name: word for name, word in words if word}

    def _create(self, batch: BatchPrediction, manifest: Mapping[str, Any]) -> None:
        resource, name = _RESOURCES[manifest["kind"]], manifest["metadata"]["name"]
        if self._api.create(resource, batch.namespace, manifest) is not None:
            return
        found = self._api.get(resource, batch.namespace, name)
        if found is not None and batch.uid not in _owners(found):
            raise ForeignObject(f"{resource.kind} {name}")


def _with_status(batch: BatchPrediction, plan: BatchPlan) -> Mapping[str, Any]:
    assert plan.status is not None
    status = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.BATCH_KIND,
        "metadata": {"namespace": batch.namespace, "name": batch.name, "uid": batch.uid},
        "status": {field: value for field, value in status.items() if value not in ([], {})},
    }


def _is_owned(body: Object, batch: BatchPrediction) -> bool:
    return batch.uid in _owners(body) and "deletionTimestamp" not in body["metadata"]


def _owners(body: Object) -> set[str]:
    return {owner["uid"] for owner in body["metadata"].get("ownerReferences") or []}
