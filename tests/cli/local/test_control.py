"""Questions to a running instance, over its socket."""

import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from modelendpoint.errors import CliError
from modelendpoint.local.control import ControlServer, ask


def _refuse(question: Mapping[str, Any]) -> None:
    raise CliError(f"There is no endpoint {question['name']}.")


@pytest.fixture
def server() -> Iterator[ControlServer]:
    server = ControlServer({"echo": lambda question: {"heard": question}, "refuse": _refuse})
    server.start()
    yield server
    server.stop()


def test_a_question_is_answered(server: ControlServer) -> None:
    assert ask(str(server.socket), "echo", name="churn") == {"heard": {"name": "churn"}}


def test_a_refusal_is_told_in_its_own_words(server: ControlServer) -> None:
    with pytest.raises(CliError, match=r"There is no endpoint churn\."):
        ask(str(server.socket), "refuse", name="churn")


def test_a_question_that_nobody_knows_is_refused(server: ControlServer) -> None:
    with pytest.raises(CliError, match="does not know /unheard"):
        ask(str(server.socket), "unheard")


def test_only_its_owner_can_open_the_socket(server: ControlServer) -> None:
    assert stat.S_IMODE(os.stat(server.socket.parent).st_mode) == 0o700


def test_nothing_is_left_of_a_server_that_has_stopped() -> None:
    server = ControlServer({})
    server.stop()
    assert not server.socket.parent.exists()
    with pytest.raises(CliError, match="Is `mep local up` still running"):
        ask(str(server.socket), "echo")
