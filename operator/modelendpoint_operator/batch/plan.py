"""What one pass over a BatchPrediction wants to change. Nothing after a plan decides."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from modelendpoint_operator.api.batch_status import BatchPredictionStatus, Phase
from modelendpoint_operator.observation import ObjectRef
from modelendpoint_operator.plan import Delete, EventNote


@dataclass(frozen=True, kw_only=True)
class Create:
    """An object to create; there must be none of that name, or it must be ours."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Fields of an object's spec to change; the rest of a Job can't be changed."""

    ref: ObjectRef
    spec: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The writes of one pass, in this order: deletes, creations, patches, Events, status."""

    deletes: tuple[Delete, ...] = ()
    creates: tuple[Create, ...] = ()
    patches: tuple[Patch, ...] = ()
    events: tuple[EventNote, ...] = ()
    status: BatchPredictionStatus | None = None
    """The new status; None when it is as it was."""
    look_again_after: timedelta | None = None
    """When to look again although nothing may have happened."""
    ended: Phase | None = None
    """How the run ended, in the pass that found it out."""
    missed_runs: int = 0
    """Runs that were found to be missed in this pass, for the metrics."""

    @property
    def is_empty(self) -> bool:
        """Say that nothing is to be written."""
        return not (self.deletes or self.creates or self.patches or self.events or self.status)
