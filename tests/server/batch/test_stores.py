"""Runs with input and output in each kind of store, also in one that is away for a while."""

import functools
import subprocess
from pathlib import Path

import pytest

from modelendpoint_server.batch import command
from modelendpoint_server.batch.places import Patience
from support.batch import Batch
from support.onnx_models import linear_model
from support.stores import KINDS, LocalStore

pytestmark = pytest.mark.emulator
LINEAR = linear_model([1.0, 2.0], intercept=0.5)
ROWS = 3000
CSV = b"id,a,b\n" + b"".join(b"r%d,%d,1\n" % (n, n) for n in range(ROWS))
SCORES = "".join(f"r{n},{n + 2.5:g}\n" for n in range(ROWS))


def a_batch(folder: Path, store: LocalStore) -> Batch:
    batch = Batch(
        folder,
        LINEAR.data,
        run={
            "input": {"uri": store.uri("in/")},
            "output": {"uri": store.uri("out")},
            "columns": {"features": ["a", "b"], "passThrough": ["id"]},
            "shardRows": 700,
        },
        settings={"MODELENDPOINT_REFUSED_NETWORKS": ""},
    )
    for which in ("input", "output"):
        batch.credentials(which, store.credentials)
    store.put("in/a.csv", CSV)
    return batch


def output_of(store: LocalStore) -> str:
    parts = [path for path in store.list("out") if path.startswith("out/part-")]
    texts = [store.read(path).decode() for path in parts]
    assert all(text.startswith("id,score\n") for text in texts)
    return "".join(text.removeprefix("id,score\n") for text in texts)


def files_of(store: LocalStore) -> list[str]:
    """Name the files that are not in folders of the output."""
    return [path for path in store.list("out") if path.count("/") == 1]


@pytest.mark.parametrize("kind", ["s3", "az"])
def test_input_and_output_are_in_a_store(tmp_path: Path, kind: str) -> None:
    store = KINDS[kind](tmp_path / "store")
    with store.serve():
        batch = a_batch(tmp_path, store)
        batch.workers = 2
        assert batch.do("plan").code == 0, batch.words()
        first, last = batch.do("work", 0), batch.do("work", 1)
        assert (first.code, last.code) == (0, 0), last.words
        assert last.words["manifest"] == store.uri("out/_MANIFEST.json")
        assert (last.words["rowsOut"], last.words["rowsRejected"]) == (ROWS, 0)
        assert output_of(store) == SCORES
        parts = [f"out/part-0000{n}.csv" for n in range(5)]
        assert files_of(store) == ["out/_MANIFEST.json", *parts], "what was staged is gone"
        # A second worker of a shard that is committed changes nothing, and another run is told.
        again = batch.do("work", 0)
        assert (again.code, again.words["rowsOut"]) == (0, ROWS)
        batch.run["run"] = "weekly-2"
        assert batch.do("plan").words["reason"] == "OutputInUse"


def test_input_is_in_gcs(tmp_path: Path) -> None:
    # Its emulator can't be written to as Google's own can: the output is elsewhere.
    store = KINDS["gs"](tmp_path / "store")
    with store.serve():
        batch = a_batch(tmp_path, store)
        batch.run["output"] = {"uri": f"file://{tmp_path}/output"}
        assert batch.complete()["rowsOut"] == ROWS
    assert batch.text().replace("id,score\n", "") == SCORES


def test_a_store_in_a_network_that_is_refused_is_told(tmp_path: Path) -> None:
    store = KINDS["s3"](tmp_path / "store")
    with store.serve():
        batch = a_batch(tmp_path, store)
        batch.settings["MODELENDPOINT_REFUSED_NETWORKS"] = "127.0.0.0/8"
        ended = batch.do("plan")
    assert (ended.code, ended.words["reason"]) == (42, "OutputForbidden")
    assert "leads to 127.0.0.1" in ended.words["message"]


@pytest.mark.parametrize("kind", ["s3", "az"])
def test_a_store_that_comes_back_is_waited_for(tmp_path: Path, kind: str) -> None:
    store = KINDS[kind](tmp_path / "store")
    with store.serve():
        batch = a_batch(tmp_path, store)
        assert batch.do("plan").code == 0, batch.words()
    worker = batch.start("work")
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(timeout=3)
    with store.serve():
        assert worker.wait(timeout=60) == 0, batch.words()
        assert output_of(store) == SCORES


def test_a_store_that_stays_away_is_told_and_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "Patience", functools.partial(Patience, seconds=0.1))
    store = KINDS["s3"](tmp_path / "store")
    with store.serve():
        batch = a_batch(tmp_path, store)
    ended = batch.do("plan")
    assert (ended.code, ended.words["reason"]) == (1, "StoreUnavailable")
