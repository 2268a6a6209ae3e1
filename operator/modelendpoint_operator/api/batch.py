"""What the author of a BatchPrediction writes, and one BatchPrediction as read from the API server.

Cross-field rules are CEL in the CRD (``api/batch_rules.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.batch_status import BatchPredictionStatus
from modelendpoint_operator.api.data import ColumnName, Columns, Compression, Format, Tolerance
from modelendpoint_operator.api.references import ObjectName, SecretReference
from modelendpoint_operator.api.resources import ResourceAmounts, Resources
from modelendpoint_operator.api.spec import Sha256, Uri

PLACEHOLDER = r"\{\{ ?\.[A-Za-z]+ ?\}\}"
"""Stands in a URI for a part that each scheduled run fills in by itself."""

DataUri = Annotated[
    str, Field(pattern=rf"^(s3|gs|az|https|pvc|configmap)://([!-z|~]|{PLACEHOLDER})+$", min_length=1, max_length=1024)
]
OutputUri = Annotated[
    str, Field(pattern=rf"^(s3|gs|az|pvc)://([!-z|~]|{PLACEHOLDER})+$", min_length=1, max_length=1024)
]
Revision = Annotated[int, Field(ge=1, le=2147483647, strict=True)]


class BatchModel(ApiModel):
    """The model artifact."""

    uri: Uri
    """Where the artifact is, as in a ModelEndpoint's spec.model.uri."""
    version: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """The model's version, for people."""
    sha256: Sha256 | None = None
    """Digest that the artifact must have; other bytes are refused before anything is predicted."""
    credentials_secret_ref: SecretReference | None = None
    """Secret with the credentials of the model's store, one key each. Whoever names it here must be allowed to get it."""


class EndpointReference(ApiModel):
    """A ModelEndpoint in the same namespace whose model predicts."""

    name: ObjectName
    """Name of the ModelEndpoint."""
    revision: Revision | None = None
    """Number of the revision. Without it the one that is stable when the run starts; status.model reports it, and it
    stays the same until the run ends."""


class Input(ApiModel):
    """The rows to predict for."""

    uri: DataUri
    """A file, a prefix that ends in /, or a glob: s3://bucket/key, gs://bucket/key, az://container/key,
    https://host/path, pvc://claim/path or configmap://name/key. With a schedule it may hold {{ .ScheduledDate }} and
    the other placeholders of spec.schedule."""
    format: Format | None = None
    """Format of the files. Without it their names tell: .csv, .jsonl, .parquet, with .gz or .zst behind."""
    compression: Compression | None = None
    """Compression of the files. Without it their names tell."""
    credentials_secret_ref: SecretReference | None = None
    """Secret with the credentials of the store, one key each (AWS_ACCESS_KEY_ID, ...). Whoever names it here must be
    allowed to get it."""


class Output(ApiModel):
    """Where the predictions go."""

    uri: OutputUri
    """Folder for the files of the run: part-*, errors/ with the rejected rows, and _MANIFEST.json, which appears last.
    It must hold no results of another run. A schedule needs a folder for each run: {{ .ScheduledDate }} and the other
    placeholders of spec.schedule."""
    format: Format | None = None
    """Format of the files. Without it that of the input."""
    partitioning: Annotated[list[ColumnName], Field(max_length=8)] = []
    """Columns of the input by whose values the files are put into folders, such as country=NL/part-00003.parquet."""
    credentials_secret_ref: SecretReference | None = None
    """Secret with the credentials of the store, one key each. Whoever names it here must be allowed to get it."""


class Comparison(ApiModel):
    """Another model that predicts for the same rows. Either revision or model. Its predictions are not in the output;
    where they differ is in disagreements/, and a summary in status.comparison."""

    revision: Revision | None = None
    """A revision of the endpoint in endpointRef."""
    model: BatchModel | None = None
    """Any other model."""
    absolute_tolerance: Tolerance | None = None
    """Largest difference of two numbers that still agree. Without it 0.00001."""
    relative_tolerance: Tolerance | None = None
    """Largest difference as a share of the number. Without it 0.0001."""


class ErrorThreshold(ApiModel):
    """How many rows may be rejected before the run fails. Either rows or percent."""

    rows: Annotated[int, Field(ge=0, le=1_000_000_000_000, strict=True)] | None = None
    """Most rejected rows."""
    percent: Annotated[float, Field(ge=0, le=100)] | None = None
    """Most rejected rows in percent of all rows."""


class ConcurrencyPolicy(StrEnum):
    """What happens when a run is due and the last one still works."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


class Schedule(ApiModel):
    """When runs start. Each run is a BatchPrediction of its own, named <name>-<minute>, with its own status.

    Placeholders in input.uri and output.uri: {{ .ScheduledDate }} (2026-11-30), {{ .ScheduledHour }} (06),
    {{ .ScheduledTime }} (20261130T0600) and {{ .Run }} (the run's name), all for the time that the run stands for, in
    the schedule's time zone."""

    cron: Annotated[str, Field(pattern=r"^\S+( \S+){4}$", min_length=9, max_length=200)]
    """Minute, hour, day of the month, month and day of the week, as in crontab(5): "0 6 * * MON"."""
    time_zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9+_/-]+$", min_length=1, max_length=64)] = "Etc/UTC"
    """Time zone of the schedule by its name in the IANA database, such as Europe/Berlin."""
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.FORBID
    """What happens when a run is due and an earlier one still works. Forbid: the new one is skipped and reported.
    Allow: both work. Replace: the earlier one is stopped and deleted."""
    starting_deadline_seconds: Annotated[int, Field(ge=0, le=31536000, strict=True)] | None = None
    """Longest delay with which a run may still start, for example because the operator was down; older ones are
    reported as missed. Without it the latest one that is due is started however late; earlier ones count as missed."""
    successful_runs_history_limit: Annotated[int, Field(ge=0, le=100, strict=True)] = 3
    """Number of completed runs that are kept as objects; their output stays in any case."""
    failed_runs_history_limit: Annotated[int, Field(ge=0, le=100, strict=True)] = 3
    """Number of failed runs that are kept as objects."""


class BatchPredictionSpec(ApiModel):
    """What shall be predicted. Without a schedule only suspend, parallelism, deadlineSeconds and
    ttlSecondsAfterFinished can be changed later."""

    model: BatchModel | None = None
    """The model. Either this or endpointRef."""
    endpoint_ref: EndpointReference | None = None
    """The ModelEndpoint whose model predicts. Either this or model."""
    input: Input
    """The rows to predict for."""
    output: Output
    """Where the predictions go."""
    columns: Columns = Columns()
    """Which columns go into the model and into the output."""
    compare_with: Comparison | None = None
    """Another model that predicts for the same rows."""
    parallelism: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    """Number of worker pods. It is settled when the plan is made: later it can only be made smaller, or as large as it
    was then."""
    shard_rows: Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)] = 1_000_000
    """Most rows in one shard: the part of the input that is written, and tried again, as a whole."""
    shard_bytes: Annotated[int, Field(ge=1024, le=1_099_511_627_776, strict=True)] = 268_435_456
    """Most bytes of the input in one shard."""
    error_threshold: ErrorThreshold = ErrorThreshold(percent=1)
    """How many rows may be rejected before the run fails. Rejected rows never stop the others; they are listed in
    errors/ with file, row, column and reason."""
    retries: Annotated[int, Field(ge=0, le=100, strict=True)] = 6
    """How often the work of one worker is tried again, with growing pauses. Evictions and lost nodes do not count."""
    deadline_seconds: Annotated[int, Field(ge=1, le=31536000, strict=True)] | None = None
    """Longest time of a run from its start; then it fails."""
    service_account_name: ObjectName | None = None
    """ServiceAccount by whose workload identity (AWS, Google, Azure) the stores are reached, instead of credentials. The
    workers run as it, without a token for the Kubernetes API. An endpoint's own one is not taken over: name it here.
    Whoever names it must be allowed to create pods, or to create tokens for it."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="500m", memory="512Mi"), limits=ResourceAmounts(memory="2Gi")
    )
    """Compute resources of each worker pod."""
    schedule: Schedule | None = None
    """Start a run again and again. Without it there is one run, now."""
    suspend: Annotated[bool, Field(strict=True)] = False
    """Stop the workers until this is false again; what they have committed stays. With a schedule: start no new runs;
    those that were due in the meantime are not made up for."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31536000, strict=True)] | None = None
    """Seconds after which a finished run is deleted, as an object; its output stays. Do not set it on an object that a
    GitOps tool applies: the tool would create it again."""


@dataclass(frozen=True, kw_only=True)
class BatchPrediction:
    """A user's BatchPrediction: identity, verbs (annotations), spec and the status we wrote last."""

    name: str
    namespace: str
    uid: str
    generation: int
    created: str
    spec: BatchPredictionSpec
    annotations: Mapping[str, str] = field(default_factory=dict)
    status: BatchPredictionStatus = field(default_factory=BatchPredictionStatus)

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "BatchPrediction":
        """Parse an object from the API server; raises ``pydantic.ValidationError`` for a spec that is not understood."""
        metadata = body["metadata"]
        return cls(
            name=metadata["name"],
            namespace=metadata["namespace"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            created=metadata["creationTimestamp"],
            annotations=dict(metadata.get("annotations") or {}),
            spec=BatchPredictionSpec.model_validate(body["spec"]),
            status=BatchPredictionStatus.model_validate(body.get("status") or {}),
        )
