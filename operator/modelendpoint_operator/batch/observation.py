"""What was seen of one BatchPrediction in one pass. Nothing here knows how it was read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from modelendpoint_operator.api.batch_status import ComparisonStatus, Phase
from modelendpoint_operator.observation import RevisionRecord

PERMANENT = 42
"""Exit code of a worker whose error no further try can heal."""


class Stage(StrEnum):
    """What a Job does; also the worker's command."""

    PLAN = "plan"
    WORK = "work"
    FINISH = "finish"


@dataclass(frozen=True, kw_only=True)
class Word:
    """What a worker tells: over its management port while it runs, in its termination message when it has ended.

    The numbers are about all shards of its index, those that an earlier pod committed included. With a manifest, they
    are about the whole run.
    """

    state: str
    reason: str | None = None
    message: str | None = None
    shards: int = 0
    shards_done: int = 0
    rows: int | None = None
    rows_in: int = 0
    rows_out: int = 0
    rows_rejected: int = 0
    sha256: str | None = None
    manifest: str | None = None
    comparison: ComparisonStatus | None = None


class JobState(StrEnum):
    """Whether a Job has ended, and how."""

    ACTIVE = "Active"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True)
class JobSeen:
    """One Job of a run."""

    name: str
    uid: str
    stage: Stage
    attempt: int
    state: JobState
    suspended: bool
    parallelism: int
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerSeen:
    """One pod of a Job."""

    name: str
    stage: Stage
    attempt: int
    index: int
    ended: bool
    exit_code: int | None = None
    out_of_memory: bool = False
    ended_at: str = ""
    trouble: str | None = None
    """Why its container does not run, in the kubelet's words."""
    word: Word | None = None


@dataclass(frozen=True, kw_only=True)
class EndpointSeen:
    """The ModelEndpoint that a run shall take its model from."""

    stable: int | None
    revisions: Mapping[int, RevisionRecord]


@dataclass(frozen=True, kw_only=True)
class RunSeen:
    """One run of a schedule."""

    name: str
    uid: str
    scheduled_at: datetime
    phase: Phase
    completion_time: datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Say whether it is over."""
        return self.phase in (Phase.COMPLETE, Phase.FAILED)


@dataclass(frozen=True, kw_only=True)
class BatchObservation:
    """Everything read in one pass."""

    jobs: tuple[JobSeen, ...] = ()
    workers: tuple[WorkerSeen, ...] = ()
    endpoint: EndpointSeen | None = None
    """None when there is no such ModelEndpoint, or it is not needed any more."""
    runs: tuple[RunSeen, ...] = field(default=())
    """Runs of the schedule, the earliest first."""
    namespace_ends: bool = False
    """Whether the namespace is being deleted; only looked for when a failed pod does not go."""

    def job(self, stage: Stage, attempt: int) -> JobSeen | None:
        """Find the Job of a stage."""
        return next((job for job in self.jobs if (job.stage, job.attempt) == (stage, attempt)), None)

    def workers_of(self, stage: Stage, attempt: int) -> list[WorkerSeen]:
        """List the pods of a stage."""
        return [worker for worker in self.workers if (worker.stage, worker.attempt) == (stage, attempt)]

    def words(self, stage: Stage, attempt: int) -> Iterable[Word]:
        """Yield what the pods of a stage tell."""
        return (worker.word for worker in self.workers_of(stage, attempt) if worker.word)
