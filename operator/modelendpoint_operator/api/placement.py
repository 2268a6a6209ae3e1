"""Parts of ``spec.server``: where its pods may run, how they are spread, and what they may push aside."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel

_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"

LabelKey = Annotated[str, Field(pattern=rf"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{_NAME}$", min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(pattern=rf"^({_NAME})?$", max_length=63)]
NodeSelector = dict[str, LabelValue]


class TolerationOperator(StrEnum):
    """How a toleration compares."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiModel):
    """A taint of nodes that does not keep the pods away, written as in a pod."""

    key: LabelKey | None = None
    """Key of the taint. Without it, and with the operator Exists, every taint is tolerated."""
    operator: TolerationOperator | None = None
    """Equal compares key and value, Exists the key only. Without it Equal."""
    value: LabelValue | None = None
    """Value of the taint."""
    effect: TaintEffect | None = None
    """Effect of the taint. Without it all effects."""
    toleration_seconds: Annotated[int, Field(ge=0, le=604800, strict=True)] | None = None
    """Seconds that a pod stays on its node after a taint with the effect NoExecute has come. Without it for ever."""


class WhenUnsatisfiable(StrEnum):
    """What happens to a pod that would break a spread."""

    DO_NOT_SCHEDULE = "DoNotSchedule"
    SCHEDULE_ANYWAY = "ScheduleAnyway"


class SpreadConstraint(ApiModel):
    """How the pods of one revision are spread over the nodes that share a label."""

    topology_key: LabelKey
    """Label of nodes, such as topology.kubernetes.io/zone or kubernetes.io/hostname."""
    max_skew: Annotated[int, Field(ge=1, le=1000, strict=True)] | None = None
    """Most pods by which two values of the label may differ. Without it 1."""
    when_unsatisfiable: WhenUnsatisfiable | None = None
    """DoNotSchedule lets a pod wait that would break the spread, ScheduleAnyway starts it. Without it ScheduleAnyway."""
