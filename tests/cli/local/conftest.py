"""A folder in which an endpoint can be run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.laptop import FIRST, Laptop
from support.routers import free_port


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    """An endpoint with a first model, not yet running."""
    folder = tmp_path / "my laptop"
    folder.mkdir()
    laptop = Laptop(folder, port=free_port())
    laptop.write_model(FIRST)
    laptop.write_endpoint()
    yield laptop
    laptop.clean_up()
