"""``spec.autoscaling``: how the number of model server pods follows the load. Choosing the number must not be here."""

from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel

Replicas = Annotated[int, Field(ge=1, le=1000, strict=True)]


class Autoscaling(ApiModel):
    """How the number of model server pods at full traffic follows the load. With several targets the largest number
    counts."""

    min_replicas: Replicas = 1
    """Fewest pods."""
    max_replicas: Replicas
    """Most pods."""
    target_requests_per_second: Annotated[float, Field(gt=0, le=1_000_000, strict=True)] | None = None
    """Requests per second and pod that are aimed at. The operator takes them from the routers' counters; no metrics
    server is needed."""
    target_cpu_utilization_percent: Annotated[int, Field(ge=1, le=1000, strict=True)] | None = Field(
        default=None, alias="targetCPUUtilizationPercent"
    )
    """CPU of the pods that is aimed at, in percent of what they request. A HorizontalPodAutoscaler sets spec.replicas by
    it; it needs a metrics server in the cluster."""
    scale_down_after_seconds: Annotated[int, Field(ge=0, le=3600, strict=True)] = 300
    """Seconds that fewer pods must have been enough before pods are taken away."""
