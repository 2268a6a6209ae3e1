"""What one pass wants to change. Nothing after a Plan decides; nothing here knows how it is carried out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from modelendpoint_operator.api.status import ModelEndpointStatus
from modelendpoint_operator.observation import ObjectRef


@dataclass(frozen=True, kw_only=True)
class EventNote:
    """Something that a person wants to read in ``kubectl describe``."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, kw_only=True)
class Apply:
    """An object to write by server-side apply."""

    manifest: Mapping[str, Any]
    uid: str | None
    """The object that is changed; None when there is none yet, and then there must not be one."""


@dataclass(frozen=True, kw_only=True)
class Delete:
    """An object to delete."""

    ref: ObjectRef
    uid: str


@dataclass(frozen=True, kw_only=True)
class Poke:
    """A pod whose kubelet shall refresh its mounted files now, by an annotation with a new value."""

    pod: str
    annotation: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The writes of one pass, in this order: applies, pokes, deletes, Events, status."""

    applies: tuple[Apply, ...] = ()
    pokes: tuple[Poke, ...] = ()
    deletes: tuple[Delete, ...] = ()
    events: tuple[EventNote, ...] = ()
    status: ModelEndpointStatus | None = None
    """The new status; None when it is as it was."""
    look_again_after: timedelta | None = None
    """When to look again although nothing may have happened."""

    @property
    def is_empty(self) -> bool:
        """Say that nothing is to be written."""
        return not (self.applies or self.pokes or self.deletes or self.events or self.status)
