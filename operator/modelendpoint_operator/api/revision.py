"""What a revision is: an immutable snapshot of everything that a model server's pod is made from."""

import hashlib
import json
from typing import Any

from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.spec import Arm, Model, ModelEndpointSpec, Server


class RevisionTemplate(ApiModel):
    """The snapshot, as kept in the ``data`` of a ControllerRevision."""

    model: Model
    """The model."""
    server: Server
    """The settings of its server."""
    server_image: str
    """The image of its server."""
    arm: str | None = None
    """The variant or shadow that it belongs to; None for the main model. The same model in another one is another
    revision."""

    @classmethod
    def from_spec(cls, spec: ModelEndpointSpec, *, server_image: str) -> "RevisionTemplate":
        """Take the snapshot of the main model that the spec asks for now."""
        return cls(model=spec.model, server=spec.server, server_image=server_image)

    @classmethod
    def of_arm(cls, arm: Arm, spec: ModelEndpointSpec, *, server_image: str) -> "RevisionTemplate":
        """Take the snapshot that a variant or shadow asks for now."""
        return cls(model=arm.model, server=arm.server or spec.server, server_image=server_image, arm=arm.name)

    @property
    def key(self) -> str:
        """Say whether two templates are the same revision: they are if their keys are equal.

        Fields at their default are left out, so that an operator which knows a new field finds the old revisions again.
        """
        return _digest(self.model_dump(mode="json", by_alias=True, exclude_defaults=True))

    def runs_alike(self, other: "RevisionTemplate") -> bool:
        """Say whether both would run the same bytes in the same way, whatever the model is called and wherever it is."""
        return self.server == other.server and self.server_image == other.server_image


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
