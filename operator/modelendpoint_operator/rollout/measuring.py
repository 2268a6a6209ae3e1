"""From the routers' counters to what was counted for a revision in the measured period. Judging must not be here.

A period is one step's time, from when the routers have taken up its weight until they have taken up the next one, or the
time in which a promoted revision is watched. The routers' counters are never reset: what they had counted when the period
began, the baseline, is remembered and taken off.

What a router pod counts is lost when it goes, and so is what it counted before it was first seen. Comparisons stay
valid, as whether a pod lives does not depend on how its requests ended.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from modelendpoint_operator.api.status import BaselineStatus, CountsStatus
from modelendpoint_operator.observation import Counters, Observation
from modelendpoint_operator.rollout.gates.finding import Bucket, Counts

Latency = Mapping[tuple[float, float], int]
"""How many answers took how long: from a number of milliseconds on, below another one."""


def baseline_of(
    seen: Observation, revisions: Iterable[int], *, latency: bool, known: Sequence[BaselineStatus] = ()
) -> list[BaselineStatus]:
    """Take the baseline of a period, or complete it; ``latency`` says whether a gate looks at that.

    A router that is seen for the first time counts from now on. One that counts less than it did has started anew, and
    counts from nothing.
    """
    entries = {(entry.router, entry.revision): entry for entry in known}
    answering = [router for router in seen.routers if router.route_version is not None]
    for router, revision in product(answering, sorted(set(revisions))):
        key, now = (router.name, revision), router.counted.get(revision, Counters())
        before = entries.get(key, BaselineStatus(router=router.name, revision=revision, **_fields(now)))
        if _has_started_anew(before, now):
            before = BaselineStatus(router=router.name, revision=revision, latency="")
        missing = latency and before.latency is None
        entries[key] = before.model_copy(update={"latency": _written(now.latency)}) if missing else before
    return [entries[key] for key in sorted(entries)]


def counts_since(baseline: Sequence[BaselineStatus], seen: Observation, revision: int) -> Counts:
    """Count what the routers have counted for a revision since the baseline."""
    entries = {entry.router: entry for entry in baseline if entry.revision == revision}
    told = [(router.counted.get(revision), entries.get(router.name)) for router in seen.routers]
    return _sum([(counters, entry) for counters, entry in told if counters is not None and entry is not None])


def counts_ever(seen: Observation, revision: int) -> Counts:
    """Count everything that the routers know of a revision."""
    told = (router.counted.get(revision) for router in seen.routers)
    return _sum([(counters, CountsStatus()) for counters in told if counters is not None])


def added(one: Counts, other: Counts) -> Counts:
    """Add up the counts of two periods."""
    totals = Counter(_fields(one)) + Counter(_fields(other))
    latency = Counter[tuple[float, float]]()
    for bucket in (*one.latency, *other.latency):
        latency[bucket.lower_ms, bucket.upper_ms] += bucket.answers
    return Counts(**totals, latency=_buckets(latency))


def as_status(counts: Counts) -> CountsStatus:
    """Write counts down."""
    latency = {(bucket.lower_ms, bucket.upper_ms): bucket.answers for bucket in counts.latency}
    return CountsStatus(**_fields(counts), latency=_written(latency))


def from_status(written: CountsStatus) -> Counts:
    """Read counts that were written down."""
    return Counts(**_fields(written), latency=_buckets(_read(written.latency)))


def _fields(counts: Counters | Counts | CountsStatus) -> dict[str, int]:
    return {
        "answers": counts.answers,
        "client_errors": counts.client_errors,
        "server_errors": counts.server_errors,
    }


def _has_started_anew(before: CountsStatus, now: Counters) -> bool:
    then, these = _fields(before), _fields(now)
    return any(these[name] < then[name] for name in then)


def _sum(told: Sequence[tuple[Counters, CountsStatus]]) -> Counts:
    latency: Counter[tuple[float, float]] = Counter()
    totals: Counter[str] = Counter()
    for now, before in told:
        totals.update(_fields(now))
        totals.subtract(_fields(before))
        latency.update(now.latency)
        latency.subtract(_read(before.latency))
    # The counters are not read at one moment: an error may be there before its answer is.
    totals["answers"] = max(totals["answers"], totals["client_errors"] + totals["server_errors"])
    return Counts(**totals, latency=_buckets(latency))


def _buckets(latency: Latency) -> tuple[Bucket, ...]:
    return tuple(
        Bucket(lower_ms=lower, upper_ms=upper, answers=answers)
        for (lower, upper), answers in sorted(latency.items())
        if answers > 0
    )


def _written(latency: Latency) -> str:
    return " ".join(f"{lower:.0f}-{upper:.0f}:{answers}" for (lower, upper), answers in sorted(latency.items()))


def _read(written: str | None) -> Latency:
    latency = {}
    for text in (written or "").split():
        ends, _, answers = text.partition(":")
        lower, _, upper = ends.partition("-")
        latency[(float(lower), float(upper))] = int(answers)
    return latency
