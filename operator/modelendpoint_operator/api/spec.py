"""What the author of a ModelEndpoint writes. Cross-field rules are CEL in the CRD (``api/rules.py``)."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelendpoint_operator import names
from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.data import Tolerance
from modelendpoint_operator.api.exposure import Gateway, Ingress
from modelendpoint_operator.api.gates import ErrorRateGate, Gates, InsufficientData, InsufficientDataAction
from modelendpoint_operator.api.monitoring import Monitoring
from modelendpoint_operator.api.placement import NodeSelector, SpreadConstraint, Toleration
from modelendpoint_operator.api.references import ObjectName, SecretReference
from modelendpoint_operator.api.resources import ResourceAmounts, Resources
from modelendpoint_operator.api.routing import Auth, Cors, HeaderName, RateLimit, Stickiness, Tls
from modelendpoint_operator.api.scaling import WAKE_SECONDS, Autoscaling

Sha256 = Annotated[str, Field(pattern=r"^[a-f0-9]{64}$", min_length=64, max_length=64)]
Weight = Annotated[int, Field(ge=0, le=100, strict=True)]
Seconds = Annotated[int, Field(ge=0, le=604800, strict=True)]


Uri = Annotated[str, Field(pattern=r"^(s3|gs|az|https|hf|oci|pvc|configmap)://[!-~]+$", min_length=1, max_length=2048)]


class GoldenExamples(ApiModel):
    """Requests with the answers that the model must give before it gets any traffic."""

    uri: Uri
    """Where the examples are, as in spec.model.uri: a JSON file {"examples": [{"inputs": ..., "outputs": ...}]}."""
    absolute_tolerance: Tolerance | None = None
    """Largest difference of a number from the one in the example. Without it 0.00001."""
    relative_tolerance: Tolerance | None = None
    """Largest difference as a share of the number in the example. Without it 0.0001."""


class Model(ApiModel):
    """The model artifact."""

    uri: Uri
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
    service_account_name: ObjectName | None = None
    """ServiceAccount of the endpoint's namespace by whose workload identity (AWS, Google, Azure) the store is reached,
    instead of credentials. The server's pods run as it, without a token for the Kubernetes API. Whoever names it here
    must be allowed to create pods, or to create tokens for it."""
    golden_examples: GoldenExamples | None = None
    """Examples that the model must reproduce; a pod whose model does not gets no traffic."""


class Batching(ApiModel):
    """Gathering the rows of several requests into one run of the model."""

    max_size: Annotated[int, Field(ge=0, le=4096, strict=True)]
    """Most rows of one run. 0 lets the server measure at its start whether gathering helps, and how far."""
    max_delay_milliseconds: Annotated[int, Field(ge=0, le=1000, strict=True)] | None = None
    """Longest wait for more rows before a run begins. Without it 2."""


class Limits(ApiModel):
    """What one server pod takes on; more is refused with 413, 400 or 503."""

    max_body_bytes: Annotated[int, Field(ge=1024, le=1073741824, strict=True)] | None = None
    """Largest body of a request, as sent and unpacked. Without it 33554432 (32 MiB)."""
    max_rows: Annotated[int, Field(ge=1, le=10000000, strict=True)] | None = None
    """Most rows in one request. Without it 100000."""
    max_concurrency: Annotated[int, Field(ge=1, le=1024, strict=True)] | None = None
    """Most predictions that run at the same time. Without it as many as the pod has cores, but at least 2."""
    max_waiting: Annotated[int, Field(ge=1, le=65536, strict=True)] | None = None
    """Most requests that wait for their turn before new ones are answered 503 with Retry-After."""


class Server(ApiModel):
    """The model server's pods. A change here starts a new revision."""

    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="100m", memory="256Mi"), limits=ResourceAmounts(memory="1Gi")
    )
    """Compute resources of each pod."""
    batching: Batching | None = None
    """Gather rows of several requests into one run. Off without it, which is best on CPUs for most models."""
    limits: Limits | None = None
    """What each pod takes on."""
    execution_providers: (
        Annotated[
            list[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+ExecutionProvider$", max_length=64)]],
            Field(min_length=1, max_length=8),
        ]
        | None
    ) = None
    """ONNX Runtime's execution providers in order of preference. Without them CPUExecutionProvider."""
    node_selector: NodeSelector | None = None
    """Labels that a node must have for the pods to run on it."""
    tolerations: Annotated[list[Toleration], Field(min_length=1, max_length=20)] | None = None
    """Taints of nodes that do not keep the pods away."""
    topology_spread_constraints: Annotated[list[SpreadConstraint], Field(min_length=1, max_length=8)] | None = None
    """How the pods of a revision are spread over the cluster. Without them over zones and nodes where there are several,
    as far as that goes."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods: those of a higher one push others aside where there is no room. Whoever names it here
    must be allowed to create pods."""


class Strategy(StrEnum):
    """How traffic moves to a new revision."""

    CANARY = "Canary"
    BLUE_GREEN = "BlueGreen"
    REPLACE = "Replace"


class Step(ApiModel):
    """One step of a Canary rollout."""

    weight: Weight
    """Percent of the traffic that the candidate gets in this step."""
    hold_seconds: Seconds | None = None
    """Seconds to stay at this weight before the next step, counted from the moment the router has taken it up."""
    pause: Annotated[bool, Field(strict=True)] | None = None
    """Stay in this step until a person sets the annotation modelendpoint.dev/promote: "<revision>". A step either
    holds or pauses; one that does neither ends as soon as the router has taken up its weight and the gates allow."""


class Preview(ApiModel):
    """The time before a BlueGreen candidate gets traffic, in which it can be tried at status.candidate.url."""

    hold_seconds: Seconds | None = None
    """Seconds to wait before all traffic moves to the candidate."""
    pause: Annotated[bool, Field(strict=True)] | None = None
    """Wait until a person sets the annotation modelendpoint.dev/promote: "<revision>"."""


class OnFailure(StrEnum):
    """What happens when a gate fails."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"


class Rollout(ApiModel):
    """How a new revision replaces the one that serves."""

    strategy: Strategy = Strategy.CANARY
    """Canary moves traffic to the candidate step by step. BlueGreen starts the candidate at full size beside the
    stable revision, moves all traffic at once, and keeps the previous revision running for a while. Replace also moves
    all traffic at once, and keeps nothing."""
    steps: Annotated[list[Step], Field(max_length=20)] = [
        Step(weight=10, hold_seconds=60),
        Step(weight=50, hold_seconds=60),
    ]
    """The steps of a Canary, with weights that do not fall. After the last one the candidate gets all traffic.
    The other strategies leave them unused."""
    candidate_replicas: Annotated[int, Field(ge=1, le=1000, strict=True)] | None = None
    """Number of the candidate's pods in the steps of a Canary. Without it as many as its weight needs."""
    preview: Preview | None = None
    """Time to try a BlueGreen candidate before it gets traffic. Without it there is none."""
    keep_seconds: Seconds = 300
    """Seconds that BlueGreen keeps the previous revision at full size after the promotion, so that going back takes
    no time. The other strategies leave it unused."""
    bake_seconds: Seconds = 0
    """Seconds after the promotion in which the gates go on watching, and go back to the previous revision when one
    fails. Its pods stay for that time."""
    on_failure: OnFailure = OnFailure.ROLLBACK
    """What happens when a gate fails in a step. Rollback gives all traffic back to the stable revision, Pause stays at
    the weight that the step has and waits for a person."""
    gates: Gates = Gates(
        error_rate=ErrorRateGate(),
        insufficient_data=InsufficientData(after_seconds=0, action=InsufficientDataAction.CONTINUE),
    )
    """What the candidate is measured by. Without them only clearly more errors than the stable revision has are
    a failure, and too little traffic to tell holds nothing up."""


ArmName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=20)]


class Arm(ApiModel):
    """A model of its own beside the main one, with pods of its own."""

    name: ArmName
    """Name of it, unique among all variants and shadows. What kept its name and its model keeps its pods."""
    model: Model
    """The model. A change here starts a new revision, which takes over as soon as all its pods are ready."""
    server: Server | None = None
    """Its model server's pods. Without it they are as spec.server says."""
    replicas: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    """Number of its model server pods."""


class HeaderMatch(ApiModel):
    """A header and its value."""

    name: HeaderName
    """Name of the header."""
    exact: Annotated[str, Field(pattern=r"^[!-~]([ -~]*[!-~])?$", min_length=1, max_length=256)]
    """Its whole value."""


class Match(ApiModel):
    """Which requests a variant answers beside its share."""

    header: HeaderMatch
    """Requests with this header go to the variant, as long as it has pods; of two variants to the first in the list."""


class Variant(Arm):
    """A model that answers a share of the requests for as long as it stands here (A/B/n)."""

    weight: Weight = 0
    """Percent of all requests that it answers, once its pods are ready. The main model, and its candidate during a
    rollout, share what the variants leave."""
    match: Match | None = None
    """Requests that go to this variant and to no other, whatever its weight is; such as those of testers."""


class Shadow(Arm):
    """A model that gets copies of requests, whose answers nobody gets."""

    percent: Weight = 100
    """Percent of all requests of which it gets a copy, once its pods are ready. Copies that it is too slow for are
    dropped."""


class Routing(ApiModel):
    """The router in front of the model servers."""

    replicas: Annotated[int, Field(ge=1, le=50, strict=True)] = 2
    """Number of router pods."""
    timeout_seconds: Annotated[int, Field(ge=1, le=600, strict=True)] = 60
    """Longest time an answer may take; then the router answers 504."""
    auth: Auth | None = None
    """Who may call the endpoint. Without it, as with none: {}, everybody who reaches the router."""
    cors: Cors | None = None
    """Which web pages may call the endpoint from a browser. Without it only those of its own origin."""
    rate_limit: RateLimit | None = None
    """How many requests callers may send. Without it as many as the servers can take."""
    tls: Tls | None = None
    """HTTPS on the router, at port 443. Without it the endpoint is plain HTTP, at port 80."""
    sticky_by: Stickiness | None = None
    """What keeps a caller with one revision while the traffic is shared. Without it every request is shared out by
    chance."""
    allow_pinning: Annotated[bool, Field(strict=True)] = False
    """Let a request choose who answers it, for tests: by the header x-model-variant with the name of a variant, or
    x-model-revision with the number of a revision that has traffic. Any other value is answered 503. Without it
    these headers mean nothing."""
    gateway: Gateway | None = None
    """Lead requests from outside to the endpoint by an HTTPRoute of the Gateway API. Without it none is written."""
    ingress: Ingress | None = None
    """Lead requests from outside to the endpoint by an Ingress. Without it none is written."""


class ModelEndpointSpec(ApiModel):
    """What shall be true for the endpoint."""

    model: Model
    """The model to serve. A change here starts a new revision."""
    replicas: Annotated[int, Field(ge=0, le=1000, strict=True)] = 1
    """Number of model server pods at full traffic. 0 suspends the endpoint. With autoscaling it is the least number;
    kubectl scale and autoscalers of your own may set it at any time. 1 keeps none running where autoscaling.minReplicas
    is 0."""
    autoscaling: Autoscaling | None = None
    """How the number of model server pods follows the load. Without it that number is replicas."""
    server: Server = Server()
    """The model server's pods. A change here starts a new revision."""
    rollout: Rollout = Rollout()
    """How a new revision replaces the one that serves."""
    variants: Annotated[list[Variant], Field(max_length=8)] = []
    """Other models that answer shares of the requests beside the main one, to be compared with it. A rollout of the
    main model goes on beside them; adding, changing or removing one disturbs no other."""
    shadows: Annotated[list[Shadow], Field(max_length=4)] = []
    """Models that get copies of requests, to see how they do under real traffic. No answer of theirs, slowness or
    failure ever reaches a client."""
    routing: Routing = Routing()
    """The router in front of the model servers. A change here starts no new revision."""
    monitoring: Monitoring | None = None
    """What is kept of requests and answers. Without it nothing is. A change here restarts no model server."""
    revision_history_limit: Annotated[int, Field(ge=1, le=100, strict=True)] = 10
    """Number of revisions that are kept for going back to, besides those in use."""

    @property
    def kinds_on_demand(self) -> frozenset[str]:
        """Name the kinds of children that not every endpoint has, and this one shall have."""
        by_cpu = self.autoscaling is not None and self.autoscaling.target_cpu_utilization_percent is not None
        asked = {
            "HorizontalPodAutoscaler": by_cpu,
            "HTTPRoute": self.routing.gateway is not None,
            "Ingress": self.routing.ingress is not None,
            names.BATCH_KIND: bool(self.rollout.gates.replay),
        }
        return frozenset(kind for kind, is_asked in asked.items() if is_asked)

    @property
    def arms(self) -> tuple[Variant | Shadow, ...]:
        """All models beside the main one, in their order: variants, then shadows."""
        return (*self.variants, *self.shadows)

    @property
    def may_sleep(self) -> bool:
        """Say whether no pod runs while there are no requests. Those of variants and shadows run all the time."""
        return self.autoscaling is not None and self.autoscaling.min_replicas == 0 and not self.arms

    @property
    def wake_seconds(self) -> int:
        """Longest time that a request waits for a pod, also of one that slept before it was told to do so no more."""
        return WAKE_SECONDS if self.autoscaling is None else self.autoscaling.wake_seconds

    @property
    def longest_answer_seconds(self) -> int:
        """Longest time from a request to its answer: the wait for a pod, and what the model may take."""
        return self.routing.timeout_seconds + (self.wake_seconds if self.may_sleep else 0)
