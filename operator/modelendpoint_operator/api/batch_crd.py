"""The kind BatchPrediction, for ``api/crd.py`` to build its CRD from."""

from modelendpoint_operator import names
from modelendpoint_operator.api.batch import BatchPredictionSpec
from modelendpoint_operator.api.batch_rules import BATCH_RULES
from modelendpoint_operator.api.batch_status import BatchPredictionStatus
from modelendpoint_operator.api.crd import CustomResource


def _ready(part: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{part}'


BATCH_PREDICTION = CustomResource(
    kind=names.BATCH_KIND,
    plural=names.BATCH_PLURAL,
    singular=names.BATCH_SINGULAR,
    short_names=names.BATCH_SHORT_NAMES,
    description=(
        "A BatchPrediction predicts for many rows, once or on a schedule, with a model or with a revision of a "
        "ModelEndpoint. The operator runs it as Jobs and tells in status how far it is. Every row of the input gets "
        "exactly one place: in the output, or with its reason among the rejected ones."
    ),
    spec=BatchPredictionSpec,
    status=BatchPredictionStatus,
    list_keys={"status.conditions": "type"},
    rules=BATCH_RULES,
    columns=(
        ("Status", "string", _ready("reason"), "What it is doing, or why it failed, in one word."),
        ("Progress", "string", ".status.progress.text", "Rows done and rows in all, or shards."),
        ("Rejected", "integer", ".status.progress.rowsRejected", "Rows that could not be predicted."),
        ("Rows/s", "integer", ".status.progress.rowsPerSecond", "Rows read in a second, lately."),
        ("ETA", "string", ".status.progress.eta", "About how long it will still take."),
        ("Last run", "date", ".status.schedule.lastScheduleTime", "Time since a run of the schedule was due."),
        ("Age", "date", ".metadata.creationTimestamp", "Time since it was created."),
    ),
    wide_columns=(
        ("Model", "string", ".status.model.version", "Version of the model."),
        ("Endpoint", "string", ".status.model.endpoint", "ModelEndpoint that the model comes from."),
        ("Revision", "integer", ".status.model.revision", "Revision of that ModelEndpoint."),
        ("SHA256", "string", ".status.model.sha256", "Digest of the model."),
        ("Schedule", "string", ".spec.schedule.cron", "When runs start."),
        ("Suspend", "boolean", ".spec.suspend", "Whether it is stopped."),
        ("Manifest", "string", ".status.manifest", "Where the manifest of the output is."),
        ("Message", "string", _ready("message"), "What it is doing, in a sentence."),
    ),
)
