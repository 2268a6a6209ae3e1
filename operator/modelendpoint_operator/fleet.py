"""What the endpoints' status says, as metrics: one set of series for each endpoint that there is, none after it is gone.

Nothing is measured here and nothing is judged; the names are a promise (docs/monitoring.md).
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.status import ConditionType, DifferenceStatus, ModelEndpointStatus

RESULTS = ("Promoted", "RolledBack", "Aborted")
"""Verdicts of decisions that end a rollout."""

_OWNER = ("namespace", "endpoint")
_WHERE_WANTED = (ConditionType.EXPOSED, ConditionType.MONITORED, ConditionType.DRIFT_DETECTED)
"""Conditions of what not everybody asks for: their absence is no trouble."""
_REVISION = (*_OWNER, "revision", "role", "variant")


class _Key(NamedTuple):
    namespace: str
    endpoint: str


class _Part(NamedTuple):
    """A revision that has pods, and what it is there for."""

    revision: int
    role: str
    variant: str
    version: str
    sha256: str
    weight: int
    replicas: int
    ready: int


class Fleet(Collector):
    """Remembers the last status of each endpoint."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[_Key, ModelEndpoint] = {}
        self._results: dict[_Key, Counter[str]] = {}
        self._counted_until: dict[_Key, int] = {}

    def describe(self) -> list[Metric]:
        """Name nothing in advance."""
        return []

    def saw(self, endpoint: ModelEndpoint) -> None:
        """Take in what is true for an endpoint now."""
        key = _Key(endpoint.namespace, endpoint.name)
        # Status keeps whole seconds; what was just decided has more than that.
        decided = [(int(decision.time.timestamp()), decision.verdict) for decision in endpoint.status.decisions]
        latest = max((second for second, _ in decided), default=0)
        with self._lock:
            before = self._seen.get(key)
            if before is None or before.uid != endpoint.uid:
                # What was decided before this process looked was counted by another one.
                self._results[key] = Counter(dict.fromkeys(RESULTS, 0))
                self._counted_until[key] = latest
            since = self._counted_until[key]
            self._results[key].update(verdict for second, verdict in decided if second > since and verdict in RESULTS)
            self._counted_until[key] = max(since, latest)
            self._seen[key] = endpoint

    def gone(self, namespace: str, name: str) -> None:
        """Forget an endpoint."""
        key = _Key(namespace, name)
        with self._lock:
            self._seen.pop(key, None)
            self._results.pop(key, None)
            self._counted_until.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """Hand the figures to the Prometheus client."""
        with self._lock:
            seen, results = dict(self._seen), {key: dict(counts) for key, counts in self._results.items()}
        yield from _endpoint_metrics(seen)
        yield from _revision_metrics(seen)
        yield from _results_metrics(seen)
        yield from _rollout_metrics(seen)
        ended = CounterMetricFamily("modelendpoint_rollouts", "Rollouts that ended.", labels=(*_OWNER, "result"))
        for key, counts in results.items():
            for result, count in counts.items():
                ended.add_metric([*key, result], count)
        yield ended


def _endpoint_metrics(seen: Mapping[_Key, ModelEndpoint]) -> Iterator[Metric]:
    info = GaugeMetricFamily("modelendpoint_info", "The endpoint.", labels=(*_OWNER, "strategy"))
    conditions = GaugeMetricFamily(
        "modelendpoint_condition", "1 where the condition is True.", labels=(*_OWNER, "type", "reason")
    )
    routes = GaugeMetricFamily(
        "modelendpoint_routes_live", "1 when every router pod uses the routes that were written.", labels=_OWNER
    )
    for key, endpoint in seen.items():
        info.add_metric([*key, endpoint.spec.rollout.strategy], 1)
        told = {condition.type: condition for condition in endpoint.status.conditions}
        for kind in ConditionType:
            condition = told.get(kind)
            if kind in _WHERE_WANTED and condition is None:
                continue  # Nobody asked for it, so its absence is no trouble.
            # Conditions that are there only while they are True have a series all the same: absence is hard to ask for.
            reason, value = (condition.reason, condition.status == "True") if condition else ("", False)
            conditions.add_metric([*key, kind, reason], value)
        if endpoint.status.routes is not None:
            routes.add_metric(key, endpoint.status.routes.live_since is not None)
    yield from (info, conditions, routes)


def _revision_metrics(seen: Mapping[_Key, ModelEndpoint]) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "modelendpoint_revision_info", "A revision that has pods.", labels=(*_REVISION, "version", "sha256")
    )
    weights = GaugeMetricFamily(
        "modelendpoint_traffic_weight", "Percent of the traffic that the routers give the revision.", labels=_REVISION
    )
    wanted = GaugeMetricFamily("modelendpoint_replicas", "Pods that the revision shall have.", labels=_REVISION)
    ready = GaugeMetricFamily("modelendpoint_replicas_ready", "Pods of the revision that are ready.", labels=_REVISION)
    promoted = GaugeMetricFamily(
        "modelendpoint_promoted_timestamp_seconds", "When the stable revision took over.", labels=(*_OWNER, "revision")
    )
    for key, endpoint in seen.items():
        for part in _parts(endpoint.status):
            labels = [*key, str(part.revision), part.role, part.variant]
            info.add_metric([*labels, part.version, part.sha256], 1)
            weights.add_metric(labels, part.weight)
            wanted.add_metric(labels, part.replicas)
            ready.add_metric(labels, part.ready)
        stable = endpoint.status.stable.revision if endpoint.status.stable else None
        for past in endpoint.status.history:
            if past.revision == stable:
                promoted.add_metric([*key, str(past.revision)], past.promoted_at.timestamp())
                break
    yield from (info, weights, wanted, ready, promoted)


def _results_metrics(seen: Mapping[_Key, ModelEndpoint]) -> Iterator[Metric]:
    requests = GaugeMetricFamily(
        "modelendpoint_variant_requests", "Requests that the results of a variant or shadow rest on.", labels=_REVISION
    )
    errors = GaugeMetricFamily("modelendpoint_variant_error_ratio", "Share of them that failed.", labels=_REVISION)
    by_errors = GaugeMetricFamily(
        "modelendpoint_variant_error_ratio_difference",
        "By how much that is above the stable revision's: as measured, and the ends of its interval.",
        labels=(*_REVISION, "bound"),
    )
    by_times = GaugeMetricFamily(
        "modelendpoint_variant_latency_difference_seconds",
        "By how much its response times are above the stable revision's, in the same way.",
        labels=(*_REVISION, "bound"),
    )
    for key, endpoint in seen.items():
        status = endpoint.status
        for role, arms in (("variant", status.variants), ("shadow", status.shadows)):
            for arm in arms:
                if arm.results is not None:
                    labels = [*key, str(arm.results.revision), role, arm.name]
                    requests.add_metric(labels, arm.results.own.answers)
                    errors.add_metric(labels, arm.results.own.error_percent / 100)
                    _add_bounds(by_errors, labels, arm.results.errors, unit=100)
                    _add_bounds(by_times, labels, arm.results.latency, unit=1000)
    yield from (requests, errors, by_errors, by_times)


def _add_bounds(
    family: GaugeMetricFamily, labels: Sequence[str], difference: DifferenceStatus | None, *, unit: float
) -> None:
    if difference is None:
        return
    for bound in ("effect", "lower", "upper"):
        value = getattr(difference, bound)
        if value is not None:
            family.add_metric([*labels, bound], value / unit)


def _rollout_metrics(seen: Mapping[_Key, ModelEndpoint]) -> Iterator[Metric]:
    phases = GaugeMetricFamily(
        "modelendpoint_rollout_phase_timestamp_seconds",
        "When the phase of the rollout under way began.",
        labels=(*_OWNER, "phase"),
    )
    steps = GaugeMetricFamily("modelendpoint_rollout_step", "Step of the rollout under way, from 0.", labels=_OWNER)
    verdicts = GaugeMetricFamily(
        "modelendpoint_gate_verdict", "The latest answer of a gate in this step.", labels=(*_OWNER, "gate", "verdict")
    )
    for key, endpoint in seen.items():
        rollout = endpoint.status.rollout
        if rollout is not None:
            phases.add_metric([*key, rollout.phase], rollout.since.timestamp())
            steps.add_metric(key, rollout.step)
            for finding in rollout.findings:
                verdicts.add_metric([*key, finding.gate, finding.verdict], 1)
    yield from (phases, steps, verdicts)


def _parts(status: ModelEndpointStatus) -> Iterator[_Part]:
    for role, serving in (("stable", status.stable), ("candidate", status.candidate)):
        if serving is not None:
            yield _Part(
                revision=serving.revision,
                role=role,
                variant="",
                version=serving.version or "",
                sha256=serving.sha256 or "",
                weight=serving.weight,
                replicas=serving.replicas,
                ready=serving.ready_replicas,
            )
    for role, arms in (("variant", status.variants), ("shadow", status.shadows)):
        for arm in arms:
            revision = arm.revision or arm.next_revision
            if revision is not None:
                yield _Part(
                    revision=revision,
                    role=role,
                    variant=arm.name,
                    version=arm.version or "",
                    sha256=arm.sha256 or "",
                    weight=arm.weight,
                    replicas=arm.replicas,
                    ready=arm.ready_replicas,
                )
