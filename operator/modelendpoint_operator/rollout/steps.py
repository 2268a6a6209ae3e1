"""Arithmetic of a rollout's steps: which step comes, how many pods a weight needs. No phases here."""

from modelendpoint_operator.api.spec import ModelEndpointSpec, Step, Strategy

FULL = 100


def steps_of(spec: ModelEndpointSpec) -> tuple[Step, ...]:
    """Name the steps that the strategy goes through before the candidate gets everything."""
    return tuple(spec.rollout.steps) if spec.rollout.strategy is Strategy.CANARY else ()


def step_at(spec: ModelEndpointSpec, index: int) -> Step | None:
    """Name a step; None past the last one, which also is where a shortened list of steps leads."""
    steps = steps_of(spec)
    return steps[index] if index < len(steps) else None


def weight_before(spec: ModelEndpointSpec, index: int) -> int:
    """Name the weight that the candidate had before a step."""
    before = steps_of(spec)[:index]
    return before[-1].weight if before else 0


def replicas_for(weight: int, *, replicas: int) -> int:
    """Count the pods that carry a share of the traffic as well as ``replicas`` pods carry all of it: at least one."""
    return max(1, -(-replicas * weight // FULL))
