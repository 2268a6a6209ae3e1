"""One ModelEndpoint as read from the API server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_operator.api.status import ConditionType, ModelEndpointStatus


@dataclass(frozen=True, kw_only=True)
class ModelEndpoint:
    """A user's ModelEndpoint: identity, verbs (annotations), spec and the status we wrote last."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: ModelEndpointSpec
    annotations: Mapping[str, str] = field(default_factory=dict)
    status: ModelEndpointStatus = field(default_factory=ModelEndpointStatus)

    def may_have(self, kind: str) -> bool:
        """Say whether there may be an object of a kind that endpoints have only on demand.

        While all that the spec asks for has not been written, there may be what an earlier one asked for.
        """
        is_settled = self.status.observed_generation == self.generation
        is_stopped = any(told.type == ConditionType.STALLED for told in self.status.conditions)
        return not is_settled or is_stopped or kind in self.spec.kinds_on_demand

    @property
    def is_asleep(self) -> bool:
        """Say whether no pod is needed until a request comes, as decided last."""
        return self.status.scale is not None and self.status.scale.replicas == 0

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "ModelEndpoint":
        """Parse an object from the API server.

        Raises ``pydantic.ValidationError`` for a spec that this operator does not understand, for example one
        that was stored under a newer CRD.
        """
        metadata = body["metadata"]
        return cls(
            name=metadata["name"],
            namespace=metadata["namespace"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            annotations=dict(metadata.get("annotations") or {}),
            spec=ModelEndpointSpec.model_validate(body["spec"]),
            status=ModelEndpointStatus.model_validate(body.get("status") or {}),
        )
