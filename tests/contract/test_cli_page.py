"""What docs/cli.md shows is what the commands print: they are run, line by line, in the folder of the demo."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from modelendpoint.__main__ import main
from modelendpoint.commands.root import SECTIONS
from modelendpoint.errors import ExitCode
from modelendpoint.sample import write_sample

PAGE = (Path(__file__).parents[2] / "docs/cli.md").read_text()
NOT_RUN = ("pip ", "cd ", "mep demo", "mep serve", "mep load", "mep local", "kubectl mep", "mep undo")
"""What installs, stays or needs what stays; other tests run it."""


def shown() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the page with the lines that are shown below it."""
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            if not command.startswith(NOT_RUN):
                yield command, lines


def test_the_page_shows_what_the_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sample(tmp_path / "wine")
    monkeypatch.chdir(tmp_path / "wine")
    commands = list(shown())
    assert len(commands) >= 6
    for command, expected in commands:
        printed = run(command)
        if expected:
            assert len(printed) == len(expected), (command, printed)
        for line, wanted in zip(printed, expected, strict=False):
            pattern = ".*".join(map(re.escape, wanted.split("…")))
            assert re.fullmatch(pattern, line), (command, line, wanted)


def run(command: str) -> list[str]:
    if not command.startswith("mep "):
        subprocess.run(command, shell=True, check=True)
        return []
    words = command.partition(" > ")[0].split()[1:]
    with redirect_stdout(StringIO()) as out:
        assert main(words, {}) in (ExitCode.OK, ExitCode.FAILED)
    return [] if " > " in command else out.getvalue().splitlines()


def test_every_command_for_models_and_yaml_is_explained() -> None:
    for section in ("Begin", "Models", "YAML", "Shell"):
        for name in SECTIONS[section]:
            assert f"mep {name}" in PAGE, name


def test_every_exit_code_is_explained() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)] == sorted(ExitCode)
