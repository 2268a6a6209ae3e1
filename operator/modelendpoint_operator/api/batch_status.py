"""What the operator answers in a BatchPrediction's ``status``, which is also the whole memory of its run."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.spec import Sha256
from modelendpoint_operator.api.status import Condition


class BatchConditionType(StrEnum):
    """Types of conditions; the first three follow kstatus, the others are for ``kubectl wait``, as a Job's."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    COMPLETE = "Complete"
    FAILED = "Failed"


class BatchCondition(Condition):
    """One condition, as ``metav1.Condition``."""

    type: Annotated[str, Field(max_length=316)]
    """Complete: the output is whole. Failed: the run has ended without it. Ready: what the spec asks for is done, or
    with a schedule, the next run is waited for. Reconciling: work is under way. Stalled: a person is needed."""


class Phase(StrEnum):
    """Where a run is. Drawn in ``batch/machine.py``."""

    PENDING = "Pending"
    PLANNING = "Planning"
    WORKING = "Working"
    FINISHING = "Finishing"
    COMPLETE = "Complete"
    FAILED = "Failed"


class PinnedModel(ApiModel):
    """The model that predicts, settled when the run started."""

    uri: str
    """Where the artifact is."""
    version: str | None = None
    """The model's version as its author called it."""
    sha256: Sha256 | None = None
    """Digest of its bytes; absent until it is known."""
    endpoint: str | None = None
    """The ModelEndpoint that it comes from."""
    revision: int | None = None
    """The revision of that ModelEndpoint."""
    credentials_secret: str | None = None
    """Secret with the credentials of the model's store."""
    execution_providers: list[str] = []
    """ONNX Runtime's execution providers that the revision names."""


class Progress(ApiModel):
    """How far a run has come."""

    text: str
    """Rows done and rows in all, or shards where the number of rows is not known yet."""
    shards: int
    """Number of shards that the input was divided into."""
    shards_done: int = 0
    """Number of shards that are committed."""
    rows: int | None = None
    """Number of rows in the input, where it is known."""
    rows_in: int = 0
    """Rows read."""
    rows_out: int = 0
    """Rows with a prediction in the output."""
    rows_rejected: int = 0
    """Rows that could not be predicted; they are listed in errors/."""
    rows_per_second: int | None = None
    """Rows read in a second, lately."""
    eta: str | None = None
    """About how long it will still take."""
    measured_at: datetime
    """When this was measured."""


class ComparisonStatus(ApiModel):
    """How far two models agreed about the same rows."""

    rows: int
    """Rows that both predicted for."""
    disagreeing: int
    """Rows where they differ by more than the tolerances."""
    largest_difference: float | None = None
    """The largest difference of two numbers."""


class Failure(ApiModel):
    """Why a run failed."""

    reason: str
    """Why, in one word."""
    message: str
    """Why, in a sentence, with the next step."""


class MissedRun(ApiModel):
    """A run that was due and did not start."""

    time: datetime
    """When it was due."""
    reason: str
    """Why, in one word: TooLate, StillRunning or Suspended."""


class ScheduleStatus(ApiModel):
    """The runs of a schedule."""

    in_force: str
    """The cron line and the time zone that the times below are about."""
    last_schedule_time: datetime | None = None
    """The latest time that was due and is settled: its run was started, skipped or missed."""
    last_run: str | None = None
    """Name of the run that was started last."""
    last_successful_time: datetime | None = None
    """When a run was completed last."""
    next_schedule_time: datetime | None = None
    """When the next run is due."""
    active: list[str] = []
    """Names of the runs that have not ended."""
    missed_runs: int = 0
    """Number of runs so far that were due and did not start."""
    last_missed: MissedRun | None = None
    """The latest of them."""


class BatchPredictionStatus(ApiModel):
    """What is true for the BatchPrediction."""

    observed_generation: int = -1
    """Generation of the spec that this status is about; -1 until the operator has seen the object."""
    phase: Phase | None = None
    """Where the run is. Pending: not started. Planning: the input and its columns are looked at. Working: workers
    predict. Finishing: the manifest is written. Complete or Failed: it has ended. Absent with a schedule."""
    run: str | None = None
    """Name of the run in the output's folder _batch."""
    attempt: int = 1
    """How often the run was started: 1, and one more for each retry that was ordered."""
    model: PinnedModel | None = None
    """The model that predicts."""
    compared_with: PinnedModel | None = None
    """The other model of spec.compareWith, settled when the run started."""
    comparison: ComparisonStatus | None = None
    """How far the two agreed, once the output is whole."""
    image: str | None = None
    """The workers' image."""
    workers: int | None = None
    """Number of workers that the shards were divided among."""
    start_time: datetime | None = None
    """When the run started."""
    completion_time: datetime | None = None
    """When it ended."""
    progress: Progress | None = None
    """How far it has come."""
    manifest: str | None = None
    """Where the manifest is, once the output is whole."""
    failure: Failure | None = None
    """Why it failed."""
    schedule: ScheduleStatus | None = None
    """The runs of a schedule."""
    handled_annotations: dict[str, str] = {}
    """Annotations such as modelendpoint.dev/retry that were acted on. Each acts once per value."""
    conditions: list[BatchCondition] = []
    """Ready, Reconciling, Stalled, Complete, Failed."""
