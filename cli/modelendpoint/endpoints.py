"""Endpoints and batch predictions as commands see them, wherever they run: what can be asked of them, and told to them."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from modelendpoint.errors import CliError
from modelendpoint.orders import Given

LOOK_SECONDS = 0.1

Seen = Mapping[str, Any]
"""An endpoint: ``object`` as the API server has it, with its kind, and ``url``. A batch prediction has no ``url``."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an endpoint has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Endpoints(Protocol):
    """The endpoints of one place. Every method raises ``CliError`` when the place does not answer."""

    def endpoints(self) -> list[Seen]:
        """Read all endpoints."""

    def batches(self) -> list[Seen]:
        """Read all batch predictions."""

    def events(self, kind: str, name: str) -> list[Mapping[str, Any]]:
        """Read what was told of an object lately, each with an ``id`` and a ``message``."""

    def annotate(self, seen: Seen, order: Given) -> None:
        """Give an order."""

    def post(self, seen: Seen, body: bytes, *, content_type: str) -> Answer:
        """Send rows to an endpoint."""

    def log_lines(
        self, name: str | None, *, revision: int | None, only_router: bool, follow: bool
    ) -> Iterator[tuple[str, str]]:
        """Yield what the pods of an endpoint or a batch prediction have logged: name of the pod, line.

        ``follow`` goes on for ever.
        """


def choose(endpoints: list[Seen], name: str | None) -> Seen:
    """Choose an endpoint by its name; without a name there must be only one."""
    known = [str(endpoint["object"]["metadata"]["name"]) for endpoint in endpoints]
    if name is None:
        if len(endpoints) != 1:
            raise CliError(f"Name one of the endpoints: {', '.join(known) or 'there is none'}.")
        return endpoints[0]
    if name not in known:
        raise CliError(f"There is no endpoint {name} here; there is {', '.join(known) or 'none'}.")
    return endpoints[known.index(name)]


def find(place: Endpoints, name: str | None) -> Seen:
    """Find the endpoint or the batch prediction of a name, the endpoint first; without a name there must be one endpoint."""
    endpoints = place.endpoints()
    if name is None:
        return choose(endpoints, None)
    seen = named([*endpoints, *place.batches()], name)
    return seen[0]


def named(seen: list[Seen], name: str) -> list[Seen]:
    """Pick what has a name; raise ``CliError`` when nothing has."""
    found = [one for one in seen if one["object"]["metadata"]["name"] == name]
    if not found:
        known = ", ".join(str(one["object"]["metadata"]["name"]) for one in seen)
        raise CliError(f"There is no endpoint or batch prediction {name} here; there is {known or 'none'}.")
    return found


def wait_for(place: Endpoints, fact: Callable[[Seen], bool], *, name: str, seconds: float) -> bool:
    """Wait until something holds for an endpoint or a batch prediction; tell whether it does."""
    deadline = time.monotonic() + seconds
    while not fact(find(place, name)):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
