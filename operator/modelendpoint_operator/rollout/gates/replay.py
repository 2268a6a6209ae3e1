"""The gates that compare predictions: candidate and stable predict for the same recorded rows, in a BatchPrediction.

One run for each gate and candidate is asked for before the candidate gets traffic. Its name says what it is made from,
so another gate, other revisions, or a run that somebody deleted, make another run, with an output of its own. Limits are
no part of it: they are applied to what the run found. Creating runs must not be here.

Only the predictions fail a gate. A run that fails for any other reason tells nothing about the candidate.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelendpoint_operator import names
from modelendpoint_operator.api.batch_status import BatchPredictionStatus, ComparisonStatus, Phase
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.gates import ReplayGate
from modelendpoint_operator.api.status import ReplayStatus
from modelendpoint_operator.observation import ReplaySeen
from modelendpoint_operator.rollout.gates.finding import Finding, Verdict

LIMITS = frozenset({"max_disagreement_percent", "max_rejected_percent"})
"""Fields of a gate that a run does not depend on."""

MODELS_DIFFER = "ModelsDiffer"
"""The one failure of a run that is the candidate's: it takes or gives something else than the stable revision."""

LOOK = timedelta(seconds=1)
LOOK_LATER = timedelta(seconds=5)
"""A watch tells what a run does; this is for when it does not."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The revisions of an endpoint that are compared."""

    endpoint: ModelEndpoint
    candidate: int
    stable: int


def remember(
    gates: Sequence[ReplayGate],
    memory: Sequence[ReplayStatus],
    seen: Mapping[str, ReplaySeen],
    *,
    pair: Pair,
    asks: bool,
    now: datetime,
) -> tuple[ReplayStatus, ...]:
    """Keep the runs that are still what the gates say; with ``asks`` name a new one for each gate that has none."""
    known = {entry.gate: entry for entry in memory}
    entries = []
    for gate in gates:
        entry = known.get(gate.name)
        if entry is not None and entry.run != _name(gate, pair, since=entry.since):
            entry = None
        if asks and (entry is None or (entry.run not in seen and not entry.overruled)):
            entry = ReplayStatus(gate=gate.name, run=_name(gate, pair, since=now), since=now.replace(microsecond=0))
        if entry is not None:
            entries.append(entry)
    return tuple(entries)


def overrule(memory: Sequence[ReplayStatus], failed: Collection[str]) -> tuple[ReplayStatus, ...]:
    """Mark those of the gates that failed."""
    return tuple(
        entry.model_copy(update={"overruled": True}) if _called(entry.gate) in failed else entry for entry in memory
    )


def judge_replays(
    gates: Sequence[ReplayGate], memory: Sequence[ReplayStatus], seen: Mapping[str, ReplaySeen]
) -> tuple[Finding, ...]:
    """Say what is known by each run that nobody has overruled."""
    by_name = {gate.name: gate for gate in gates}
    return tuple(
        _judge(by_name[entry.gate], entry.run, seen[entry.run].status if entry.run in seen else None)
        for entry in memory
        if entry.gate in by_name and not entry.overruled
    )


def time_to_look(memory: Sequence[ReplayStatus], seen: Mapping[str, ReplaySeen], *, asks: bool) -> timedelta | None:
    """Say when runs are to be looked at again; None when all have ended, or nobody waits for them."""
    waiting = [entry.run for entry in memory if not entry.overruled]
    if asks and any(run not in seen for run in waiting):
        return LOOK
    return LOOK_LATER if any(run in seen and not seen[run].ended for run in waiting) else None


def _judge(gate: ReplayGate, run: str, status: BatchPredictionStatus | None) -> Finding:
    called, where = _called(gate.name), f"BatchPrediction {run}"
    if status is not None and status.phase is Phase.COMPLETE:
        return _judge_comparison(gate, status, where)
    failure = status.failure if status is not None and status.phase is Phase.FAILED else None
    if failure is not None and failure.reason == MODELS_DIFFER:
        return Finding(gate=called, verdict=Verdict.FAIL, message=f"Gate {called} failed: {failure.message} ({where})")
    if status is not None and failure is not None:
        # The condition also says how to try it again.
        told = next(
            (condition.message for condition in status.conditions if condition.type == "Failed"), failure.message
        )
        what = f"{where} failed: {failure.reason}: {told}"
    elif status is not None and status.progress is not None:
        what = f"{where} has compared {status.progress.text}"
    else:
        what = f"{where} has not compared the recorded rows yet"
    return Finding(
        gate=called, verdict=Verdict.INSUFFICIENT_DATA, message=f"Gate {called} can't tell yet: {what}{_stuck(status)}"
    )


def _judge_comparison(gate: ReplayGate, status: BatchPredictionStatus, where: str) -> Finding:
    called, compared = _called(gate.name), status.comparison or ComparisonStatus(rows=0, disagreeing=0)
    rows = max(status.progress.rows_in if status.progress else 0, compared.rows)
    disagreeing, unpredicted = _percent(compared.disagreeing, compared.rows), _percent(rows - compared.rows, rows)
    largest = "" if compared.largest_difference is None else f", by at most {compared.largest_difference:.3g}"
    what = (
        f"candidate and stable disagree about {compared.disagreeing} of {compared.rows} recorded rows "
        f"({disagreeing:.3g} %{largest}; limit {gate.max_disagreement_percent:.3g} %)"
    )
    if compared.rows and disagreeing > gate.max_disagreement_percent:
        return Finding(
            gate=called,
            verdict=Verdict.FAIL,
            message=f"Gate {called} failed: {what}; which ones is in disagreements/ beside {status.manifest}",
        )
    if not compared.rows or unpredicted > gate.max_rejected_percent:
        return Finding(
            gate=called,
            verdict=Verdict.INSUFFICIENT_DATA,
            message=f"Gate {called} can't tell: neither revision can predict for {rows - compared.rows} of {rows} "
            f"recorded rows (limit {gate.max_rejected_percent:.3g} %): correct the gate's input or columns ({where})",
        )
    return Finding(gate=called, verdict=Verdict.PASS, message=f"Gate {called}: {what}")


def _stuck(status: BatchPredictionStatus | None) -> str:
    """Add what a run that has not ended waits for a person with."""
    told = status.conditions if status is not None and status.failure is None else []
    return next((f"; {condition.reason}: {condition.message}" for condition in told if condition.type == "Stalled"), "")


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _called(gate: str) -> str:
    return f"replay/{gate}"


def _name(gate: ReplayGate, pair: Pair, *, since: datetime) -> str:
    made_from = {
        "gate": gate.model_dump(mode="json", exclude=set(LIMITS)),
        "endpoint": pair.endpoint.uid,
        "candidate": pair.candidate,
        "stable": pair.stable,
        "since": int(since.timestamp()),
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return names.replay_name(pair.endpoint.name, pair.candidate, gate.name, digest=digest)
