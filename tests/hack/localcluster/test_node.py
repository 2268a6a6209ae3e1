"""Process 1 of a node: starts parts in their order and keeps them running."""

import contextlib
import http.server
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.commands import wait_until
from localcluster.components import Part
from localcluster.node import Supervisor, answers
from localcluster.reports import PartReport, read_report


class Node:
    """A supervisor of a few shell commands, driven by hand."""

    def __init__(self, folder: Path, *parts: Part) -> None:
        self.folder = folder
        self._supervisor = Supervisor(parts, log=folder, report=folder / "parts.json")

    @property
    def reports(self) -> dict[str, PartReport]:
        return read_report((self.folder / "parts.json").read_text())

    def log(self, name: str) -> list[str]:
        return (self.folder / f"{name}.log").read_text().splitlines()

    def run_until(self, name: str, phase: str, *, starts: int = 0) -> None:
        def is_so() -> bool:
            self._supervisor.tick()
            return self.reports[name].phase == phase and self.reports[name].starts >= starts

        wait_until(is_so, seconds=20, failure=f"{name} did not become {phase}")


@pytest.fixture
def socket_path(tmp_path: Path) -> Iterator[str]:
    """A socket that takes connections, as a part's probe."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        yield path


def shell(name: str, script: str, *after: str, probe: str = "") -> Part:
    return Part(name=name, command=("sh", "-c", script), after=after, probe=probe)


def test_a_part_is_started_when_those_before_it_are_ready(tmp_path: Path) -> None:
    node = Node(tmp_path, shell("first", "true"), shell("second", "true", "first"))
    node.run_until("first", "starting")
    assert node.reports["second"].phase == "waiting"
    node.run_until("second", "ready")


def test_a_task_that_fails_is_done_again_and_holds_up_what_waits_for_it(tmp_path: Path) -> None:
    node = Node(tmp_path, shell("task", "echo tried; exit 3"), shell("next", "true", "task"))
    node.run_until("task", "ended", starts=2)
    assert node.log("task") == ["tried", "tried"]
    assert node.reports["next"].phase == "waiting"


def test_a_part_that_is_killed_is_started_again(tmp_path: Path, socket_path: str) -> None:
    node = Node(tmp_path, shell("part", "echo $$; exec sleep 60", probe=f"unix:{socket_path}"))
    with contextlib.ExitStack() as stack:
        node.run_until("part", "ready")
        wait_until(lambda: bool(node.log("part")), seconds=10, failure="the part did not start")
        os.kill(int(node.log("part")[0]), signal.SIGKILL)
        node.run_until("part", "ended")
        node.run_until("part", "ready")
        wait_until(lambda: len(node.log("part")) == 2, seconds=10, failure="the part did not start again")
        stack.callback(os.kill, int(node.log("part")[1]), signal.SIGKILL)


def test_a_part_that_does_not_answer_its_probe_is_not_ready(tmp_path: Path) -> None:
    node = Node(tmp_path, shell("part", "exit 0", probe=f"unix:{tmp_path}/none"))
    node.run_until("part", "ended")
    assert not node.reports["part"].is_ready


@pytest.mark.parametrize(("status", "ready"), [(200, True), (403, False), (500, False)])
def test_a_probe_is_answered_by_200_alone(status: int, ready: bool) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert answers(f"http://127.0.0.1:{server.server_port}/readyz") is ready


def test_something_that_does_not_speak_http_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"not http\r\n\r\n")

        threading.Thread(target=talk, daemon=True).start()
        assert not answers(f"http://127.0.0.1:{server.getsockname()[1]}/")
