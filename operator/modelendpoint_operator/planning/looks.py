"""When a pass is due although no watch tells of anything."""

from datetime import timedelta

from modelendpoint_operator import autoscaling, exposure, idling, monitoring
from modelendpoint_operator.api.status import Phase
from modelendpoint_operator.manifests.monitor import monitoring_version
from modelendpoint_operator.manifests.mounts import router_mounts
from modelendpoint_operator.planning.outline import Outline
from modelendpoint_operator.rollout.results import time_to_look
from modelendpoint_operator.rollout.weights import stable_is_held
from modelendpoint_operator.router_story import lagging

POLL = timedelta(seconds=0.5)
"""While something is under way that no watch tells of: a router that takes up routes, a server that loads a model."""

POLL_LATER = timedelta(seconds=5)

FRESH = timedelta(seconds=60)
"""Age of a phase from which on it is looked at less often."""

LOOK_AT_MOUNTS = timedelta(seconds=30)
"""No watch tells that somebody deleted a Secret that routers mount: the operator may not read any."""


def look_again_after(outline: Outline) -> timedelta | None:
    """Say how long until the next pass; None when only a watch brings one."""
    now = outline.situation.now
    by_time = (
        outline.wake,
        time_to_look(outline.results, outline.situation),
        autoscaling.time_to_look(outline.endpoint, outline.seen, outline.scale, now=now),
        idling.time_to_look(outline.endpoint, outline.scale, now=now),
        exposure.time_to_look(outline.endpoint, outline.seen),
        monitoring.time_to_look(outline.endpoint, outline.seen, monitoring_version(outline.monitoring), now=now),
    )
    waits = [wait for wait in by_time if wait is not None]
    if outline.routes.live_since is None or _is_loading(outline):
        waits.append(_poll(outline))
    elif outline.seen.populated() - outline.replicas.keys() - outline.leaving:
        waits.append(outline.routes.live_since + outline.settings.drain - outline.situation.now)
    if lagging(outline.seen, outline.config) or any(router.troubles for router in outline.seen.routers):
        waits.append(_poll(outline))
    if stable_is_held(outline.course, outline.situation) and outline.replicas.get(outline.course.stable or 0):
        waits.append(_poll(outline))
    if router_mounts(outline.endpoint.spec.routing):
        waits.append(LOOK_AT_MOUNTS)
    return max(min(waits), timedelta(0)) if waits else None


def _is_loading(outline: Outline) -> bool:
    """Say whether something is awaited that no watch tells of: a share taken up, a model loaded or found bad."""
    rollout = outline.course.rollout
    moving = (Phase.DEPLOYING, Phase.SHIFTING, Phase.PROMOTING)
    waits = rollout is not None and rollout.phase in moving
    waits = waits or any(arm.is_moving or not arm.answers for arm in outline.arms)
    return waits or any(not pod.ready and not pod.terminating for pod in outline.seen.pods)


def _poll(outline: Outline) -> timedelta:
    rollout = outline.course.rollout
    began = [rollout.since] if rollout else []
    began += [arm.since for arm in outline.arms if arm.since]
    began += [outline.scale.waking_since] if outline.scale and outline.scale.waking_since else []
    is_fresh = not began or outline.situation.now - max(began) < FRESH
    return POLL if is_fresh else POLL_LATER
