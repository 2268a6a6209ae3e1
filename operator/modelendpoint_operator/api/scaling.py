"""``spec.autoscaling``: how the number of model server pods follows the load. Choosing the number must not be here."""

from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel

WAKE_SECONDS = 60


class Autoscaling(ApiModel):
    """How the number of model server pods at full traffic follows the load. With several targets the largest number
    counts."""

    min_replicas: Annotated[int, Field(ge=0, le=1000, strict=True)] = 1
    """Fewest pods. With 0 all of them end when no request came for idleSeconds; the next request starts one, and the
    routers hold what comes until it is ready."""
    max_replicas: Annotated[int, Field(ge=1, le=1000, strict=True)]
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
    idle_seconds: Annotated[int, Field(ge=5, le=604800, strict=True)] = 300
    """Seconds without a request after which the last pods end, where minReplicas is 0."""
    wake_seconds: Annotated[int, Field(ge=1, le=600, strict=True)] = WAKE_SECONDS
    """Longest time that a request waits until a pod is ready, where minReplicas is 0. Then it is answered 503 with
    Retry-After, and the pod goes on starting. Longer than a pod needs to get and load the model."""
