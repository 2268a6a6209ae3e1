"""The state folder."""

import json
from pathlib import Path

import pytest

from modelendpoint.errors import CliError
from modelendpoint.local.state import NAME, StateFolder, find_state


def test_only_one_can_have_a_folder(tmp_path: Path) -> None:
    first = StateFolder(tmp_path / NAME)
    assert first.take() is False
    with pytest.raises(CliError, match="`mep local down` ends it"):
        StateFolder(tmp_path / NAME).take()
    first.leave(keep=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_kept_can_be_taken_again(tmp_path: Path) -> None:
    first = StateFolder(tmp_path / NAME)
    first.take()
    (first.objects / "kept").touch()
    (first.pods / "churn-r1-a").mkdir()
    first.announce(tmp_path / "socket")
    first.leave(keep=True)
    assert first.running() is None
    again = StateFolder(tmp_path / NAME)
    again.take()
    assert (again.objects / "kept").exists()
    assert list(again.pods.iterdir()) == []
    again.leave(keep=False)


def test_who_runs_it_is_known_only_while_it_runs(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / NAME)
    state.take()
    assert state.running() is None
    state.announce(tmp_path / "socket")
    running = state.running()
    assert running is not None and running.socket == str(tmp_path / "socket")
    told = json.loads((state.root / "instance.json").read_bytes())
    (state.root / "instance.json").write_text(json.dumps({**told, "started": told["started"] - 3600}))
    assert state.running() is None, "another process has its number by now"
    state.leave(keep=False)


def test_no_repository_wants_it(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / NAME)
    state.take()
    assert (state.root / ".gitignore").read_text() == "*\n"
    state.leave(keep=False)


def test_the_nearest_folder_above_is_found(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_state(tmp_path / "a" / "b", given=None).root == tmp_path / NAME
    (tmp_path / "a" / NAME).mkdir()
    assert find_state(tmp_path / "a" / "b", given=None).root == tmp_path / "a" / NAME
    assert find_state(tmp_path / "a", given=tmp_path / "other").root == tmp_path / "other"


def test_a_folder_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CliError, match="--state names another folder"):
        StateFolder(tmp_path / "file" / NAME).take()
