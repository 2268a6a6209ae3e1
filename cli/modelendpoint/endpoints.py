"""Endpoints as commands see them, wherever they run: what can be asked of them, and told to them."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from modelendpoint.errors import CliError
from modelendpoint.orders import Given

LOOK_SECONDS = 0.1

Seen = Mapping[str, Any]
"""An endpoint: ``object`` as the API server has it, and ``url``."""


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

    def events(self, endpoint: str) -> list[Mapping[str, Any]]:
        """Read what was told of an endpoint lately, each with an ``id`` and a ``message``."""

    def annotate(self, seen: Seen, order: Given) -> None:
        """Give an order."""

    def post(self, seen: Seen, body: bytes, *, content_type: str) -> Answer:
        """Send rows to an endpoint."""

    def log_lines(
        self, name: str | None, *, revision: int | None, only_router: bool, follow: bool
    ) -> Iterator[tuple[str, str]]:
        """Yield what an endpoint's pods have logged: name of the pod, line. ``follow`` goes on for ever."""


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


def wait_for(place: Endpoints, fact: Callable[[Seen], bool], *, name: str, seconds: float) -> bool:
    """Wait until something holds for an endpoint; tell whether it does."""
    deadline = time.monotonic() + seconds
    while not fact(choose(place.endpoints(), name)):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
