"""How variants and shadows do: what each has answered, and how that differs from what stable answered. Pure.

The evidence and its bounds are the gates' (``gates/sequential.py``), and so are the counts (``measuring.py``). A gate's period
lasts for a step, while results go on for weeks, in which routers come and go. So the baseline moves on with every look that is
written down, and what came since is added to a total: a router that goes takes along what it counted since the last look.

Compared is what was counted while the routers shared the requests in one and the same way, so much to one stable revision and
so much to the variant. While they do not (a candidate has a share, a variant has no pods) the comparison rests; with another
revision or another share in the spec it begins anew. Counts of different ways must not be added up: a morning with more errors
and more requests for the variant would look like the variant's doing. Within one way the chance that a request fails may change
over time, because it is averaged over the same time on both sides.

Nothing is decided by results. Deciding must not be here.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache

from modelendpoint_operator.api.spec import ModelEndpointSpec, Variant
from modelendpoint_operator.api.status import (
    BaselineStatus,
    CountingStatus,
    MeasuredStatus,
    ModelEndpointStatus,
    ResultsStatus,
    RoutesStatus,
)
from modelendpoint_operator.observation import Counters, Leg, Observation
from modelendpoint_operator.rollout.arms import ArmCourse
from modelendpoint_operator.rollout.comparing import compare
from modelendpoint_operator.rollout.course import Situation
from modelendpoint_operator.rollout.measuring import added, baseline_of, counts_since, from_status
from modelendpoint_operator.rollout.steps import FULL

LOOK = timedelta(seconds=5)
LOOK_AT_LAST = timedelta(seconds=60)
"""Time between two looks: a twentieth of the age of what is counted, within these two."""

MOST_HISTOGRAMS = 120
"""Router pods times revisions of which response times are remembered. With more, the status would get too large for the API
server, and results are about requests and errors only."""

_SERIES = (10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91)
_EDGES = (*range(10), *(value * 10**power for power in range(6) for value in _SERIES), 10**7)
"""Ends of the buckets in which response times are remembered, in milliseconds: whole ones, then steps of a tenth. They are ends
of Envoy's buckets too, so no answer changes sides."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is counted of an arm, and what that is compared with. Counts of another question do not answer it."""

    revision: int
    stable: int | None = None
    """None where a comparison would not be fair."""
    percent: int | None = None
    stable_percent: int | None = None


@dataclass(frozen=True, kw_only=True)
class Results:
    """What is known of all arms: all of it is kept in the status."""

    counting: CountingStatus | None = None
    by_arm: Mapping[str, ResultsStatus] = field(default_factory=dict)

    @property
    def summary(self) -> str | None:
        """Say it in one line."""
        return "; ".join(f"{name}: {results.summary}" for name, results in self.by_arm.items()) or None

    @property
    def baseline(self) -> Sequence[BaselineStatus]:
        """The routers' counters at the last look."""
        return self.counting.baseline if self.counting else ()

    @property
    def revisions(self) -> frozenset[int]:
        """Name the revisions that are counted."""
        found = {number for known in self.by_arm.values() for number in (known.revision, known.compared_with)}
        return frozenset(number for number in found if number is not None)


def measure_arms(
    arms: Sequence[ArmCourse], situation: Situation, *, stable: int | None, routes: RoutesStatus
) -> Results:
    """Take in what the routers have counted, if it is time to; else all is as it was.

    ``stable`` is the revision to compare with, ``routes`` is what shall be written in this pass.
    """
    before, seen = _memory(situation.endpoint.status), situation.seen
    asked = {
        arm.arm.name: _question(arm, situation.endpoint.spec, stable=stable) for arm in arms if arm.serving is not None
    }
    known = Results(
        counting=before.counting,
        by_arm={
            name: told.model_copy(update={"not_compared": _not_compared(name, asked[name], situation)})
            for name, told in before.by_arm.items()
            if _question_of(told) == asked.get(name)
        },
    )
    is_settled = seen.live_legs is not None and seen.routes is not None and routes.version == seen.routes.version
    is_undisturbed = _is_undisturbed(before, seen)
    if not is_settled and not is_undisturbed:
        return _without_looking(known, seen, routes)
    all_arms = {**known.by_arm, **(_begun(asked, known, situation) if is_settled else {})}
    begun = replace(known, by_arm={name: all_arms[name] for name in asked if name in all_arms})
    return _look(before, begun, situation, is_settled=is_settled, is_undisturbed=is_undisturbed)


def time_to_look(results: Results, situation: Situation) -> timedelta | None:
    """Say when the counters are to be looked at again."""
    if results.counting is None or situation.suspended:
        return None
    pause = _pause(results, now=situation.now)
    left = results.counting.measured_at + pause - situation.now
    # One that is overdue was put off because there was nothing new.
    return left if left > timedelta(0) else pause


def _memory(status: ModelEndpointStatus) -> Results:
    return Results(counting=status.counting, by_arm={arm.name: arm.results for arm in status.arms if arm.results})


def _question(arm: ArmCourse, spec: ModelEndpointSpec, *, stable: int | None) -> Question:
    assert arm.serving is not None
    if stable is None or _unfair(arm.arm.name, spec) is not None:
        return Question(revision=arm.serving)
    return Question(revision=arm.serving, stable=stable, percent=arm.percent, stable_percent=_left(spec))


def _question_of(results: ResultsStatus) -> Question:
    return Question(
        revision=results.revision,
        stable=results.compared_with,
        percent=results.percent,
        stable_percent=results.compared_percent,
    )


def _unfair(name: str, spec: ModelEndpointSpec) -> str | None:
    """Say why an arm and stable do not get requests of the same kind at the same time."""
    arm = next(arm for arm in spec.arms if arm.name == name)
    if isinstance(arm, Variant) and arm.match is not None:
        return "it gets certain requests (match), others than the stable revision"
    if not isinstance(arm, Variant) and any(variant.match for variant in spec.variants):
        return "it gets copies of requests that a variant takes away from the stable revision (match)"
    if (arm.weight if isinstance(arm, Variant) else arm.percent) == 0:
        return "it has no share of the requests"
    return "the variants leave no requests to the stable revision" if _left(spec) == 0 else None


def _not_compared(name: str, question: Question, situation: Situation) -> str | None:
    if question.stable is not None:
        return None
    return _unfair(name, situation.endpoint.spec) or "there is no stable revision yet"


def _left(spec: ModelEndpointSpec) -> int:
    return FULL - sum(variant.weight for variant in spec.variants)


def _is_undisturbed(before: Results, seen: Observation) -> bool:
    """Say whether the routers have shared the requests in one way since the last look, and do so now."""
    if before.counting is None or before.counting.routes is None or seen.routes is None:
        return False
    return seen.live_legs is not None and seen.routes.version == before.counting.routes


def _without_looking(known: Results, seen: Observation, routes: RoutesStatus) -> Results:
    """Wait until it is certain how requests are shared. What was counted meanwhile is lost if that is another way."""
    if known.counting is None or not known.by_arm:
        return Results()
    is_same = seen.routes is None or known.counting.routes == seen.routes.version == routes.version
    return known if is_same else replace(known, counting=known.counting.model_copy(update={"routes": None}))


def _begun(asked: Mapping[str, Question], known: Results, situation: Situation) -> dict[str, ResultsStatus]:
    """Begin to count where the routers do what is asked about."""
    return {
        name: ResultsStatus(
            summary="",
            since=situation.now,
            not_compared=_not_compared(name, question, situation),
            revision=question.revision,
            compared_with=question.stable,
            percent=question.percent,
            compared_percent=question.stable_percent,
            stable=MeasuredStatus() if question.stable is not None else None,
        )
        for name, question in asked.items()
        if name not in known.by_arm and _trouble(name, question, situation.seen.live_legs or ()) is None
    }


def _trouble(name: str, question: Question, legs: Sequence[Leg]) -> str | None:
    """Say why what the routers do is not what is asked about."""
    own = next((leg for leg in legs if leg.arm == name and leg.revision == question.revision), None)
    if own is None:
        return "it has no pods, or the endpoint is suspended"
    if question.stable is None:
        return None
    main = [leg for leg in legs if leg.arm is None]
    left = FULL - sum(leg.weight for leg in legs if leg.arm is not None and not leg.copies)
    if [leg.revision for leg in main] != [question.stable]:
        return "the stable revision shares its requests with a candidate"
    is_as_asked = (own.weight, left) == (question.percent, question.stable_percent)
    return None if is_as_asked else "the main model answers in place of a variant that has no pods"


def _look(before: Results, begun: Results, situation: Situation, *, is_settled: bool, is_undisturbed: bool) -> Results:
    """Add up what came since the last look, if something has changed or it is time to.

    A look is due when the routers have just taken up routes, or are about to get others.
    """
    if not begun.by_arm or situation.seen.routes is None:
        return Results()
    seen, with_times = _as_remembered(situation), _has_times(situation.endpoint.spec)
    known = [entry for entry in begun.baseline if entry.revision in begun.revisions]
    baseline = baseline_of(seen, begun.revisions, latency=with_times, known=known)
    is_changed = begun != before or list(begun.baseline) != baseline
    is_due = is_changed or is_settled != is_undisturbed
    if not is_due and not _is_time(begun, now=situation.now):
        return before
    by_arm = {
        name: _added_up(name, results, baseline, situation, seen=seen if is_undisturbed else None)
        for name, results in begun.by_arm.items()
    }
    if not is_due and by_arm == before.by_arm:
        return before
    counting = CountingStatus(
        measured_at=situation.now,
        routes=situation.seen.routes.version if is_settled else None,
        # Every router answers, or it would not be certain how requests are shared.
        baseline=baseline_of(seen, begun.revisions, latency=with_times),
    )
    return Results(counting=counting, by_arm=by_arm)


def _is_time(results: Results, *, now: datetime) -> bool:
    return results.counting is None or now >= results.counting.measured_at + _pause(results, now=now)


def _pause(results: Results, *, now: datetime) -> timedelta:
    age = min(now - known.since for known in results.by_arm.values()) if results.by_arm else timedelta(0)
    return min(max(LOOK, age / 20), LOOK_AT_LAST)


def _has_times(spec: ModelEndpointSpec) -> bool:
    return (len(spec.arms) + 1) * spec.routing.replicas <= MOST_HISTOGRAMS


def _as_remembered(situation: Situation) -> Observation:
    """See the counters as results do: response times in steps of a tenth, and nothing of copies that were never sent."""
    shadows = {leg.revision for leg in situation.seen.live_legs or () if leg.copies}
    with_times = _has_times(situation.endpoint.spec)
    routers = [
        replace(
            router,
            counted={
                revision: _rough(counters, with_times=with_times, is_shadow=revision in shadows)
                for revision, counters in router.counted.items()
            },
        )
        for router in situation.seen.routers
    ]
    return replace(situation.seen, routers=tuple(routers))


def _rough(counters: Counters, *, with_times: bool, is_shadow: bool) -> Counters:
    dropped = counters.dropped if is_shadow else 0
    times: dict[tuple[float, float], int] = {}
    for ends, answers in counters.latency.items() if with_times else ():
        times[_rough_ends(ends)] = times.get(_rough_ends(ends), 0) + answers
    # The counters are not read at one moment.
    return replace(
        counters,
        answers=max(0, counters.answers - dropped),
        server_errors=max(0, counters.server_errors - dropped),
        latency=times,
    )


@lru_cache(maxsize=1024)
def _rough_ends(ends: tuple[float, float]) -> tuple[float, float]:
    lower, upper = ends
    above = bisect_left(_EDGES, upper)
    return float(_EDGES[bisect_right(_EDGES, lower) - 1]), float(_EDGES[above]) if above < len(_EDGES) else upper


def _added_up(
    name: str,
    results: ResultsStatus,
    baseline: Sequence[BaselineStatus],
    situation: Situation,
    *,
    seen: Observation | None,
) -> ResultsStatus:
    """Add what came since the last look; nothing where nobody can say how the requests were shared (``seen`` is None)."""
    trouble = _trouble(name, _question_of(results), situation.seen.live_legs or ())
    own, stable = from_status(results.own), from_status(results.stable) if results.stable else None
    if seen is not None and trouble is None:
        own = added(own, counts_since(baseline, seen, results.revision))
        if stable is not None and results.compared_with is not None:
            stable = added(stable, counts_since(baseline, seen, results.compared_with))
    told = compare(own, stable, situation.endpoint.spec.rollout.gates)
    return results.model_copy(update={"resting": trouble, **told})
