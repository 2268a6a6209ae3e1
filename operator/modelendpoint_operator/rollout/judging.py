"""What the gates find in the present step, and what of it is remembered. Acting on it must not be here.

The routers' counters change with every request, and the status is not written with every request: findings are written
down when a verdict changes, and else every few seconds. Messages are made from what is written down.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta

from modelendpoint_operator.api.gates import Gates
from modelendpoint_operator.api.status import (
    ComparisonNumbers,
    Decision,
    FindingStatus,
    Phase,
    ReplayStatus,
    RolloutStatus,
    Verdict,
)
from modelendpoint_operator.observation import Check
from modelendpoint_operator.rollout.course import Course, Situation, is_known, present_step, remembered
from modelendpoint_operator.rollout.gates import error_rate, latency, replay
from modelendpoint_operator.rollout.gates.checks import (
    CheckGate,
    due_checks,
    judge_checks,
    remember,
    time_to_measure,
    wanted_gates,
)
from modelendpoint_operator.rollout.gates.finding import Counts, Finding
from modelendpoint_operator.rollout.gates.replay import Pair
from modelendpoint_operator.rollout.measuring import as_status, baseline_of, counts_ever, counts_since, from_status
from modelendpoint_operator.rollout.steps import FULL, steps_of

LOOK = timedelta(seconds=1)
LOOK_LATER = timedelta(seconds=5)
FRESH = timedelta(seconds=60)
"""Age of a period from which on it is looked at less often."""

WRITE_AFTER = timedelta(seconds=5)
WRITE_AFTER_AT_MOST = timedelta(seconds=60)

JUDGED_PHASES = (Phase.HOLDING, Phase.PAUSED, Phase.BAKING)
"""Phases that wait for what is found. While a weight moves, what the last step found still holds."""


def begin_period(course: Course, situation: Situation, *, weight: int, compared_with: int | None) -> Course:
    """Measure from now on a revision that has a weight now.

    One that has everything is compared with what is known of the other one, which gets no requests any more.
    """
    course, seen = end_period(course), situation.seen
    if weight == 0 or course.in_charge is None:
        return remembered(course, measured_since=situation.now)
    alone = weight == FULL or compared_with is None
    revisions = [course.in_charge] if alone or compared_with is None else [course.in_charge, compared_with]
    reference = as_status(counts_ever(seen, compared_with)) if alone and compared_with is not None else None
    baseline = baseline_of(seen, revisions, latency=_gates(situation).latency is not None)
    return remembered(course, measured_since=situation.now, baseline=baseline, reference=reference)


def end_period(course: Course) -> Course:
    """Forget what was measured: it says nothing about what comes now. Recorded rows stay what they are."""
    nothing: dict[str, object] = {"findings": [], "checks": [], "baseline": []}
    return remembered(course, measured_since=None, measured_at=None, reference=None, **nothing)


def judge(course: Course, situation: Situation) -> Course:
    """Look at all gates, and remember what is new. Where nothing is measured, nothing is found."""
    rollout = course.rollout
    if rollout is None or rollout.measured_since is None:
        return course
    revisions = [entry.revision for entry in rollout.baseline]
    baseline = baseline_of(
        situation.seen, revisions, latency=_gates(situation).latency is not None, known=rollout.baseline
    )
    # What was asked before the period began says nothing about it.
    measurements = situation.seen.measurements if rollout.measured_since < situation.now else {}
    checks = remember(_checks(course, situation), rollout.checks, measurements, now=situation.now)
    course = remembered(course, baseline=baseline, checks=list(checks), replays=list(_replays(course, situation)))
    findings = [_as_status(finding) for finding in _findings(course, situation)]
    if not _is_news(rollout, findings, situation):
        return course
    for finding in findings:
        if finding.verdict is not Verdict.INSUFFICIENT_DATA:
            course = with_verdict(course, situation, finding)
    return remembered(course, findings=findings, measured_at=situation.now)


def failure_of(course: Course) -> FindingStatus | None:
    """Name a gate that failed."""
    findings = course.rollout.findings if course.rollout else []
    return next((finding for finding in findings if finding.verdict is Verdict.FAIL), None)


def undecided_of(course: Course) -> list[FindingStatus]:
    """Name the gates that can't tell."""
    findings = course.rollout.findings if course.rollout else []
    return [finding for finding in findings if finding.verdict is Verdict.INSUFFICIENT_DATA]


def overrule(course: Course) -> Course:
    """Remember that a person went on although recorded rows speak against the candidate: they always will."""
    assert course.rollout is not None
    failed = {finding.gate for finding in course.rollout.findings if finding.verdict is Verdict.FAIL}
    return remembered(course, replays=list(replay.overrule(course.rollout.replays, failed)))


def with_verdict(course: Course, situation: Situation, finding: FindingStatus) -> Course:
    """Write down and tell a verdict, once in a period."""
    rollout, revision = course.rollout, course.in_charge
    assert rollout is not None and rollout.measured_since is not None and revision is not None
    if any(
        (known.revision, known.gate, known.verdict) == (revision, finding.gate, str(finding.verdict))
        and known.time >= rollout.measured_since
        for known in course.decisions
    ):
        return course
    numbers = finding.model_dump(include=set(ComparisonNumbers.model_fields))
    step = measured_step(rollout)
    decision = Decision(
        time=situation.now,
        revision=revision,
        step=step,
        gate=finding.gate,
        verdict=str(finding.verdict),
        message=finding.message,
        **numbers,
    )
    where = "after its promotion" if step is None else f"in step {step + 1}"
    reason, warning = _REASONS[finding.verdict]
    message = f"Revision {revision} {where}: {finding.message}"
    return course.with_decision(decision).with_note(reason, message, warning=warning)


def measured_step(rollout: RolloutStatus) -> int | None:
    """Name the step that is measured: while the next weight is on its way, the one before it."""
    if rollout.phase is Phase.BAKING:
        return None
    return rollout.step if rollout.phase in (Phase.HOLDING, Phase.PAUSED) else rollout.step - 1


def checks_due(course: Course, situation: Situation) -> tuple[Check, ...]:
    """List the questions of gates that are to be asked by now."""
    if course.rollout is None or course.rollout.measured_since is None or course.in_charge is None:
        return ()
    return due_checks(
        _checks(course, situation),
        course.rollout.checks,
        candidate=course.in_charge,
        stable=None if course.is_baking else course.stable,
        period=course.rollout.measured_since,
        now=situation.now,
    )


def time_to_look(course: Course, situation: Situation) -> timedelta | None:
    """Say when the gates are to be looked at again."""
    rollout = course.rollout
    if rollout is None or rollout.phase not in JUDGED_PHASES or rollout.measured_since is None:
        return None
    if course.is_baking and rollout.held_by is not None:
        return None
    waits = [time_to_measure(_checks(course, situation), rollout.checks, now=situation.now)]
    if rollout.replays:
        asks = _asks_replays(course, situation)
        waits.append(replay.time_to_look(rollout.replays, situation.seen.replays, asks=asks))
    gates = _gates(situation)
    if _has_traffic(course) and (gates.error_rate or gates.latency):
        waits.append(LOOK if situation.now - rollout.measured_since < FRESH else LOOK_LATER)
    return min((wait for wait in waits if wait is not None), default=None)


def _findings(course: Course, situation: Situation) -> Iterator[Finding]:
    assert course.rollout is not None
    yield from _compared(course, situation)
    yield from judge_checks(_checks(course, situation), course.rollout.checks)
    found = replay.judge_replays(_gates(situation).replay, course.rollout.replays, situation.seen.replays)
    # The gate was passed, or a person went on without: later only what speaks against the candidate matters.
    yield from (one for one in found if one.verdict is Verdict.FAIL or _asks_replays(course, situation))


def _checks(course: Course, situation: Situation) -> dict[str, CheckGate]:
    return wanted_gates(_gates(situation), has_traffic=_has_traffic(course))


def _replays(course: Course, situation: Situation) -> tuple[ReplayStatus, ...]:
    """Keep the runs of replay gates in mind, and ask for new ones while the candidate has no traffic."""
    assert course.rollout is not None
    gates = _gates(situation).replay
    if not gates or course.candidate is None or course.stable is None:
        return ()
    return replay.remember(
        gates,
        course.rollout.replays,
        situation.seen.replays,
        pair=Pair(endpoint=situation.endpoint, candidate=course.candidate, stable=course.stable),
        asks=_asks_replays(course, situation),
        now=situation.now,
    )


def _asks_replays(course: Course, situation: Situation) -> bool:
    """Say whether replay gates are asked now: before any traffic, of a candidate that is not known."""
    assert course.rollout is not None
    step = present_step(course, situation)
    waits = course.rollout.phase in (Phase.HOLDING, Phase.PAUSED)
    return waits and step is not None and step.weight == 0 and not is_known(course, situation)


def _has_traffic(course: Course) -> bool:
    """Say whether the period is one in which requests are counted."""
    return course.rollout is not None and bool(course.rollout.baseline)


def _compared(course: Course, situation: Situation) -> Iterator[Finding]:
    """Judge by the routers' counters."""
    if not _has_traffic(course):
        return
    assert course.rollout is not None and course.in_charge is not None
    gates, alpha = _gates(situation), _alpha(situation)
    candidate = counts_since(course.rollout.baseline, situation.seen, course.in_charge)
    stable, minimum = _compared_with(course, situation), gates.minimum_requests
    if gates.error_rate is not None:
        yield error_rate.judge(
            gates.error_rate, candidate=candidate, stable=stable, minimum_requests=minimum, alpha=alpha
        )
    if gates.latency is not None and stable is not None:
        yield latency.judge(gates.latency, candidate=candidate, stable=stable, minimum_requests=minimum, alpha=alpha)


def _compared_with(course: Course, situation: Situation) -> Counts | None:
    """Name what is compared with: stable in the same period, or what was known of the other one; None if none is."""
    assert course.rollout is not None
    if course.rollout.reference is not None:
        reference = from_status(course.rollout.reference)
        # A revision that never had a request is no measure: what came after it is judged by itself then.
        return reference if reference.answers else None
    if course.is_baking or course.stable is None:
        return None
    return counts_since(course.rollout.baseline, situation.seen, course.stable)


def _is_news(rollout: RolloutStatus, findings: Sequence[FindingStatus], situation: Situation) -> bool:
    told, before = _told(findings), _told(rollout.findings)
    if told != before or rollout.measured_at is None or rollout.measured_since is None:
        return told != before
    age = situation.now - rollout.measured_since
    pause = min(max(WRITE_AFTER, age / 20), WRITE_AFTER_AT_MOST)
    return list(findings) != rollout.findings and situation.now - rollout.measured_at >= pause


def _told(findings: Sequence[FindingStatus]) -> dict[str, tuple[Verdict, str]]:
    """Say what is written down at once: verdicts, and the words of gates that do not count requests."""
    return {
        entry.gate: (entry.verdict, entry.message if entry.candidate_requests is None else "") for entry in findings
    }


_REASONS = {
    Verdict.PASS: ("GatePassed", False),
    Verdict.FAIL: ("GateFailed", True),
    Verdict.INSUFFICIENT_DATA: ("GateUndecided", False),
}


def _as_status(finding: Finding) -> FindingStatus:
    """Write a finding down. JSON has no infinity: an end that is not known is left out."""
    fields = vars(finding)
    known = {name: value for name, value in fields.items() if not isinstance(value, float) or math.isfinite(value)}
    return FindingStatus(**known)


def _gates(situation: Situation) -> Gates:
    return situation.endpoint.spec.rollout.gates


def _alpha(situation: Situation) -> float:
    """Share the permitted rate of false alarms among all that can give one: comparisons and periods."""
    gates, rollout = _gates(situation), situation.endpoint.spec.rollout
    comparisons = (gates.error_rate is not None) + (gates.latency is not None)
    periods = sum(step.weight > 0 for step in steps_of(situation.endpoint.spec)) + (rollout.bake_seconds > 0)
    return (1 - gates.confidence_percent / 100) / max(1, comparisons * periods)
