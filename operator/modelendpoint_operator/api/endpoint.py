"""One ModelEndpoint as read from the API server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_operator.api.status import ModelEndpointStatus


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
