"""Brings BatchPredictions closer to their specs: observe, plan, apply, as ``reconciler.py`` does for endpoints."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.batch.plan import BatchPlan
from modelendpoint_operator.batch.planner import make_plan, plan_stop
from modelendpoint_operator.errors import ForeignObject, NamespaceEnding, WriteRefused
from modelendpoint_operator.reconciler import LOOK_AGAIN_AT_STOPPED, utc_now
from modelendpoint_operator.settings import Settings

if TYPE_CHECKING:
    from modelendpoint_operator.adapters.batches import Batches


class BatchReconciler:
    """Observe, plan, apply. The same for every trigger; safe to repeat."""

    def __init__(self, cluster: "Batches", settings: Settings, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._cluster = cluster
        self._settings = settings
        self._clock = clock

    def reconcile(self, namespace: str, name: str) -> BatchPlan | None:
        """Take one pass at a BatchPrediction and return what it wrote; None when there is none, or soon none."""
        body = self._cluster.find(namespace, name)
        try:
            return None if body is None else self._pass(body)
        except NamespaceEnding:
            return None

    def _pass(self, body: Mapping[str, Any]) -> BatchPlan:
        try:
            batch = BatchPrediction.from_body(body)
        except ValidationError as error:
            return self._stop(_without_spec(body), "InvalidSpec", _first_sentence(error))
        plan = make_plan(batch, self._cluster.observe(batch), self._settings, now=self._clock())
        try:
            self._cluster.apply(batch, plan, now=self._clock())
        except ForeignObject as error:
            message = (
                f"{error.subject} exists and is not this one's; delete it or give the BatchPrediction another name"
            )
            return self._stop(batch, "NameConflict", message)
        except WriteRefused as error:
            return self._stop(batch, "WriteRefused", f"The API server refused {error.subject}: {error.message}")
        return plan

    def _stop(self, batch: BatchPrediction, reason: str, message: str) -> BatchPlan:
        plan = plan_stop(batch, reason, message, now=self._clock())
        self._cluster.apply(batch, plan, now=self._clock())
        return BatchPlan(status=plan.status, events=plan.events, look_again_after=LOOK_AGAIN_AT_STOPPED)


def _without_spec(body: Mapping[str, Any]) -> BatchPrediction:
    """Take what is needed to report on a BatchPrediction whose spec can't be read."""
    uri = "configmap://unread/unread"
    spec = {"model": {"uri": uri}, "input": {"uri": uri}, "output": {"uri": "pvc://unread/unread"}}
    return BatchPrediction.from_body({**body, "spec": spec})


def _first_sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"spec.{where}: {first['msg']}; correct it and apply again"
