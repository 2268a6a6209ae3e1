"""The list of commands, and what every command has."""

import pkgutil
import sys

import click
import pytest
from click.testing import CliRunner

from modelendpoint.commands.root import SECTIONS, mep

ENTRIES = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_commands_module_says_what_the_list_says(name: str) -> None:
    command = pkgutil.resolve_name(ENTRIES[name].place)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert (command.help or "").partition("\n")[0] == ENTRIES[name].summary


@pytest.mark.parametrize("name", ENTRIES)
def test_the_help_of_a_command_begins_with_an_example(name: str) -> None:
    lines = CliRunner().invoke(mep, [name, "--help"]).output.splitlines()
    assert next(line.split()[0] for line in lines[4:] if line.strip()) in ("mep", "eval")


def test_an_unknown_command_is_wrong_usage() -> None:
    result = CliRunner().invoke(mep, ["frob"])
    assert result.exit_code == 2
    assert "No such command 'frob'" in result.output


def test_a_command_whose_package_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Envoy has no wheel for every machine that the rest runs on."""
    monkeypatch.setitem(sys.modules, "envoy", None)
    monkeypatch.delitem(sys.modules, "modelendpoint.local.containers", raising=False)
    monkeypatch.delitem(sys.modules, "modelendpoint.local.instance", raising=False)
    monkeypatch.delitem(sys.modules, "modelendpoint.commands.local", raising=False)
    result = CliRunner().invoke(mep, ["local", "up", "endpoint.yaml"])
    assert str(result.exception).startswith("mep local needs the Python package envoy, which is not installed here")
