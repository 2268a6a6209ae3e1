"""The gates that ask somebody else: Prometheus queries and HTTP checks. Asking must not be here.

A gate remembers its last measurement. Memory begins empty in every step, so that no answer from before a change of the
weight speaks for what came after it. A wrong result counts, a right one takes the count back, and an answer that tells
nothing (no data, nobody there) leaves it as it is: not to know is neither.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from modelendpoint_operator.api.gates import Gates, HttpGate, PrometheusGate
from modelendpoint_operator.api.status import CheckStatus
from modelendpoint_operator.observation import Check, Measurement
from modelendpoint_operator.rollout.gates.finding import Finding, Verdict

CheckGate = PrometheusGate | HttpGate

RIGHT, UNDECIDED = 200, 202
"""The statuses by which a service says that the candidate is right, and that it can't tell yet."""

BEING_MEASURED = timedelta(seconds=1)
"""When to look again while a measurement is under way."""


def wanted_gates(gates: Gates, *, has_traffic: bool) -> dict[str, CheckGate]:
    """Name the gates that are measured now. Before any traffic only the candidate itself can be asked."""
    asking: dict[str, CheckGate] = {f"http/{gate.name}": gate for gate in gates.http if has_traffic or gate.path}
    return asking | ({f"prometheus/{gate.name}": gate for gate in gates.prometheus} if has_traffic else {})


def due_checks(
    gates: Mapping[str, CheckGate],
    memory: Sequence[CheckStatus],
    *,
    candidate: int,
    stable: int | None,
    period: datetime,
    now: datetime,
) -> tuple[Check, ...]:
    """List what is to be measured by now. A check stays due until its measurement is remembered."""
    return tuple(
        Check(name=name, gate=gate, candidate=candidate, stable=stable, period=period)
        for name, gate in gates.items()
        if _time_left(name, gate, memory, now=now) <= timedelta(0)
    )


def time_to_measure(
    gates: Mapping[str, CheckGate], memory: Sequence[CheckStatus], *, now: datetime
) -> timedelta | None:
    """Say when the next measurement is due, or can be there; None without such gates."""
    waits = [_time_left(name, gate, memory, now=now) for name, gate in gates.items()]
    return min((max(wait, BEING_MEASURED) for wait in waits), default=None)


def remember(
    gates: Mapping[str, CheckGate],
    memory: Sequence[CheckStatus],
    measurements: Mapping[str, Measurement],
    *,
    now: datetime,
) -> tuple[CheckStatus, ...]:
    """Add new measurements to the memory, and forget gates that are gone."""
    known = {entry.gate: entry for entry in memory}
    for name, measurement in measurements.items():
        if name in gates:
            known[name] = _remembered(name, gates[name], known.get(name), measurement, now=now)
    return tuple(known[name] for name in gates if name in known)


def judge_checks(gates: Mapping[str, CheckGate], memory: Sequence[CheckStatus]) -> tuple[Finding, ...]:
    """Say what is known by each gate."""
    known = {entry.gate: entry for entry in memory}
    return tuple(_finding(name, known.get(name)) for name in gates)


def _finding(name: str, entry: CheckStatus | None) -> Finding:
    if entry is None:
        return Finding(
            gate=name, verdict=Verdict.INSUFFICIENT_DATA, message=f"Gate {name} has not been measured in this step yet"
        )
    return Finding(gate=name, verdict=entry.verdict, message=entry.message)


def _time_left(name: str, gate: CheckGate, memory: Sequence[CheckStatus], *, now: datetime) -> timedelta:
    last = next((entry.measured_at for entry in memory if entry.gate == name), None)
    return timedelta(0) if last is None else last + timedelta(seconds=gate.interval_seconds) - now


def _remembered(
    name: str, gate: CheckGate, last: CheckStatus | None, measurement: Measurement, *, now: datetime
) -> CheckStatus:
    is_right = _is_right(gate, measurement)
    before = last.failures if last else 0
    failures = {True: 0, False: before + 1, None: before}[is_right]
    what = _describe(gate, measurement)
    if is_right:
        verdict, message = Verdict.PASS, f"Gate {name}: {what}"
    elif failures >= gate.failure_threshold:
        verdict, message = Verdict.FAIL, f"Gate {name} failed, {_times(failures)}: {what}"
    else:
        counted = f" (wrong {_times(failures)}; it fails at {gate.failure_threshold})" if failures else ""
        verdict, message = Verdict.INSUFFICIENT_DATA, f"Gate {name} can't tell yet{counted}: {what}"
    return CheckStatus(
        gate=name,
        measured_at=now,
        verdict=verdict,
        value=_finite(measurement.value),
        message=message,
        failures=failures,
    )


def _times(failures: int) -> str:
    return "once" if failures == 1 else f"{failures} times in a row"


def _finite(value: float | None) -> float | None:
    """Leave out what JSON has no word for."""
    return value if value is not None and math.isfinite(value) else None


def _is_right(gate: CheckGate, measurement: Measurement) -> bool | None:
    """Compare a measurement with what is asked for; None when it tells nothing."""
    value = measurement.value
    if isinstance(gate, PrometheusGate):
        return None if value is None or math.isnan(value) else _is_within(gate, value)
    if value is None:
        # A service that judges may be away for reasons of its own; a candidate that does not answer is at fault.
        return False if gate.path else None
    return None if value == UNDECIDED else value == RIGHT


def _is_within(gate: PrometheusGate, value: float) -> bool:
    return (gate.min is None or value >= gate.min) and (gate.max is None or value <= gate.max)


def _describe(gate: CheckGate, measurement: Measurement) -> str:
    value = measurement.value
    if value is None or math.isnan(value):
        return measurement.message or "there was no answer"
    if isinstance(gate, HttpGate):
        what = f"{'the candidate' if gate.path else 'the service'} answered {value:.0f}"
    elif gate.max is not None and value > gate.max:
        what = f"the result is {value:.6g}, above max {gate.max:.6g}"
    elif gate.min is not None and value < gate.min:
        what = f"the result is {value:.6g}, below min {gate.min:.6g}"
    else:
        what = f"the result is {value:.6g}"
    return f"{what} ({measurement.message})" if measurement.message else what
