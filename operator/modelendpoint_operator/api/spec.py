"""What the author of a ModelEndpoint writes. Cross-field rules are CEL in the CRD (``api/rules.py``)."""

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field

from modelendpoint_operator.api.base import ApiModel

Sha256 = Annotated[str, Field(pattern=r"^[a-f0-9]{64}$", min_length=64, max_length=64)]
Weight = Annotated[int, Field(ge=0, le=100, strict=True)]
Seconds = Annotated[int, Field(ge=0, le=604800, strict=True)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)]


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


class SecretReference(ApiModel):
    """A Secret in the endpoint's own namespace."""

    name: ObjectName
    """Name of the Secret."""


class Model(ApiModel):
    """The model artifact."""

    uri: Annotated[
        str, Field(pattern=r"^(s3|gs|az|https|hf|oci|pvc|configmap)://[!-~]+$", min_length=1, max_length=2048)
    ]
    """Where the artifact is: s3://bucket/key, gs://bucket/key, az://container/key, https://host/path,
    hf://org/repo[@revision]/path, oci://registry/repository:tag, pvc://claim/path or configmap://name/key."""
    version: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """The model's version, for people. A new version starts a new revision, even at the same URI;
    a model's identity is the sha256 of its bytes."""
    sha256: Sha256 | None = None
    """Digest that the artifact must have. Other bytes are refused before they get a request."""
    credentials_secret_ref: SecretReference | None = None
    """Secret with the credentials of the store, one key each (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_ENDPOINT_URL, AWS_REGION, ...). It is mounted in the server's pods only. Whoever names it here must be
    allowed to get it."""


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


class Server(ApiModel):
    """The model server's pods. A change here starts a new revision."""

    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="100m", memory="256Mi"), limits=ResourceAmounts(memory="1Gi")
    )
    """Compute resources of each pod."""


class Strategy(StrEnum):
    """How traffic moves to a new revision."""

    CANARY = "Canary"
    REPLACE = "Replace"


class Step(ApiModel):
    """One step of a Canary rollout."""

    weight: Weight
    """Percent of the traffic that the candidate gets in this step."""
    hold_seconds: Seconds | None = None
    """Seconds to stay at this weight before the next step, counted from the moment the router has taken it up."""
    pause: Annotated[bool, Field(strict=True)] | None = None
    """Stay in this step until a person sets the annotation modelendpoint.dev/promote: "<revision>". A step either
    holds or pauses; one that does neither ends as soon as the router has taken up its weight."""


class Rollout(ApiModel):
    """How a new revision replaces the one that serves."""

    strategy: Strategy = Strategy.CANARY
    """Canary moves traffic to the candidate step by step. Replace starts the candidate at full size and then
    moves all traffic to it at once, without steps."""
    steps: Annotated[list[Step], Field(max_length=20)] = [
        Step(weight=10, hold_seconds=60),
        Step(weight=50, hold_seconds=60),
    ]
    """The steps of a Canary, with weights that do not fall. After the last one the candidate gets all traffic.
    Replace leaves them unused."""


class Routing(ApiModel):
    """The router in front of the model servers."""

    replicas: Annotated[int, Field(ge=1, le=50, strict=True)] = 2
    """Number of router pods."""
    timeout_seconds: Annotated[int, Field(ge=1, le=600, strict=True)] = 60
    """Longest time an answer may take; then the router answers 504."""


class ModelEndpointSpec(ApiModel):
    """What shall be true for the endpoint."""

    model: Model
    """The model to serve. A change here starts a new revision."""
    replicas: Annotated[int, Field(ge=0, le=1000, strict=True)] = 1
    """Number of model server pods at full traffic. 0 suspends the endpoint."""
    server: Server = Server()
    """The model server's pods. A change here starts a new revision."""
    rollout: Rollout = Rollout()
    """How a new revision replaces the one that serves."""
    routing: Routing = Routing()
    """The router in front of the model servers. A change here starts no new revision."""
    revision_history_limit: Annotated[int, Field(ge=1, le=100, strict=True)] = 10
    """Number of revisions that are kept for going back to, besides those in use."""
