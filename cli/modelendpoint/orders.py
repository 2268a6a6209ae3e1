"""Which annotation gives an order, for which revision, with which value. Carrying orders out must not be here. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelendpoint.errors import CliError
from modelendpoint_operator import names
from modelendpoint_operator.api.status import Phase
from modelendpoint_operator.rollout.orders import Verb


@dataclass(frozen=True, kw_only=True)
class Given:
    """An order as it is written on an endpoint or a batch prediction."""

    annotation: str
    value: str
    subject: str
    """What it is about, for people."""


def give(body: Mapping[str, Any], word: str, *, revision: int | None) -> Given:
    """Choose the revision where none is named, and a value that was not given before.

    Raises ``CliError`` where there is nothing to give the order to.
    """
    annotation = f"{names.GROUP}/{word}"
    if annotation not in set(Verb):
        raise CliError(f"This version does not know {word}; it knows {', '.join(verb.word for verb in Verb)}.")
    meant = _REVISIONS[word](body) if revision is None else revision
    before = (body["metadata"].get("annotations") or {}).get(annotation, "")
    return Given(annotation=annotation, value=_next_value(before, meant), subject=f"revision {meant}")


def waits_for_a_pause(body: Mapping[str, Any], order: Given) -> bool:
    """Say whether a promote is kept for the next pause: its candidate is on its way, and nothing holds it."""
    status = body.get("status", {})
    rollout, candidate = status.get("rollout") or {}, status.get("candidate") or {}
    return (
        order.annotation == Verb.PROMOTE
        and order.value.partition("/")[0] == str(candidate.get("revision"))
        and rollout.get("phase") in _GOING_ON
        and rollout.get("heldBy") is None
    )


def give_to_run(body: Mapping[str, Any], word: str) -> Given:
    """Choose the value for a run of a batch prediction; raise ``CliError`` for what can't be ordered of one."""
    name, status = body["metadata"]["name"], body.get("status", {})
    if word != "retry":
        raise CliError(f"{name} is a batch prediction; of orders it knows only retry.")
    if status.get("phase") != "Failed":
        raise CliError(f"{name} has not failed, so there is nothing to try again. `mep get {name}` shows what it does.")
    before = (body["metadata"].get("annotations") or {}).get(names.ANNOTATION_RETRY, "")
    attempt = int(status.get("attempt", 1))
    return Given(annotation=names.ANNOTATION_RETRY, value=_next_value(before, attempt), subject=f"attempt {attempt}")


def _next_value(before: str, revision: int) -> str:
    """Each value acts once; the same order again needs a suffix."""
    number, _, count = before.partition("/")
    if number != str(revision):
        return str(revision)
    return f"{revision}/{int(count) + 1 if count.isdecimal() else 2}"


def _candidate(body: Mapping[str, Any]) -> int:
    status = body.get("status", {})
    found = status.get("candidate") or (status.get("stable") if status.get("rollout") else None)
    if not found:
        name = body["metadata"]["name"]
        raise CliError(f"No rollout is under way for {name}. `mep get {name}` shows what it does.")
    return int(found["revision"])


def _rejected(body: Mapping[str, Any]) -> int:
    rejected = body.get("status", {}).get("rejected") or []
    if not rejected:
        raise CliError(f"No revision of {body['metadata']['name']} was rejected, so there is none to try again.")
    return int(rejected[-1]["revision"])


def _previous(body: Mapping[str, Any]) -> int:
    status = body.get("status", {})
    serving = (status.get("stable") or {}).get("revision")
    served = [int(past["revision"]) for past in status.get("history") or [] if past["revision"] != serving]
    if not served:
        raise CliError(f"No other revision of {body['metadata']['name']} has served before, so there is no way back.")
    return served[0]


_GOING_ON = (Phase.DEPLOYING, Phase.SHIFTING, Phase.HOLDING)

_REVISIONS = {
    "promote": _candidate,
    "promote-full": _candidate,
    "abort": _candidate,
    "pause": _candidate,
    "resume": _candidate,
    "retry": _rejected,
    "rollback-to": _previous,
}
