"""A running instance as other commands see it. How it is reached is in ``control``, what it shows in ``snapshot``."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelendpoint.errors import CliError
from modelendpoint.local.control import ask
from modelendpoint.local.orders import Given
from modelendpoint.local.processes import wait_for_end
from modelendpoint.local.state import StateFolder, find_state

LOOK_SECONDS = 0.1


class Client:
    """Talks to one running instance."""

    def __init__(self, state: StateFolder) -> None:
        running = state.running()
        if running is None:
            raise CliError("No local instance is running here. `mep local up endpoint.yaml` starts one.")
        self._running = running

    @classmethod
    def find(cls, start: Path, *, given: Path | None) -> "Client":
        """Find the instance that a folder belongs to; raise ``CliError`` when there is none."""
        return cls(find_state(start, given=given))

    def snapshot(self) -> Mapping[str, Any]:
        """Read everything that the instance shows."""
        found: Mapping[str, Any] = ask(self._running.socket, "snapshot")
        return found

    def endpoint(self, name: str | None) -> Mapping[str, Any]:
        """Read one endpoint; without a name the only one."""
        return choose(self.snapshot()["endpoints"], name)

    def annotate(self, body: Mapping[str, Any], order: Given) -> None:
        """Give an order."""
        metadata = body["metadata"]
        annotations = {order.annotation: order.value}
        ask(
            self._running.socket,
            "annotate",
            namespace=metadata["namespace"],
            name=metadata["name"],
            annotations=annotations,
        )

    def wait_for(self, fact: Callable[[Mapping[str, Any]], bool], *, name: str, seconds: float) -> bool:
        """Wait until something holds for an endpoint; tell whether it does."""
        deadline = time.monotonic() + seconds
        while not fact(self.endpoint(name)):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def down(self, *, seconds: float) -> bool:
        """Ask the instance to end, and wait; tell whether it has ended."""
        ask(self._running.socket, "down")
        return wait_for_end(self._running.pid, started=self._running.started, seconds=seconds)


def choose(endpoints: list[Mapping[str, Any]], name: str | None) -> Mapping[str, Any]:
    """Choose an endpoint by its name; without a name there must be only one."""
    known = [str(endpoint["object"]["metadata"]["name"]) for endpoint in endpoints]
    if name is None:
        if len(endpoints) != 1:
            raise CliError(f"Name one of the endpoints: {', '.join(known) or 'there is none'}.")
        return endpoints[0]
    if name not in known:
        raise CliError(f"There is no endpoint {name} here; there is {', '.join(known) or 'none'}.")
    return endpoints[known.index(name)]
