"""Orders that people give by annotations, each bound to the revision that is meant. Obeying must not be here.

The value is the revision's number. An order is carried out once for each value of its annotation, which never has to
be removed (a GitOps tool would put it back): to give the same order again, add a suffix (``2/again``) or remove the
annotation in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from modelendpoint_operator import names


class Verb(StrEnum):
    """What can be ordered; the value is the annotation."""

    PROMOTE = names.ANNOTATION_PROMOTE
    ABORT = names.ANNOTATION_ABORT
    RETRY = names.ANNOTATION_RETRY
    PROMOTE_FULL = names.ANNOTATION_PROMOTE_FULL
    PAUSE = names.ANNOTATION_PAUSE
    RESUME = names.ANNOTATION_RESUME
    ROLLBACK_TO = names.ANNOTATION_ROLLBACK_TO

    @property
    def word(self) -> str:
        """The verb as people say it."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order that was not carried out yet."""

    verb: Verb
    value: str
    revision: int | None
    """None when the value names no revision."""


def open_orders(annotations: Mapping[str, str], handled: Mapping[str, str]) -> dict[Verb, Order]:
    """Read the orders that are still to be carried out."""
    given = {verb: annotations[verb] for verb in Verb if verb in annotations}
    return {
        verb: Order(verb=verb, value=value, revision=_revision(value))
        for verb, value in given.items()
        if handled.get(verb) != value
    }


def still_given(annotations: Mapping[str, str], handled: Mapping[str, str]) -> dict[str, str]:
    """Forget handled orders whose annotation is gone, so that the same order can be given again."""
    return {name: value for name, value in handled.items() if annotations.get(name) == value}


def value_to_give(verb: Verb, revision: int, *, step: int, handled: Mapping[str, str]) -> str:
    """Name a value by which the order will be carried out now, although the same order may have been given before."""
    return f"{revision}/{step + 1}" if handled.get(verb) == str(revision) else str(revision)


def _revision(value: str) -> int | None:
    number = value.partition("/")[0].strip()
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None
