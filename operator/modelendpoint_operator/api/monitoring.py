"""Parts of ``spec.monitoring``: what is kept of requests and answers. A change here restarts no pod of a model server."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.data import ColumnName
from modelendpoint_operator.api.references import ObjectName, SecretReference
from modelendpoint_operator.api.resources import ResourceAmounts, Resources

ReferenceUri = Annotated[
    str, Field(pattern=r"^(s3|gs|az|https|pvc|configmap)://[!-~]+$", min_length=1, max_length=2048)
]
CaptureUri = Annotated[str, Field(pattern=r"^(s3|gs|az|pvc)://[!-~]+$", min_length=1, max_length=1024)]


class CaptureFormat(StrEnum):
    """Format of the files of a capture."""

    PARQUET = "Parquet"
    JSON_LINES = "JSONLines"


class Capture(ApiModel):
    """A sample of the requests with their predictions, in an object store: files below
    date=<year>-<month>-<day>/hour=<hour>/, by UTC, with a row for each row of a request."""

    uri: CaptureUri
    """Folder for the files: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or pvc://claim/path."""
    credentials_secret_ref: SecretReference | None = None
    """Secret with the credentials of the store, one key each (AWS_ACCESS_KEY_ID, ...). It is mounted in the monitor's
    pod only. Whoever names it here must be allowed to get it."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the endpoint's namespace by whose workload identity the store is reached, instead of credentials.
    The monitor's pod runs as it. Whoever names it here must be allowed to create pods, or to create tokens for it."""
    percent: Annotated[float, Field(gt=0, le=100)] = 100
    """Percent of the requests that belong to the sample, chosen by a hash of their x-request-id; so shadows are sampled
    with the same requests."""
    format: CaptureFormat = CaptureFormat.PARQUET
    """Format of the files."""
    redact: Annotated[list[ColumnName], Field(max_length=200)] = []
    """Columns that are not stored: names of the model's columns, inputs or outputs, or of _request_id. Nothing is stored
    as long as no model of the endpoint has a column that is named here."""
    hash: Annotated[list[ColumnName], Field(max_length=200)] = []
    """Columns of which only HMAC-SHA256 with the key of hashKeySecretRef is stored: equal values stay equal."""
    hash_key_secret_ref: SecretReference | None = None
    """Secret with at least 16 bytes under the key "key", for hash. Whoever names it here must be allowed to get it."""
    max_seconds: Annotated[int, Field(ge=5, le=3600, strict=True)] = 300
    """Longest time from a request to its file. Shorter means more and smaller files."""


class OnDrift(StrEnum):
    """What becomes of a rollout while drift is found."""

    REPORT = "Report"
    PAUSE_ROLLOUT = "PauseRollout"


class DriftReference(ApiModel):
    """What the endpoint's requests and answers looked like when all was well."""

    uri: ReferenceUri
    """Where the profile is that mep profile wrote: s3://, gs://, az://, https://, pvc://claim/path or
    configmap://name/key. It is looked at once a minute; another one begins all windows anew."""
    credentials_secret_ref: SecretReference | None = None
    """Secret with the credentials of the store, one key each (AWS_ACCESS_KEY_ID, ...). It is mounted in the monitor's
    pod only. Whoever names it here must be allowed to get it."""


class DriftThresholds(ApiModel):
    """Changes that matter. Less than that is never told, however certain; and nothing is told that may be chance."""

    psi: Annotated[float, Field(ge=0, le=100)] = 0.1
    """Population stability index of a column between the reference and the window: 0.1 is a change that matters, 0.25 a
    large one."""
    missing_percent: Annotated[float, Field(ge=0, le=100)] = 1
    """Percentage points by which more rows have no value."""
    out_of_range_percent: Annotated[float, Field(ge=0, le=100)] = 1
    """Percent of the values of a column that are below the least or above the greatest of the reference."""
    unseen_percent: Annotated[float, Field(ge=0, le=100)] = 1
    """Percent of the values of a column that are in no row of the reference."""


class Drift(ApiModel):
    """Whether the columns of requests and predictions still look like a reference, window by window, for each revision,
    variant and shadow of its own. At most one window in 1000 without any change is called drift, however many columns there
    are, if rows are independent of each other."""

    reference: DriftReference
    """What is compared with."""
    percent: Annotated[float, Field(gt=0, le=100)] = 10
    """Percent of the requests that are looked at, by the same hash as those of capture; at least: where capture takes more,
    all of those are."""
    window_seconds: Annotated[int, Field(ge=10, le=604800, strict=True)] = 300
    """Least time that a window lasts."""
    minimum_rows: Annotated[int, Field(ge=100, le=1_000_000, strict=True)] = 1000
    """Least number of rows in a window: it goes on until it has them. More find smaller changes."""
    thresholds: DriftThresholds = DriftThresholds()
    """Changes that matter."""
    on_drift: OnDrift = OnDrift.REPORT
    """Report: tell of it, in the condition DriftDetected, an Event and metrics. PauseRollout: a rollout also waits in the
    step that it is in for a promote or an abort, when drift of the stable revision or the candidate is found."""


class Monitoring(ApiModel):
    """What is looked at and kept of requests and answers, by a monitor of the endpoint's own beside its servers."""

    capture: Capture | None = None
    """Store a sample of the requests with their predictions."""
    drift: Drift | None = None
    """Compare requests and predictions with a reference."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="100m", memory="256Mi"), limits=ResourceAmounts(memory="1Gi")
    )
    """Compute resources of the monitor's pod."""

    @property
    def percent(self) -> float:
        """Percent of the requests that the monitor needs."""
        return max(part.percent for part in (self.capture, self.drift) if part is not None)

    @property
    def service_account_name(self) -> str | None:
        """The account by which it reaches stores."""
        return self.capture.service_account_name if self.capture else None
