"""The process: exit codes, one sentence for an error, and no colour where none is wanted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelendpoint.__main__ import main


def test_a_failure_is_one_sentence_and_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "nowhere.onnx"], {}) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "Error: There is no nowhere.onnx. Name an ONNX file, or write some to try: mep demo\n",
    )


def test_wrong_usage_is_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect"], {}) == 2
    assert "Missing argument 'MODEL'" in capsys.readouterr().err


def test_help_and_version_are_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["--help"], {}), main(["--version"], {})) == (0, 0)
    assert "mep demo" in capsys.readouterr().out


def test_a_difference_is_code_1(wine: Path) -> None:
    assert main(["diff", "models/v1.onnx", "models/v3.onnx", "--data", "rows.csv"], {}) == 1


def test_output_that_is_no_terminal_has_no_colour(wine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["diff", "models/v1.onnx", "models/v3.onnx", "--data", "rows.csv"], {})
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "has_color"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)]
)
def test_no_color_is_obeyed_on_a_terminal(
    wine: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    has_color: bool,
) -> None:
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda stream, color=None: color is False)
    main(["diff", "models/v1.onnx", "models/v1.onnx"], environment)
    assert ("\x1b[32m" in capsys.readouterr().out) is has_color


def test_kubectl_users_see_their_own_words(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/local/bin/kubectl-mep", "inspect"])
    assert main(None, {}) == 2
    assert "kubectl mep inspect --help" in capsys.readouterr().err


def test_libraries_are_told_not_to_report_home(capsys: pytest.CaptureFixture[str]) -> None:
    environment: dict[str, str] = {}
    main(["--version"], environment)
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"


def test_a_bug_of_ours_is_a_sentence_and_its_story_can_be_had(
    wine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(folder: Path) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("modelendpoint.commands.demo.write_sample", break_down)
    assert main(["demo"], {}) == 1
    assert capsys.readouterr().err == (
        "Error: mep has a bug (ZeroDivisionError: by zero). See where: MEP_TRACEBACK=1 mep …\n"
    )
    with pytest.raises(ZeroDivisionError):
        main(["demo"], {"MEP_TRACEBACK": "1"})


def test_a_reader_that_has_seen_enough_is_no_error(wine: Path) -> None:
    folders = os.pathsep.join(str(Path(__file__).parents[2] / name) for name in ("cli", "operator", "server"))
    command = f"{sys.executable} -m modelendpoint inspect models/v1.onnx -o json | head -1"
    environment = {**os.environ, "PYTHONPATH": folders}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{\n", "")
