"""What becomes of an endpoint's samples, from what its monitor says; and who must be told of a change. Pure.

It changes nothing else: whatever is wrong with the monitor or its store, the endpoint serves as before.
"""

from datetime import UTC, datetime, timedelta

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.monitoring import Monitoring
from modelendpoint_operator.api.status import Condition, ConditionType, MonitoringStatus
from modelendpoint_operator.conditions import Story, build_condition
from modelendpoint_operator.manifests.monitor import OFF
from modelendpoint_operator.observation import MonitorReport, Observation, PodSeen
from modelendpoint_operator.plan import EventNote, Poke

MEASURE = timedelta(seconds=30)
"""Time between two writes of numbers that grow all the time; no watch tells of them."""
POLL = timedelta(seconds=5)
"""Time between looks while something is wrong."""
POKE_AGAIN = timedelta(seconds=3)
"""A kubelet may see the first poke before it sees the new ConfigMap."""

WAITING = "Waiting"
"""Reason while the monitor starts; no cause for alarm."""


def monitoring_conditions(endpoint: ModelEndpoint, seen: Observation, *, now: datetime) -> list[Condition]:
    """Derive the condition Monitored; none when the author wants no monitoring."""
    story = _tell(endpoint, seen)
    if story is None:
        return []
    return [build_condition(endpoint, ConditionType.MONITORED, story.good, story, now=now)]


def monitoring_status(endpoint: ModelEndpoint, seen: Observation, *, now: datetime) -> MonitoringStatus | None:
    """Write down what became of the samples, not more often than it is read."""
    story = _tell(endpoint, seen)
    if story is None:
        return None
    before = endpoint.status.monitoring or MonitoringStatus()
    report = seen.monitor.report if seen.monitor else None
    numbers = _numbers(report) if report else {}
    is_due = before.measured_at is None or now >= before.measured_at + MEASURE
    if is_due and any(getattr(before, name) != value for name, value in numbers.items()):
        before = before.model_copy(update={**numbers, "measured_at": now.replace(microsecond=0)})
    return before.model_copy(update={"message": None if story.good else story.message})


def notes_of_monitoring(endpoint: ModelEndpoint, seen: Observation) -> list[EventNote]:
    """Tell once of something that keeps samples from being stored."""
    story = _tell(endpoint, seen)
    known = {told.message for told in endpoint.status.conditions if told.type == ConditionType.MONITORED}
    if story is None or story.good or story.reason == WAITING or story.message in known:
        return []
    return [EventNote(reason=story.reason, message=story.message, warning=True)]


def pokes_for_monitoring(seen: Observation, version: str, *, now: datetime) -> list[Poke]:
    """Poke the servers that may not know yet which samples are wanted: once, and a little later once more."""
    return [
        Poke(pod=pod.name, annotation=names.ANNOTATION_MONITORING, value=value)
        for pod in seen.pods
        if (value := _next_poke(pod, version, now=now)) is not None
    ]


def time_to_look(endpoint: ModelEndpoint, seen: Observation, version: str, *, now: datetime) -> timedelta | None:
    """Say when to look again for what no watch tells of."""
    waits = [
        poked + POKE_AGAIN - now for pod in seen.pods if (poked := _poked_at(pod, version)) is not None and pod.ready
    ]
    story = _tell(endpoint, seen)
    if story is not None:
        waits.append(MEASURE if story.good or story.reason == WAITING else POLL)
    return min(waits, default=None)


def _tell(endpoint: ModelEndpoint, seen: Observation) -> Story | None:
    monitoring, monitor = endpoint.spec.monitoring, seen.monitor
    if monitoring is None:
        return None
    if monitor is None or not monitor.ready:
        if monitor is not None and monitor.trouble:
            return Story(reason="MonitorNotReady", message=f"The monitor's pod does not run: {monitor.trouble}")
        return Story(reason=WAITING, message="The monitor's pod is starting")
    if monitor.report is None:
        message = f"Pod {monitor.name} does not answer on port {names.MANAGEMENT_PORT}: look at its log"
        return Story(reason="MonitorNotReady", message=message)
    if monitor.report.reason is not None:
        return Story(reason=monitor.report.reason, message=monitor.report.message or "See the monitor's log")
    reason = "Comparing" if monitoring.capture is None else "Capturing"
    return Story(reason=reason, message=_sampling(monitoring), good=True)


def _sampling(monitoring: Monitoring) -> str:
    capture, drift, whose = monitoring.capture, monitoring.drift, "them" if monitoring.capture else "the requests"
    stored = [f"{capture.percent:g} percent of the requests are stored at {capture.uri}"] if capture else []
    compared = [f"{monitoring.percent:g} percent of {whose} are compared with {drift.reference.uri}"] if drift else []
    return "; ".join([*stored, *compared])


def _numbers(report: MonitorReport) -> dict[str, int]:
    return {
        "sampled": report.sampled,
        "received": report.received,
        "captured": report.captured,
        "dropped": report.dropped,
    }


def _next_poke(pod: PodSeen, version: str, *, now: datetime) -> str | None:
    # A pod that is not ready yet mounts what there is by then; one that was never told of samples need not be told of none.
    if pod.terminating or not pod.ready or pod.monitoring == version or (version == OFF and pod.monitoring is None):
        return None
    poked = _poked_at(pod, version)
    if poked is None:
        return f"{version}@{int(now.timestamp())}"
    return version if now >= poked + POKE_AGAIN else None


def _poked_at(pod: PodSeen, version: str) -> datetime | None:
    """Say when a pod was told of this version, if that was the first time."""
    known, _, second = (pod.monitoring or "").partition("@")
    return datetime.fromtimestamp(int(second), tz=UTC) if known == version and second.isdecimal() else None
