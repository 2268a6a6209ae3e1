"""Compute resources of pods, as Kubernetes writes them."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from modelendpoint_operator.api.base import ApiModel


def _quantity_text(value: object) -> object:
    """Take a whole number (``cpu: 2``) as the text that it was written as; leave anything else to the pattern."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        min_length=1,
        max_length=32,
        json_schema_extra={"x-kubernetes-int-or-string": True},
    ),
    BeforeValidator(_quantity_text),
]
"""A Kubernetes quantity as its author wrote it (``500m``, ``1Gi``, ``2``); never rewritten."""


class ResourceAmounts(ApiModel):
    """Amounts of compute resources."""

    cpu: Quantity | None = None
    """CPU cores, such as 500m or 2."""
    memory: Quantity | None = None
    """Bytes of memory, such as 512Mi; at least 16Mi."""


class Resources(ApiModel):
    """Compute resources of one server pod."""

    requests: ResourceAmounts | None = None
    """What the pod is promised; the scheduler places it by these."""
    limits: ResourceAmounts | None = None
    """What the pod may use at most. The server sizes its threads by the CPU limit."""
