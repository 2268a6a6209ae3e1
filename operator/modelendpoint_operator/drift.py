"""Whether what an endpoint is sent and answers still looks like its reference, from what its monitor has counted. Pure.

A monitor that was started anew has no window yet; what the last one said of a revision is true until there is another.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.monitoring import Drift, OnDrift
from modelendpoint_operator.api.status import (
    Condition,
    ConditionType,
    DriftArmStatus,
    DriftFindingStatus,
    DriftStatus,
)
from modelendpoint_operator.observation import DriftArm, DriftFinding, DriftReport, Observation
from modelendpoint_operator.plan import EventNote

DRIFTED = "Drifted"
FINDINGS_KEPT = 5
_NAMED = 3
"""Columns that the condition's message names."""


def drift_status(endpoint: ModelEndpoint, seen: Observation, *, revisions: Collection[int]) -> DriftStatus | None:
    """Write down what the last windows of these revisions have shown; None when the author wants nothing of it."""
    if _wanted(endpoint) is None:
        return None
    before = _before(endpoint)
    report = _report(seen)
    if report is None:
        return _only(before, revisions)
    if report.reference_sha256 is None:
        return DriftStatus(message=report.message)
    known = before.arms if before.reference_sha256 == report.reference_sha256 else []
    arms = {(arm.revision, arm.variant): arm for arm in known}
    arms |= {(arm.revision, arm.variant): _arm_status(arm) for arm in report.arms if arm.last is not None}
    found = [arm for _, arm in sorted(arms.items(), key=lambda item: (item[0][0], item[0][1] or ""))]
    return _only(DriftStatus(reference_sha256=report.reference_sha256, arms=found, message=report.message), revisions)


def drift_conditions(endpoint: ModelEndpoint, status: DriftStatus | None, *, now: datetime) -> list[Condition]:
    """Derive the condition DriftDetected; none when the author wants nothing of it."""
    wanted = _wanted(endpoint)
    if wanted is None or status is None:
        return []
    holds, reason, message = _told(wanted, status)
    kind = ConditionType.DRIFT_DETECTED
    before = next((told for told in endpoint.status.conditions if told.type == kind and told.status == holds), None)
    return [
        Condition(
            type=kind,
            status=holds,
            reason=reason,
            message=message,
            last_transition_time=before.last_transition_time if before else now.replace(microsecond=0),
            observed_generation=endpoint.generation,
        )
    ]


def notes_of_drift(endpoint: ModelEndpoint, status: DriftStatus | None) -> list[EventNote]:
    """Tell of each revision once when it begins to drift, and once when it is over."""
    if status is None:
        return []
    before = {(arm.revision, arm.variant) for arm in _drifted(_before(endpoint))}
    drifting = {(arm.revision, arm.variant): arm for arm in _drifted(status)}
    judged = {(arm.revision, arm.variant): arm for arm in status.arms}
    began = [
        EventNote(reason="DriftDetected", message=_sentence(drifting[key]), warning=True)
        for key in drifting
        if key not in before
    ]
    ended = [
        EventNote(reason="DriftEnded", message=f"{_called(judged[key])} looks like the reference again")
        for key in sorted(before - drifting.keys(), key=str)
        if key in judged
    ]
    return [*began, *ended]


def reason_to_wait(endpoint: ModelEndpoint, revisions: Collection[int]) -> str | None:
    """Say why a rollout shall not go on: the drift of one of these revisions, where the author wants to be asked."""
    wanted = _wanted(endpoint)
    if wanted is None or wanted.on_drift is not OnDrift.PAUSE_ROLLOUT:
        return None
    drifting = (arm for arm in _drifted(_before(endpoint)) if arm.revision in revisions and arm.variant is None)
    return next((_sentence(arm) for arm in drifting), None)


def _wanted(endpoint: ModelEndpoint) -> Drift | None:
    return endpoint.spec.monitoring.drift if endpoint.spec.monitoring else None


def _before(endpoint: ModelEndpoint) -> DriftStatus:
    monitoring = endpoint.status.monitoring
    return (monitoring.drift if monitoring else None) or DriftStatus()


def _report(seen: Observation) -> DriftReport | None:
    report = seen.monitor.report if seen.monitor else None
    return report.drift if report else None


def _only(status: DriftStatus, revisions: Collection[int]) -> DriftStatus:
    return status.model_copy(update={"arms": [arm for arm in status.arms if arm.revision in revisions]})


def _drifted(status: DriftStatus) -> Iterable[DriftArmStatus]:
    return (arm for arm in status.arms if arm.findings)


def _told(wanted: Drift, status: DriftStatus) -> tuple[str, str, str]:
    """Return status, reason and message."""
    drifted = list(_drifted(status))
    if drifted:
        return "True", DRIFTED, "; ".join(map(_sentence, drifted))
    if status.reference_sha256 is None:
        message = status.message or f"The monitor has not read {wanted.reference.uri} yet"
        return "Unknown", "NoReference" if status.message else "Waiting", message
    if not status.arms:
        rows, seconds = wanted.minimum_rows, wanted.window_seconds
        return "Unknown", "InsufficientData", f"No window of {rows} rows and {seconds} s is full yet"
    return (
        "False",
        "NoDrift",
        f"The last {'window looks' if len(status.arms) == 1 else 'windows look'} like the reference",
    )


def _sentence(arm: DriftArmStatus) -> str:
    """Name the columns that stand out, with the figure that says how much."""
    named = ", ".join(_words(finding) for finding in arm.findings[:_NAMED])
    more = arm.finding_count - min(len(arm.findings), _NAMED)
    return f"{_called(arm)} drifted from the reference: {named}{f' and {more} more' if more > 0 else ''}"


def _called(arm: DriftArmStatus) -> str:
    return f"Revision {arm.revision} ({arm.variant})" if arm.variant else f"Revision {arm.revision}"


def _words(finding: DriftFindingStatus) -> str:
    figures = {
        "Distribution": f"PSI {finding.psi:.2f}",
        "Missing": f"{finding.missing_percent:.3g} % missing",
        "OutOfRange": f"{finding.outside_percent:.3g} % out of range",
        "UnseenCategories": f"{finding.outside_percent:.3g} % unseen",
        "Constant": "always the same",
    }
    return f"{finding.column} ({figures.get(finding.kind, finding.kind)})"


def _arm_status(arm: DriftArm) -> DriftArmStatus:
    assert arm.last is not None
    return DriftArmStatus(
        revision=arm.revision,
        variant=arm.variant,
        window_ended_at=arm.last.ended_at,
        rows=arm.last.rows,
        columns=arm.last.columns,
        finding_count=arm.last.finding_count,
        findings=[_finding_status(finding) for finding in arm.last.findings[:FINDINGS_KEPT]],
        unknown_columns=list(arm.unknown_columns[:FINDINGS_KEPT]),
        windows=arm.windows,
        drifted_windows=arm.drifted,
    )


def _finding_status(finding: DriftFinding) -> DriftFindingStatus:
    return DriftFindingStatus(
        column=finding.column,
        role=finding.role,
        kind=finding.kind,
        psi=finding.psi,
        p_value=finding.p_value,
        missing_percent=finding.missing_percent,
        outside_percent=finding.outside_percent,
        mean=finding.mean,
        reference_mean=finding.reference_mean,
    )
