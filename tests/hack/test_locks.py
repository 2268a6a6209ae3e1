"""The lock files: what they pin, and what they must not say."""

import re

import pytest

from localcluster.folders import LOCKS

PINNED = re.compile(r"^(\S+)==(\S+)(?: ; .*?)? \\$")
NAMES = sorted(path.stem for path in LOCKS.glob("*.txt"))


def read_pins(name: str) -> set[tuple[str, str]]:
    lines = (LOCKS / f"{name}.txt").read_text().splitlines()
    return {(found[1], found[2]) for line in lines if (found := PINNED.match(line))}


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_a_pin_or_a_hash(name: str) -> None:
    lines = (LOCKS / f"{name}.txt").read_text().splitlines()
    other = [
        line for line in lines if not PINNED.match(line) and not re.match(r"^    --hash=sha256:[0-9a-f]{64}", line)
    ]
    assert other == []
    assert read_pins(name)


@pytest.mark.parametrize("image", ["operator", "server", "router"])
def test_images_hold_the_versions_that_tests_run_with(image: str) -> None:
    assert read_pins(image) - read_pins("dev") == set()
