"""Completion in a real shell: what is offered, and that nothing heavy is imported for it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
ROOT = Path(__file__).parents[3]


def complete(*words: str, prelude: str = "") -> list[str]:
    """Ask as bash's completion function does: all words, the last one unfinished."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("cli", "operator", "server")),
        "_MEP_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["mep", *words]),
        "COMP_CWORD": str(len(words)),
    }
    program = f"import sys\n{prelude}\nfrom modelendpoint.__main__ import main\nsys.argv = ['mep']\nmain()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_are_completed_without_loading_them() -> None:
    forbid = "for name in ('onnxruntime', 'kubernetes', 'kopf', 'celpy'): sys.modules[name] = None"
    assert complete("l", prelude=forbid) == ["load", "lint", "local", "logs"]


def test_options_and_their_values_are_completed() -> None:
    assert "--data" in complete("inspect", "--")
    assert complete("inspect", "-o", "") == ["text", "json", "yaml"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_mep_itself(run: Run, shell: str) -> None:
    assert f"_MEP_COMPLETE={shell}_complete" in run("completion", shell).output
