"""Whether the main model needs a pod at all, where ``minReplicas`` is 0. Pure; all its memory is in ``status.scale``.

It falls asleep while it serves, when no request came for ``idleSeconds``, and wakes when a request asks a router for a
pod. What keeps the requests in between, and in which order pods and routes change, must not be here (``planning/outline.py``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.scaling import Autoscaling
from modelendpoint_operator.api.status import ScaleStatus
from modelendpoint_operator.observation import Leg, Observation
from modelendpoint_operator.rollout.course import Course, Situation
from modelendpoint_operator.rollout.steps import FULL

LOOK = timedelta(seconds=15)
"""While there are requests, the time of the last one is known as exactly as this."""

NOTHING_KNOWN = ScaleStatus(replicas=1, since=datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, kw_only=True)
class Rest:
    """Whether an endpoint sleeps, and what it remembers of its requests."""

    asleep: bool = False
    waking_since: datetime | None = None
    quiet_since: datetime | None = None
    requests: Mapping[str, int] = field(default_factory=dict)


def choose_rest(course: Course, situation: Situation, revisions: Collection[int]) -> Rest:
    """Choose whether it sleeps, from where the rollout stands now. ``revisions`` are the main model's."""
    endpoint, seen, now = situation.endpoint, situation.seen, situation.now
    wanted, before = endpoint.spec.autoscaling, endpoint.status.scale or NOTHING_KNOWN
    if wanted is None or not endpoint.spec.may_sleep or situation.suspended:
        return Rest()
    was_asleep = endpoint.is_asleep
    counted = _count_requests(seen, revisions)
    came = any(before.requests.get(router, number) != number for router, number in counted.items())
    can_rest = _is_at_rest(course, situation)
    if was_asleep and can_rest and endpoint.spec.replicas <= 1 and not came:
        return _quiet(seen, counted, before, asleep=True)
    if was_asleep:
        return Rest(waking_since=now)
    if not can_rest or not _serves(course, seen):
        return Rest(waking_since=before.waking_since if _may_be_held(seen) else None)
    if endpoint.spec.replicas > 1:
        return Rest()
    if before.quiet_since is None or (came and now - before.quiet_since >= _pause(wanted)):
        return Rest(quiet_since=now, requests=counted)
    can_hold = all(router.knocks is not None for router in seen.routers)
    is_over = now - before.quiet_since >= timedelta(seconds=wanted.idle_seconds)
    return _quiet(seen, counted, before, asleep=can_hold and is_over)


def with_rest(scale: ScaleStatus | None, rest: Rest, endpoint: ModelEndpoint, *, now: datetime) -> ScaleStatus | None:
    """Complete what was chosen by the load. Of one that sleeps nothing is known of that."""
    if scale is None:
        return None
    if rest.asleep:
        before = endpoint.status.scale
        scale = ScaleStatus(replicas=0, since=before.since if before and endpoint.is_asleep else now)
    memory = {"waking_since": rest.waking_since, "quiet_since": rest.quiet_since, "requests": dict(rest.requests)}
    return scale.model_copy(update=memory)


def time_to_look(endpoint: ModelEndpoint, scale: ScaleStatus | None, *, now: datetime) -> timedelta | None:
    """Say when the requests are to be counted again; None when nothing depends on them."""
    wanted = endpoint.spec.autoscaling
    if wanted is None or scale is None or scale.quiet_since is None or scale.replicas == 0:
        return None
    idle = scale.quiet_since + timedelta(seconds=wanted.idle_seconds) - now
    return min(_pause(wanted), idle) if idle > timedelta(0) else _pause(wanted)


def _pause(wanted: Autoscaling) -> timedelta:
    """Say how often requests are noted: not in every pass, because that is a write of the status."""
    return min(LOOK, timedelta(seconds=wanted.idle_seconds))


def _is_at_rest(course: Course, situation: Situation) -> bool:
    """Say whether what serves is what the spec asks for, and no rollout is under way; nothing else may sleep."""
    return course.candidate is None and course.rollout is None and course.stable == situation.target


def _may_be_held(seen: Observation) -> bool:
    return seen.live_legs is None or any(leg.held for leg in seen.live_legs)


def _serves(course: Course, seen: Observation) -> bool:
    """Say whether requests go straight to the pods of stable, and to no other ones."""
    if course.stable is None:
        return False
    return seen.live_legs == (Leg(revision=course.stable, weight=FULL),) and seen.routable_pods(course.stable) > 0


def _quiet(seen: Observation, counted: Mapping[str, int], before: ScaleStatus, *, asleep: bool) -> Rest:
    """Keep what was counted at the last request. A router that is new counts from now on."""
    known = {**counted, **before.requests}
    requests = {router.name: known[router.name] for router in seen.routers if router.name in known}
    return Rest(asleep=asleep, quiet_since=before.quiet_since, requests=requests)


def _count_requests(seen: Observation, revisions: Collection[int]) -> dict[str, int]:
    """Count by router what came since it started: answers, and requests that asked for a pod. One that does not answer is
    not named: it may have counted anything."""
    return {
        router.name: (router.knocks or 0)
        + sum(counters.answers for number, counters in router.counted.items() if number in revisions)
        for router in seen.routers
        if router.route_version is not None
    }
