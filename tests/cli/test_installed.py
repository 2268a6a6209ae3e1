"""The wheel as its users have it: installed by an ordinary user, and run without a network."""

import json
import os
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.installed import Installed, build_wheel, install

VERSION = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
pytestmark = pytest.mark.emulator
MOST_BYTES = 1_000_000


@pytest.fixture(scope="module")
def wheel() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mep-wheel-"))
    folder.chmod(0o755)
    yield build_wheel(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Installed]:
    folder = Path(tempfile.mkdtemp(prefix="mep-user-"))
    yield install(wheel, folder)
    shutil.rmtree(folder)


def test_the_wheel_has_the_three_packages_and_the_demos_files_and_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {
        "modelendpoint",
        "modelendpoint_operator",
        "modelendpoint_server",
    }
    assert {"modelendpoint/sample/files/models/v1.onnx", "modelendpoint_server/routes/page.html"} <= set(names)
    assert wheel.stat().st_size < MOST_BYTES


def test_both_names_of_the_command_tell_its_version(installed: Installed) -> None:
    assert installed.run("mep", "--version").stdout == f"mep {VERSION}\n"
    assert installed.run("kubectl-mep", "--version").stdout == f"kubectl mep {VERSION}\n"


def test_the_envoy_comes_along(installed: Installed) -> None:
    assert "/1.40.0/" in installed.run("envoy", "--version").stdout


def test_two_commands_lead_to_a_prediction(installed: Installed) -> None:
    script = shutil.copy(Path(__file__).with_name("first_prediction.py"), installed.folder)
    done = installed.run("python", script)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["predictions"][0]["label"] in (0, 1, 2)
    assert (result["code"], result["online"]) == (0, False if os.geteuid() == 0 else result["online"])
    assert result["seconds"] < 30


def test_an_update_goes_by_canary_and_a_bad_one_is_rejected_on_one_machine(installed: Installed) -> None:
    script = shutil.copy(Path(__file__).with_name("local") / "first_canary.py", installed.folder)
    done = installed.run("python", script, "canary")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["revisions"], result["wrong"], result["code"]) == (["1", "2", "2"], 0, 0)
    assert result["counted"]["1"] > result["counted"]["2"] > 0
    assert sum(result["counted"].values()) > 500
    assert result["left"] == ["data", "endpoint.yaml", "models", "rows.csv", "rows.json", "scores.yaml"]


def test_models_and_yaml_are_looked_at_without_a_network(installed: Installed) -> None:
    assert installed.run("mep", "demo", "wine").returncode == 0
    inspected = installed.run("mep", "inspect", "wine/models/v2.onnx", "-o", "json")
    assert json.loads(inspected.stdout)["opset"] == 21
    assert installed.run("mep", "lint", "wine").stdout.endswith("nothing to say; 2 of other kinds left out.\n")
    words = ("diff", "wine/models/v2.onnx", "wine/models/v3.onnx", "--data", "wine/rows.csv")
    assert installed.run("mep", *words).returncode == 1


def test_batch_predictions_ask_for_the_extra_that_they_need(installed: Installed) -> None:
    assert installed.run("mep", "demo", "batch").returncode == 0
    done = installed.run("mep", "local", "up", "batch/scores.yaml")
    assert (done.returncode, "pip install 'modelendpoint[batch]'" in done.stderr) == (1, True)


def test_an_error_is_a_sentence_without_a_traceback(installed: Installed) -> None:
    done = installed.run("mep", "inspect", "nowhere.onnx")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: There is no nowhere.onnx. Name an ONNX file, or write some to try: mep demo\n"
