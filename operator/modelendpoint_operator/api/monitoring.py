"""Parts of ``spec.monitoring``: what is kept of requests and answers. A change here restarts no pod of a model server."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.data import ColumnName
from modelendpoint_operator.api.references import ObjectName, SecretReference
from modelendpoint_operator.api.resources import ResourceAmounts, Resources

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


class Monitoring(ApiModel):
    """What is kept of requests and answers, by a monitor of the endpoint's own beside its servers."""

    capture: Capture
    """Store a sample of the requests with their predictions."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="100m", memory="256Mi"), limits=ResourceAmounts(memory="1Gi")
    )
    """Compute resources of the monitor's pod."""
