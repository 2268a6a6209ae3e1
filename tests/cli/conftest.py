"""Models on disk, and the command line in this process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modelendpoint.commands.root import mep
from modelendpoint.models.opened import OpenModel, open_model
from modelendpoint.sample import write_sample

Open = Callable[[bytes], OpenModel]
Run = Callable[..., Result]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Load models from bytes."""
    with ExitStack() as stack:

        def load(data: bytes) -> OpenModel:
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
            path.write_bytes(data)
            return stack.enter_context(open_model(str(path)))

        yield load


@pytest.fixture
def wine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in the folder that ``mep demo`` writes."""
    write_sample(tmp_path / "wine")
    monkeypatch.chdir(tmp_path / "wine")
    return tmp_path / "wine"


@pytest.fixture
def run() -> Run:
    """Run ``mep`` with these words."""

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(mep, words, prog_name="mep")

    return invoke
