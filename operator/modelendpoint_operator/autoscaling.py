"""How many pods the main model gets while autoscaling is asked for. Pure; all its memory is ``status.scale``.

It follows the HorizontalPodAutoscaler where it can: a look every 15 s, at most twice or four pods more at once, no change
for a tenth of the load. Fewer pods come only after all looks of some minutes agreed that they are enough, which is simpler
than that one's sliding window, and slower where the load falls step by step.

``spec.replicas`` is the least number, whoever sets it: a person by ``kubectl scale``, the HorizontalPodAutoscaler that is
written for a CPU target, any other one. So nothing here ever works against one of them.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.scaling import Autoscaling
from modelendpoint_operator.api.status import CountedStatus, ScaleStatus
from modelendpoint_operator.observation import Counters, Observation
from modelendpoint_operator.plan import EventNote

LOOK = timedelta(seconds=15)
"""Time over which requests are counted."""
TOLERANCE = 0.1
"""Share of the load by which it may be off without a change."""
MESSAGE_LENGTH = 500
AUTOSCALER = "HorizontalPodAutoscaler"


def choose_scale(
    endpoint: ModelEndpoint, seen: Observation, revisions: Collection[int], *, now: datetime
) -> ScaleStatus | None:
    """Choose the number of pods; None without autoscaling. ``revisions`` are the main model's."""
    wanted, before = endpoint.spec.autoscaling, endpoint.status.scale
    if wanted is None or endpoint.spec.replicas == 0:
        return None
    scale = _by_requests(wanted, before or _first(endpoint, now=now), seen, revisions, now=now)
    replicas = _limited(wanted, max(endpoint.spec.replicas, scale.for_requests or 0))
    changed = before is None or before.replicas != replicas
    return scale.model_copy(
        update={
            "replicas": replicas,
            "since": now if changed else scale.since,
            "message": _trouble(wanted, seen),
        }
    )


def time_to_look(
    endpoint: ModelEndpoint, seen: Observation, scale: ScaleStatus | None, *, now: datetime
) -> timedelta | None:
    """Say when the requests are to be counted again, or the HorizontalPodAutoscaler to be asked whether it works, which
    no watch tells; None when nothing depends on either."""
    wanted = endpoint.spec.autoscaling
    if scale is None or wanted is None or scale.replicas == 0:
        return None
    waits = []
    if wanted.target_requests_per_second is not None:
        left = LOOK if scale.measured_at is None else scale.measured_at + LOOK - now
        # One that is overdue was put off because there are no requests, or because a router did not answer.
        waits.append(left if left > timedelta(0) else LOOK)
    if wanted.target_cpu_utilization_percent is not None and AUTOSCALER not in seen.unknown_kinds:
        told = [condition for condition in _told_by_autoscaler(seen) if condition["type"] == "ScalingActive"]
        waits += [] if any(condition["status"] == "True" for condition in told) else [LOOK if told else LOOK / 3]
    return min(waits, default=None)


def note_of_change(before: ScaleStatus | None, scale: ScaleStatus | None) -> EventNote | None:
    """Tell that the requests made the number of pods another one."""
    if before is None or scale is None or scale.replicas == before.replicas:
        return None
    if scale.replicas == 0:
        return EventNote(reason="Idle", message=f"From {before.replicas} to 0 pods: no request came for a while")
    if before.replicas == 0:
        return EventNote(reason="Waking", message=f"From 0 to {scale.replicas} pods")
    if scale.for_requests == before.for_requests or scale.measured_at == before.measured_at:
        return None  # Somebody changed the spec, and knows why.
    if scale.requests_per_second is None:
        return None
    message = f"From {before.replicas} to {scale.replicas} pods for {scale.requests_per_second:g} requests per second"
    return EventNote(reason="Scaled", message=message)


def _first(endpoint: ModelEndpoint, *, now: datetime) -> ScaleStatus:
    """Begin with the pods that there are: to ask for autoscaling must not take any away at once."""
    stable = endpoint.status.stable
    return ScaleStatus(replicas=stable.replicas if stable else 0, since=now)


def _by_requests(
    wanted: Autoscaling, scale: ScaleStatus, seen: Observation, revisions: Collection[int], *, now: datetime
) -> ScaleStatus:
    target = wanted.target_requests_per_second
    if target is None:
        return ScaleStatus(replicas=scale.replicas, since=scale.since)
    number = _limited(wanted, scale.for_requests or scale.replicas)
    scale = scale.model_copy(update={"for_requests": number})
    if any(router.route_version is None for router in seen.routers) or not seen.routers:
        return scale  # A router that does not answer may have most of the requests.
    counted = _counted(seen, revisions)
    if scale.measured_at is None:
        return scale.model_copy(update={"measured_at": now, "counted": counted})
    if now - scale.measured_at < LOOK:
        return scale
    rate = _requests(scale.counted, counted) / (now - scale.measured_at).total_seconds()
    decided = _decide(wanted, scale, _needed(rate, target, number), now=now)
    if counted == scale.counted and scale.requests_per_second == 0 and decided == scale:
        return scale  # Nothing happens; that need not be written down every 15 s.
    return decided.model_copy(
        update={"requests_per_second": round(rate, 2), "measured_at": now, "counted": counted},
    )


def _needed(rate: float, target: float, present: int) -> int:
    """Count the pods for a load; those that are there are right for one that is nearly theirs."""
    is_near = abs(rate / (present * target) - 1) <= TOLERANCE
    return present if is_near else ceil(rate / target)


def _decide(wanted: Autoscaling, scale: ScaleStatus, needed: int, *, now: datetime) -> ScaleStatus:
    """Take more pods at once, and fewer when all looks for long enough agreed that they are enough."""
    assert scale.for_requests is not None
    present, needed = scale.for_requests, _limited(wanted, needed)
    since, most = None, None
    if needed > present:
        present = min(needed, max(2 * present, present + 4))
    elif needed < present:
        since, most = scale.fewer_since or now, max(needed, scale.fewer_needed or 0)
        if now - since >= timedelta(seconds=wanted.scale_down_after_seconds):
            present, since, most = most, None, None
    return scale.model_copy(update={"for_requests": present, "fewer_since": since, "fewer_needed": most})


def _limited(wanted: Autoscaling, number: int) -> int:
    return min(max(number, wanted.min_replicas, 1), wanted.max_replicas)


def _counted(seen: Observation, revisions: Collection[int]) -> list[CountedStatus]:
    told = (
        (router.name, revision, counters) for router in seen.routers for revision, counters in router.counted.items()
    )
    entries = [_entry(name, revision, counters) for name, revision, counters in told if revision in revisions]
    return sorted(entries, key=lambda entry: (entry.router, entry.revision))


def _entry(router: str, revision: int, counters: Counters) -> CountedStatus:
    return CountedStatus(router=router, revision=revision, answers=counters.answers)


def _requests(before: list[CountedStatus], now: list[CountedStatus]) -> int:
    """Count what came since. A router or revision that is new counts from now on: what it counted before may be old."""
    known = {(entry.router, entry.revision): entry.answers for entry in before}
    told = ((entry.answers, known.get((entry.router, entry.revision), entry.answers)) for entry in now)
    return sum(answers - earlier if answers >= earlier else answers for answers, earlier in told)


def _trouble(wanted: Autoscaling, seen: Observation) -> str | None:
    """Say what the HorizontalPodAutoscaler lacks."""
    if wanted.target_cpu_utilization_percent is None:
        return None
    inactive = [told for told in _told_by_autoscaler(seen) if _is_inactive(told)]
    message = "The HorizontalPodAutoscaler does not know the pods' CPU, so it does not scale"
    return f"{message}: {inactive[0].get('message', '')}"[:MESSAGE_LENGTH] if inactive else None


def _told_by_autoscaler(seen: Observation) -> list[Mapping[str, Any]]:
    found = (body for ref, body in seen.objects.items() if ref.kind == AUTOSCALER)
    return [told for body in found for told in body.get("status", {}).get("conditions") or ()]


def _is_inactive(told: Mapping[str, Any]) -> bool:
    is_off = told["type"] == "ScalingActive" and told["status"] == "False"
    return is_off and told.get("reason") != "ScalingDisabled"
