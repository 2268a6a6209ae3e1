"""Who gets how much traffic and how many pods, from where the rollout stands. Moving on must not be here.

A candidate gets a weight only if enough of its pods are ready and every router sees them.
"""

from datetime import timedelta

from modelendpoint_operator.api.spec import Strategy
from modelendpoint_operator.api.status import Phase
from modelendpoint_operator.observation import Leg
from modelendpoint_operator.rollout.course import (
    Course,
    Situation,
    is_known,
    present_step,
    previous_revision,
    steps_ahead,
)
from modelendpoint_operator.rollout.steps import FULL, pods_in_step, pods_needed


def wanted_legs(course: Course, situation: Situation) -> tuple[Leg, ...]:
    """Share the traffic. The candidate stands first, so that with stickiness a growing weight only adds keys to it."""
    if situation.suspended:
        return ()
    weight = _candidate_weight(course, situation)
    if course.stable is not None and weight < FULL and stable_is_held(course, situation):
        return (Leg(revision=course.stable, weight=FULL, held=True),)
    if weight < FULL and not stable_is_there(course, situation):
        return ()
    legs = []
    if course.candidate is not None and weight > 0:
        legs.append(Leg(revision=course.candidate, weight=weight))
    if course.stable is not None and weight < FULL:
        legs.append(Leg(revision=course.stable, weight=FULL - weight))
    return tuple(legs)


def wanted_replicas(course: Course, situation: Situation) -> dict[int, int]:
    """Count the pods of each revision that shall have some, for where they are and for what comes next."""
    wanted = dict.fromkeys(kept_revisions(course, situation), situation.replicas)
    if course.stable is not None:
        wanted[course.stable] = 0 if situation.asleep else situation.replicas
    if course.candidate is not None:
        wanted[course.candidate] = candidate_replicas(course, situation)
    return wanted


def kept_revisions(course: Course, situation: Situation) -> frozenset[int]:
    """Name the previous revision while its pods wait for being needed again: as long as the stable one is watched, and
    with BlueGreen for a while. Pods that are gone are not started for that."""
    previous = previous_revision(course, situation)
    if previous is None or situation.suspended or not situation.seen.workloads().get(previous):
        return frozenset()
    return frozenset({previous}) if course.is_baking or time_to_keep(course, situation) else frozenset()


def time_to_keep(course: Course, situation: Situation) -> timedelta | None:
    """Say how long BlueGreen still keeps the previous revision; None when it does not."""
    rollout = situation.endpoint.spec.rollout
    promoted = next((entry.promoted_at for entry in course.history if entry.revision == course.stable), None)
    if rollout.strategy is not Strategy.BLUE_GREEN or promoted is None:
        return None
    left = promoted + timedelta(seconds=rollout.keep_seconds) - situation.now
    return left if left > timedelta(0) else None


def candidate_replicas(course: Course, situation: Situation) -> int:
    """Count the candidate's pods: one until its digest is known, so that all others can be told which bytes to load."""
    if situation.suspended or course.rollout is None:
        return 0
    if not digest_is_known(course, situation):
        return 1
    step = present_step(course, situation)
    if course.rollout.phase is Phase.PROMOTING or step is None or is_known(course, situation):
        return situation.replicas
    return pods_in_step(situation.endpoint.spec.rollout, step.weight, replicas=situation.replicas)


def carries(course: Course, situation: Situation, weight: int) -> bool:
    """Say whether the candidate's pods, as the routers see them, are enough for a weight."""
    rollout = situation.endpoint.spec.rollout
    return routable_pods(course, situation) >= pods_needed(rollout, weight, replicas=situation.replicas)


def routable_pods(course: Course, situation: Situation) -> int:
    """Count the candidate's pods that every router sends requests to."""
    return 0 if course.candidate is None else situation.seen.routable_pods(course.candidate)


def is_lost(course: Course, situation: Situation) -> bool:
    """Say that no pod of the candidate is ready any more."""
    return course.candidate is not None and situation.seen.ready_pods(course.candidate) == 0


def stable_is_there(course: Course, situation: Situation) -> bool:
    """Say whether stable has a ready pod, or has traffic already: to take that away would help nobody.

    After a suspension it has neither at first. A name without addresses would be remembered by the cluster's DNS.
    """
    written = situation.seen.routes.legs if situation.seen.routes else ()
    has_traffic = any(leg.revision == course.stable for leg in written)
    return course.stable is not None and (has_traffic or situation.seen.ready_pods(course.stable) > 0)


def stable_is_held(course: Course, situation: Situation) -> bool:
    """Say whether the routers shall hold the requests to stable: while it sleeps, and until every router sees a pod of it."""
    written = situation.seen.routes.legs if situation.seen.routes else ()
    was_held = any(leg.held and leg.revision == course.stable for leg in written)
    has_pods = course.stable is not None and situation.seen.routable_pods(course.stable) > 0
    return situation.asleep or (was_held and not has_pods)


def digest_is_known(course: Course, situation: Situation) -> bool:
    """Say whether it is known which bytes the candidate's pods must load."""
    return course.candidate is not None and situation.records[course.candidate].sha256 is not None


def has_less_than_its_step(course: Course, situation: Situation) -> bool:
    """Say whether an edit of the spec raised the weight of the step: that takes pods first, as any other rise."""
    step = present_step(course, situation)
    known = situation.seen.routes is not None
    return known and step is not None and _written_weight(course, situation) < step.weight


def _candidate_weight(course: Course, situation: Situation) -> int:
    """Name the weight of the phase; while the pods for it are not there, the one before it or the one it has."""
    if course.candidate is None or course.rollout is None or course.rollout.phase is Phase.DEPLOYING:
        return 0
    step = present_step(course, situation)
    if course.rollout.phase in (Phase.HOLDING, Phase.PAUSED) and step is not None:
        return step.weight
    weight = step.weight if course.rollout.phase is Phase.SHIFTING and step is not None else FULL
    before = 0 if course.stable is None else _weight_before(course, situation)
    possible = [weight, *(lower for lower in (before, _written_weight(course, situation)) if lower < weight)]
    return max((share for share in possible if carries(course, situation, share)), default=0)


def _weight_before(course: Course, situation: Situation) -> int:
    assert course.rollout is not None
    before = steps_ahead(course, situation)[: course.rollout.step]
    return before[-1].weight if before else 0


def _written_weight(course: Course, situation: Situation) -> int:
    written = situation.seen.routes.legs if situation.seen.routes else ()
    return next((leg.weight for leg in written if leg.revision == course.candidate), 0)
