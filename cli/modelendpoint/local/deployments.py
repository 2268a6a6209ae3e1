"""How many pods a Deployment creates and ends: what the controllers of Deployments and ReplicaSets do. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Replica:
    """A pod of a Deployment that was not told to end."""

    name: str
    is_current: bool
    """It was made from the Deployment's present template."""
    is_ready: bool


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What to do with a Deployment's pods."""

    create: int = 0
    end: tuple[str, ...] = ()


def balance(pods: Sequence[Replica], *, replicas: int, surge: int = 1) -> Changes:
    """Decide on the pods of one Deployment, oldest first.

    An update never takes a ready pod away before its successor is ready, unless there may be no pod more than wanted:
    without ``surge`` the old ones go first.
    """
    current = [pod for pod in pods if pod.is_current]
    old = [pod for pod in pods if not pod.is_current]
    if surge == 0 and old:
        return Changes(end=tuple(pod.name for pod in old))
    # A pod that is not ready serves nobody, so ending it takes nothing away.
    ending = [pod for pod in old if not pod.is_ready or replicas == 0]
    spare = max(0, sum(pod.is_ready for pod in pods) - replicas)
    ending += [pod for pod in old if pod not in ending][:spare]
    ending += _surplus(current, replicas)
    staying = len(pods) - len(ending)
    room = replicas + (surge if old else 0) - staying
    return Changes(create=max(0, min(room, replicas - len(current))), end=tuple(pod.name for pod in ending))


def _surplus(current: Sequence[Replica], replicas: int) -> list[Replica]:
    """Choose whom to end when there are too many: those that are not ready first, then the youngest."""
    by_worth = sorted(current, key=lambda pod: not pod.is_ready)
    return by_worth[replicas:]
