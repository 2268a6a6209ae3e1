"""The gates of ``spec.rollout.gates``: what a candidate must not do worse than the stable revision.

How they are judged stands in ``rollout/gates``; a new kind of gate is a class here, a module there, and their tests.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.data import Columns, Compression, Format, Tolerance
from modelendpoint_operator.api.references import SecretReference
from modelendpoint_operator.api.resources import ResourceAmounts, Resources

GateName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40)]
Limit = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Interval = Annotated[int, Field(ge=1, le=3600, strict=True)]


class ErrorRateGate(ApiModel):
    """Compare the shares of failed requests, as the routers count them."""

    max_increase_percent: Annotated[float, Field(gt=0, le=100, strict=True)] = 2
    """By how many percentage points the candidate's share of failed requests may be above the stable revision's.
    Smaller ones take more requests to be sure of."""
    count_client_errors: Annotated[bool, Field(strict=True)] = True
    """Count 4xx answers as failed too. Both revisions get the same mix of requests, so a difference is the model's:
    mostly a changed signature."""


class LatencyGate(ApiModel):
    """Compare a percentile of the time that the model servers take, as the routers measure it."""

    percentile: Annotated[float, Field(ge=1, le=99.9, strict=True)] = 95
    """The percentile that is compared."""
    max_increase_percent: Annotated[float, Field(ge=0, le=10000, strict=True)] = 20
    """By how many percent the candidate's may be above the stable revision's ..."""
    max_increase_milliseconds: Annotated[int, Field(ge=0, le=600000, strict=True)] = 10
    """... or by how many milliseconds: whatever allows more. Routers measure whole milliseconds."""


class PrometheusGate(ApiModel):
    """Ask Prometheus a question whose answer must stay within limits."""

    name: GateName
    """Name of the gate."""
    query: Annotated[str, Field(min_length=1, max_length=4096)]
    """PromQL with one number as its result. $(NAMESPACE), $(ENDPOINT), $(CANDIDATE) and $(STABLE) stand for the names
    and the numbers of the revisions."""
    address: Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=2048)] | None = None
    """Where Prometheus is. Without it the one of the installation (the chart's prometheus.address)."""
    min: Limit | None = None
    """Smallest result that is right."""
    max: Limit | None = None
    """Largest result that is right."""
    interval_seconds: Interval = 15
    """Seconds between two measurements."""
    failure_threshold: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    """Wrong results in a row that fail the gate."""


class HttpGate(ApiModel):
    """Ask over HTTP: the candidate itself before it gets traffic, or a service of your own that judges it."""

    name: GateName
    """Name of the gate."""
    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=2048)] | None = None
    """Path that is asked at a pod of the candidate. Either this or url."""
    url: Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=2048)] | None = None
    """Address of a service that judges the candidate: in the endpoint's namespace, or allowed by the installation
    (the chart's gates.allowedHosts). $(NAMESPACE), $(ENDPOINT), $(CANDIDATE) and $(STABLE) as in a query.
    200 is a pass, 202 means that it can't tell yet, anything else a failed measurement."""
    body: Annotated[str, Field(max_length=16384)] | None = None
    """Body of a POST, sent as application/json. Without it the request is a GET."""
    interval_seconds: Interval = 10
    """Seconds between two measurements."""
    timeout_seconds: Annotated[int, Field(ge=1, le=30, strict=True)] = 5
    """Longest time an answer may take."""
    failure_threshold: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    """Failed measurements in a row that fail the gate."""


class ReplayInput(ApiModel):
    """Recorded rows."""

    uri: Annotated[str, Field(pattern=r"^(s3|gs|az|https|pvc|configmap)://[!-z|~]+$", min_length=1, max_length=1024)]
    """A file, a prefix that ends in /, or a glob: s3://bucket/key, gs://bucket/key, az://container/key,
    https://host/path, pvc://claim/path or configmap://name/key."""
    format: Format | None = None
    """Format of the files. Without it their names tell: .csv, .jsonl, .parquet, with .gz or .zst behind."""
    compression: Compression | None = None
    """Compression of the files. Without it their names tell."""
    credentials_secret_ref: SecretReference | None = None
    """Secret with the credentials of the store, one key each. Whoever names it here must be allowed to get it."""


class ReplayOutput(ApiModel):
    """Where it is written down how the revisions differ."""

    uri: Annotated[str, Field(pattern=r"^(s3|gs|az|pvc)://[!-z|~]+$", min_length=1, max_length=900)]
    """Folder in which each run gets a folder of its own: with the rows that the two disagree about, and a summary."""
    credentials_secret_ref: SecretReference | None = None
    """Secret with the credentials of the store, one key each. Whoever names it here must be allowed to get it."""


class ReplayGate(ApiModel):
    """Let the candidate and the stable revision predict for the same recorded rows, and compare the predictions."""

    name: GateName
    """Name of the gate."""
    input: ReplayInput
    """The rows, as in a BatchPrediction's spec.input."""
    output: ReplayOutput
    """Where the comparison goes."""
    columns: Columns | None = None
    """Which columns go into the models, as in a BatchPrediction's spec.columns."""
    max_disagreement_percent: Annotated[float, Field(ge=0, le=100, strict=True)] = 1
    """Percent of the rows about which the two may disagree. A row that only one of them can predict counts as one."""
    max_rejected_percent: Annotated[float, Field(ge=0, le=100, strict=True)] = 1
    """Percent of the rows that neither can predict; above it the rows are no measure, and the gate can't tell."""
    absolute_tolerance: Tolerance | None = None
    """Largest difference of two numbers that still agree. Without it 0.00001."""
    relative_tolerance: Tolerance | None = None
    """Largest difference as a share of the number. Without it 0.0001."""
    parallelism: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    """Number of worker pods. Each loads both models."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="500m", memory="512Mi"), limits=ResourceAmounts(memory="2Gi")
    )
    """Compute resources of each worker pod. Without them 500m CPU and 512Mi memory are requested, up to 2Gi used."""


class InsufficientDataAction(StrEnum):
    """What happens when a gate still can't tell at its deadline."""

    CONTINUE = "Continue"
    PAUSE = "Pause"
    ROLLBACK = "Rollback"


class InsufficientData(ApiModel):
    """What to do when a gate can't tell, mostly because there is too little traffic."""

    after_seconds: Annotated[int, Field(ge=0, le=604800, strict=True)] = 3600
    """Seconds to wait for more data beyond a step's holdSeconds."""
    action: InsufficientDataAction = InsufficientDataAction.PAUSE
    """Continue goes to the next step all the same, Pause waits for a person, Rollback goes back."""


class Gates(ApiModel):
    """What the candidate is measured by, in every step and while spec.rollout.bakeSeconds run."""

    error_rate: ErrorRateGate | None = None
    """Compare failed requests."""
    latency: LatencyGate | None = None
    """Compare response times."""
    prometheus: Annotated[list[PrometheusGate], Field(max_length=10)] = []
    """Questions to Prometheus."""
    http: Annotated[list[HttpGate], Field(max_length=10)] = []
    """HTTP checks. Those with a path must pass before the candidate gets any traffic, on the first deployment too."""
    replay: Annotated[list[ReplayGate], Field(max_length=4)] = []
    """Comparisons of the predictions for recorded rows, which must pass before the candidate gets any traffic. There is
    none on the first deployment, nor for a revision that served before."""
    minimum_requests: Annotated[int, Field(ge=1, le=1000000, strict=True)] = 50
    """Requests that the candidate must have answered in a step before a comparison can pass."""
    confidence_percent: Annotated[float, Field(ge=50, le=99.99, strict=True)] = 95
    """How sure a comparison must be: a candidate that is no worse is failed in at most 100 minus this percent of the
    rollouts, all comparisons, steps and looks together."""
    insufficient_data: InsufficientData = InsufficientData()
    """What to do when a gate can't tell."""
