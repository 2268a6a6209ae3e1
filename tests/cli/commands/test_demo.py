"""What ``mep demo`` tells people to type works when they type it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from modelendpoint.commands.demo import NEXT
from modelendpoint.errors import CliError
from modelendpoint.sample import DESCRIPTIONS

Run = Callable[..., Result]
STAYS = ("mep serve", "mep local up")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_file_and_every_next_command_is_told(folder: Path, run: Run) -> None:
    result = run("demo")
    assert result.exit_code == 0
    for name, description in DESCRIPTIONS.items():
        assert (folder / "wine" / name).is_file()
        assert any(name in line and description in line for line in result.output.splitlines())
    assert "  cd wine\n" in result.output
    for command, _ in NEXT:
        assert f"  {command} " in result.output


@pytest.mark.parametrize("command", [command for command, _ in NEXT if not command.startswith(STAYS)])
def test_a_next_command_works(wine: Path, run: Run, command: str) -> None:
    result = run(*command.split()[1:])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code == (1 if " diff " in command else 0)


def test_the_folder_is_the_users_choice(folder: Path, run: Run) -> None:
    document = json.loads(run("demo", "some/where", "-o", "json").output)
    assert (document["folder"], len(document["files"])) == ("some/where", len(DESCRIPTIONS))


def test_a_second_demo_does_not_write_over_the_first(folder: Path, run: Run) -> None:
    run("demo")
    (folder / "wine/endpoint.yaml").write_text("mine")
    result = run("demo")
    assert isinstance(result.exception, CliError)
    assert "mep demo wine-2" in str(result.exception)
    assert (folder / "wine/endpoint.yaml").read_text() == "mine"
