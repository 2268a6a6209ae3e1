"""Arithmetic of a rollout's steps: which steps there are, how many pods a weight needs. No phases here."""

from modelendpoint_operator.api.spec import ModelEndpointSpec, Rollout, Step, Strategy

FULL = 100


def steps_of(spec: ModelEndpointSpec, *, known: bool = False) -> tuple[Step, ...]:
    """Name the steps that a candidate goes through before it gets everything.

    A step of weight 0 is a check before any traffic. A candidate from whose traffic there is nothing to learn
    (``known``) has no step but that; nothing is to be learned from its predictions for recorded rows either.
    """
    rollout = spec.rollout
    is_checked = any(gate.path for gate in rollout.gates.http) or (bool(rollout.gates.replay) and not known)
    check = (Step(weight=0),) if is_checked else ()
    if known or rollout.strategy is Strategy.REPLACE:
        return check
    if rollout.strategy is Strategy.BLUE_GREEN:
        preview = rollout.preview
        return (Step(weight=0, hold_seconds=preview.hold_seconds, pause=preview.pause),) if preview else check
    return (*check, *rollout.steps)


def replicas_for(weight: int, *, replicas: int) -> int:
    """Count the pods that carry a share of the traffic as well as ``replicas`` pods carry all of it: at least one."""
    return max(1, -(-replicas * weight // FULL))


def pods_in_step(rollout: Rollout, weight: int, *, replicas: int) -> int:
    """Count the pods that a candidate gets for a step."""
    if rollout.strategy is not Strategy.CANARY or weight == FULL:
        return replicas
    return rollout.candidate_replicas or replicas_for(weight, replicas=replicas)


def pods_needed(rollout: Rollout, weight: int, *, replicas: int) -> int:
    """Count the pods without which a candidate must not get a weight."""
    if weight == 0:
        return 0
    return min(replicas_for(weight, replicas=replicas), pods_in_step(rollout, weight, replicas=replicas))
