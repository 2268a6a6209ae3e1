"""The HorizontalPodAutoscaler of an endpoint with a CPU target. It scales the ModelEndpoint, and no Deployment."""

from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.metadata import build_metadata


def build_autoscaler(endpoint: ModelEndpoint) -> list[dict[str, Any]]:
    """Build the HorizontalPodAutoscaler; none where nothing depends on the CPU."""
    wanted = endpoint.spec.autoscaling
    if wanted is None or wanted.target_cpu_utilization_percent is None:
        return []
    target = {"type": "Utilization", "averageUtilization": wanted.target_cpu_utilization_percent}
    return [
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": build_metadata(endpoint, name=endpoint.name, component=names.COMPONENT_MODEL_SERVER),
            "spec": {
                "scaleTargetRef": {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": endpoint.name},
                # Nothing to measure where no pod runs: whether one is needed is not its business.
                "minReplicas": max(wanted.min_replicas, 1),
                "maxReplicas": wanted.max_replicas,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": wanted.scale_down_after_seconds}},
            },
        }
    ]
