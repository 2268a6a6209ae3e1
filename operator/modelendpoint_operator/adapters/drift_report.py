"""What a monitor reports of drift, to our own types. Whatever else it says, or nothing, is no drift report."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from modelendpoint_operator.observation import DriftArm, DriftFinding, DriftReport, DriftWindow

_MOST_FINDINGS = 10
_MOST_ARMS = 32


def parse_drift_report(document: object) -> DriftReport | None:
    """Read the object ``drift`` of a monitor's report; None when there is none, or not the one that is known."""
    told = document.get("drift") if isinstance(document, Mapping) else None
    if not isinstance(told, Mapping):
        return None
    try:
        reference = told["reference"]
        return DriftReport(
            reference_sha256=str(reference["sha256"]) if reference else None,
            reason=_text(told["reason"]),
            message=_text(told["message"]),
            arms=tuple(_arms(told["arms"][:_MOST_ARMS])),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _arms(told: list[Mapping[str, Any]]) -> Iterator[DriftArm]:
    for arm in told:
        last = arm["last"]
        yield DriftArm(
            revision=int(arm["revision"]),
            variant=str(arm["variant"]) or None,
            windows=int(arm["windows"]),
            drifted=int(arm["drifted"]),
            unknown_columns=tuple(map(str, arm["unknownColumns"])),
            last=_window(last) if last else None,
        )


def _window(told: Mapping[str, Any]) -> DriftWindow:
    return DriftWindow(
        ended_at=datetime.fromtimestamp(int(told["endedAt"]), tz=UTC),
        rows=int(told["rows"]),
        columns=int(told["columns"]),
        finding_count=int(told["findingCount"]),
        findings=tuple(_finding(finding) for finding in told["findings"][:_MOST_FINDINGS]),
    )


def _finding(told: Mapping[str, Any]) -> DriftFinding:
    return DriftFinding(
        kind=str(told["kind"]),
        column=str(told["column"]),
        role=str(told["role"]),
        p_value=float(told["pValue"]),
        psi=float(told["psi"]),
        missing_percent=float(told["missingPercent"]),
        outside_percent=float(told["outsidePercent"]),
        mean=_number(told["mean"]),
        reference_mean=_number(told["referenceMean"]),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
