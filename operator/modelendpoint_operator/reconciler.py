"""Brings endpoints closer to their specs: the whole operator in one function. Reads the clock, and nothing else does."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.errors import ForeignObject, NamespaceEnding, WriteRefused
from modelendpoint_operator.plan import Plan
from modelendpoint_operator.planner import make_plan, plan_stop
from modelendpoint_operator.rollout.waking import due_checks
from modelendpoint_operator.settings import Settings

if TYPE_CHECKING:
    # Its module knows the Kubernetes client, which takes a second to import and which a laptop does not need.
    from modelendpoint_operator.adapters.cluster import Cluster

LOOK_AGAIN_AT_STOPPED = timedelta(seconds=30)
"""Nothing tells when a foreign object or a refusing policy is gone."""


def utc_now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)


class Audience(Protocol):
    """Hears what each pass found and made true."""

    def saw(self, endpoint: ModelEndpoint) -> None:
        """Take in an endpoint with its new status."""

    def gone(self, namespace: str, name: str) -> None:
        """Forget an endpoint."""


class Reconciler:
    """Observe, plan, apply. The same for every trigger; safe to repeat."""

    def __init__(
        self,
        cluster: "Cluster",
        settings: Settings,
        *,
        clock: Callable[[], datetime] = utc_now,
        audience: Audience | None = None,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._audience = audience

    def reconcile(self, namespace: str, name: str) -> Plan | None:
        """Take one pass at an endpoint and return what it wrote; None when there is no such endpoint, or soon none."""
        body = self._cluster.find(namespace, name)
        try:
            if body is not None:
                return self._pass(body)
        except NamespaceEnding:
            pass
        if self._audience:
            self._audience.gone(namespace, name)
        return None

    def _pass(self, body: Mapping[str, Any]) -> Plan:
        try:
            endpoint = ModelEndpoint.from_body(body)
        except ValidationError as error:
            return self._stop(_without_spec(body), "InvalidSpec", _first_sentence(error))
        seen = self._cluster.observe(endpoint, due_checks(endpoint, now=self._clock()))
        plan = make_plan(endpoint, seen, self._settings, now=self._clock())
        try:
            self._cluster.apply(endpoint, plan, now=self._clock())
        except ForeignObject as error:
            message = f"{error.subject} exists and is not this endpoint's; delete it or give the endpoint another name"
            return self._stop(endpoint, "NameConflict", message)
        except WriteRefused as error:
            return self._stop(endpoint, "WriteRefused", f"The API server refused {error.subject}: {error.message}")
        self._tell(endpoint, plan)
        return plan

    def _stop(self, endpoint: ModelEndpoint, reason: str, message: str) -> Plan:
        plan = plan_stop(endpoint, reason, message, now=self._clock())
        self._cluster.apply(endpoint, plan, now=self._clock())
        self._tell(endpoint, plan)
        return Plan(status=plan.status, events=plan.events, look_again_after=LOOK_AGAIN_AT_STOPPED)

    def _tell(self, endpoint: ModelEndpoint, plan: Plan) -> None:
        if self._audience:
            self._audience.saw(replace(endpoint, status=plan.status or endpoint.status))


def _without_spec(body: Mapping[str, Any]) -> ModelEndpoint:
    """Take what is needed to report on an endpoint whose spec can't be read."""
    return ModelEndpoint.from_body({**body, "spec": {"model": {"uri": "configmap://unread/unread"}}})


def _first_sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"spec.{where}: {first['msg']}; correct it and apply again"
