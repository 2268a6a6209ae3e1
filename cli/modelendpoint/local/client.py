"""A running instance as other commands see it. How it is reached is in ``control``, what it shows in ``snapshot``."""

import http.client
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelendpoint.endpoints import Answer, Seen, find
from modelendpoint.errors import CliError
from modelendpoint.local.control import ask
from modelendpoint.local.processes import wait_for_end
from modelendpoint.local.state import StateFolder, find_state
from modelendpoint.orders import Given

ANSWER_SECONDS = 70.0
"""Longer than the router's own limit, unless the spec says otherwise: it shall be the one to say so."""
FOLLOW_SECONDS = 0.3


class LocalEndpoints:
    """The endpoints of one running instance."""

    def __init__(self, state: StateFolder) -> None:
        running = state.running()
        if running is None:
            raise CliError("No local instance is running here. `mep local up endpoint.yaml` starts one.")
        self._running = running

    @classmethod
    def find(cls, start: Path, *, given: Path | None) -> "LocalEndpoints":
        """Find the instance that a folder belongs to; raise ``CliError`` when there is none."""
        return cls(find_state(start, given=given))

    def endpoints(self) -> list[Seen]:
        """Read all endpoints of the instance."""
        found: list[Seen] = self._snapshot()["endpoints"]
        return found

    def batches(self) -> list[Seen]:
        """Read all batch predictions of the instance."""
        found: list[Seen] = self._snapshot()["batches"]
        return found

    def events(self, kind: str, name: str) -> list[Mapping[str, Any]]:
        """Read the last Events about an object."""
        return [event for event in self._snapshot()["events"] if (event["kind"], event["name"]) == (kind, name)]

    def annotate(self, seen: Seen, order: Given) -> None:
        """Set the annotation that gives an order."""
        metadata = seen["object"]["metadata"]
        annotations = {order.annotation: order.value}
        ask(
            self._running.socket,
            "annotate",
            kind=seen["object"]["kind"],
            namespace=metadata["namespace"],
            name=metadata["name"],
            annotations=annotations,
        )

    def post(self, seen: Seen, body: bytes, *, content_type: str) -> Answer:
        """Send rows to the port of an endpoint."""
        url = str(seen["url"])
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", "/predict", body, {"Content-Type": content_type})
            response = connection.getresponse()
            return Answer(status=response.status, headers=dict(response.getheaders()), body=response.read())
        except (OSError, http.client.HTTPException) as error:
            raise CliError(f"{url} does not answer ({error}). `mep get` shows what it is doing.") from error
        finally:
            connection.close()

    def log_lines(
        self, name: str | None, *, revision: int | None, only_router: bool, follow: bool
    ) -> Iterator[tuple[str, str]]:
        """Yield whole lines of the log files of the pods of an endpoint or a batch prediction."""
        read: dict[str, int] = {}
        while True:
            for pod in find(self, name)["pods"]:
                if revision in (None, pod["revision"]) and (not only_router or pod["component"] == "router"):
                    yield from ((pod["name"], line) for line in _new_lines(Path(pod["log"]), pod["name"], read))
            if not follow:
                return
            time.sleep(FOLLOW_SECONDS)

    def down(self, *, seconds: float) -> bool:
        """Ask the instance to end, and wait; tell whether it has ended."""
        ask(self._running.socket, "down")
        return wait_for_end(self._running.pid, started=self._running.started, seconds=seconds)

    def _snapshot(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = ask(self._running.socket, "snapshot")
        return found


def _new_lines(path: Path, name: str, read: dict[str, int]) -> Iterator[str]:
    """Read whole lines that were added since the last time."""
    try:
        with path.open("rb") as file:
            file.seek(read.get(name, 0))
            content = file.read()
    except OSError:
        return
    whole = content[: content.rfind(b"\n") + 1]
    read[name] = read.get(name, 0) + len(whole)
    yield from whole.decode(errors="replace").splitlines()
