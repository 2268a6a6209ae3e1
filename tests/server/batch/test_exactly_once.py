"""Workers that are killed, told to end, run twice at the same time or have no room: the output is the same to the byte."""

import random
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from modelendpoint_server.batch import command, writing
from support import model_zoo
from support.batch import Batch, Ended, digests
from support.onnx_models import linear_model

LINEAR = linear_model([1.0, 2.0], intercept=0.5)
ROWS = 20_000


def like(sound: Batch, folder: Path) -> Batch:
    """Make the same run again: the same input, another output."""
    run = {**sound.run, "output": {**sound.run["output"], "uri": f"file://{folder}/output"}}
    return Batch(folder, LINEAR.data, workers=sound.workers, run=run)


def a_batch(folder: Path, rows: int = ROWS, **run: Any) -> Batch:
    columns = {"features": ["a", "b"], "passThrough": ["id"]}
    batch = Batch(folder, LINEAR.data, workers=2, run={"columns": columns, "errorThreshold": {"percent": 50}, **run})
    # Every hundredth row is bad, so that there are errors files too.
    lines = (f"r{n},{n if n % 100 else 'x'},{n / 8}" for n in range(rows))
    batch.put("a.csv", ("id,a,b\n" + "\n".join(lines) + "\n").encode())
    return batch


def files_of(batch: Batch) -> dict[str, bytes]:
    """Read all that the run leaves to its users."""
    paths = [path for path in batch.output.rglob("*") if path.is_file()]
    names = {str(path.relative_to(batch.output)): path for path in paths}
    assert not [name for name in names if "/staged/" in name], "what was staged is gone"
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith("_")}


def assert_same(batch: Batch, undisturbed: Batch) -> None:
    assert digests(batch.manifest()) == digests(undisturbed.manifest())
    assert files_of(batch) == files_of(undisturbed)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    batch = a_batch(tmp_path_factory.mktemp("undisturbed"), shardRows=100)
    manifest = batch.complete()
    assert (len(manifest["shards"]), manifest["rowsIn"], manifest["rowsRejected"]) == (200, ROWS, ROWS // 100)
    return batch


@pytest.mark.parametrize("seed", [0])
def test_workers_that_end_at_any_moment_change_no_byte(tmp_path: Path, undisturbed: Batch, seed: int) -> None:
    batch = like(undisturbed, tmp_path)
    assert batch.do("plan").code == 0
    chance, shards = random.Random(seed), batch.output / "_batch" / "weekly-1" / "shards"

    def committed() -> int:
        return len(list(shards.glob("*.json")))

    ended: list[int] = []
    while not (batch.output / "_MANIFEST.json").exists():
        assert len(ended) < 100, "it never comes to its end"
        # Each index by two workers at the same time.
        pods = [batch.start("work", index) for index in (0, 1, 0, 1)]
        ended += [end(pod, committed, chance) for pod in pods]
    assert set(ended) <= {-signal.SIGKILL, -signal.SIGTERM, 0, 1}
    assert any(ended), "the first can not come to its end before it is killed"
    assert_same(batch, undisturbed)


def end(pod: "subprocess.Popen[bytes]", committed: Callable[[], int], chance: random.Random) -> int:
    """Let the workers commit some more shards, and end one of them in one way or the other."""
    enough = committed() + chance.choice([0, 1, 20, 60])
    while committed() < enough:
        try:
            return pod.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    pod.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
    return pod.wait(timeout=30)


class Killed(BaseException):
    """The process is gone: nothing is cleaned up, nothing is told."""


class Mortal:
    """A store that ends its caller at a certain request, before or after it is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dies_at: int | None = None
        self.requests = 0
        self._after = False
        for name in ("put", "rename", "delete", "head", "get", "list"):
            monkeypatch.setattr(obstore, name, self._deadly(getattr(obstore, name)))

    def _deadly(self, request: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **options: Any) -> Any:
            number, self.requests = self.requests, self.requests + 1
            if number == self.dies_at and not self._after:
                raise Killed
            try:
                return request(*arguments, **options)
            finally:
                if number == self.dies_at:
                    raise Killed

        return do

    def kill(self, work: Callable[[], Ended], *, at: int, after: bool) -> bool:
        """Do the work up to a request; tell whether it came to that."""
        self.dies_at, self.requests, self._after = at, 0, after
        try:
            work()
        except Killed:
            return True
        finally:
            self.dies_at = None
        return False


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Mortal:
    monkeypatch.setattr("modelendpoint_server.batch.commitment._THREADS", 1)
    return Mortal(monkeypatch)


@pytest.mark.parametrize("after", [False, True])
def test_a_worker_that_dies_at_any_request_to_the_store_changes_no_byte(
    tmp_path: Path, mortal: Mortal, after: bool
) -> None:
    sound = a_batch(tmp_path / "sound", 60, shardRows=20)
    sound.workers = 1
    sound.complete()
    for at in range(200):
        batch = like(sound, tmp_path / str(at))
        assert batch.do("plan").code == 0
        died = mortal.kill(lambda batch=batch: batch.do("work"), at=at, after=after)  # type: ignore[misc]
        ended = batch.do("work")
        assert (ended.code, ended.words["rowsOut"]) == (0, 59), (at, ended.words)
        assert_same(batch, sound)
        if not died:
            break
    assert 20 < at < 199, "all requests of a run were tried"


def test_a_worker_told_to_end_commits_no_half_shard(tmp_path: Path, undisturbed: Batch) -> None:
    batch = like(undisturbed, tmp_path)
    batch.do("plan")
    pod = batch.start("work", 0)
    records = batch.output / "_batch" / "weekly-1" / "shards"
    while not list(records.glob("*.json")):
        assert pod.poll() is None
    pod.send_signal(signal.SIGTERM)
    assert pod.wait(timeout=30) in (0, 1)
    if batch.words()["state"] == "Failed":
        assert batch.words()["reason"] == "Stopped"
    for index in (0, 1):
        assert batch.do("work", index).code == 0
    assert_same(batch, undisturbed)


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let this process write no file beyond a size, as on a disk that is full."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("output", ["CSV", "Parquet"])
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, output: str, request: pytest.FixtureRequest
) -> None:
    batch = a_batch(tmp_path, ROWS)
    batch.workers = 1
    batch.run["output"]["format"] = output
    batch.do("plan")
    request.getfixturevalue("small_files")
    ended = batch.do("work")
    assert (ended.code, ended.words["reason"]) == (1, "StorageFull")
    assert "more ephemeral storage or smaller shards" in ended.words["message"]
    assert not list((tmp_path / "models-0").glob("batch-*/shard-*")), "it leaves no files behind"


def test_too_little_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caps: list[int] = []
    monkeypatch.setattr(command, "memory_size", lambda: 2**30)
    monkeypatch.setattr(command, "cap_memory", caps.append)

    def starve(*arguments: Any) -> bytes:
        raise MemoryError

    monkeypatch.setattr(writing, "encode", starve)
    monkeypatch.setattr("modelendpoint_server.batch.shard.encode", starve)
    batch = a_batch(tmp_path, 10)
    batch.do("plan")
    ended = batch.do("work")
    assert (ended.code, ended.words["reason"]) == (1, "OutOfMemory")
    assert "Raise it, or lower shardBytes" in ended.words["message"]
    assert caps == [3 * 2**30] * 2


@pytest.fixture
def memory_limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let batch pods in this process see a small container."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(command, "memory_size", lambda: 2**28)
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.usefixtures("memory_limit")
def test_a_row_that_asks_for_all_memory_costs_only_itself(tmp_path: Path) -> None:
    batch = Batch(tmp_path, model_zoo.memory_bomb(), run={"errorThreshold": {"rows": 1}})
    batch.put("a.jsonl", b'{"size": 1}\n{"size": 2000000000}\n{"size": 1}\n')
    batch.run["columns"] = {"features": ["size"]}
    batch.do("plan")
    ended = batch.do("work")
    assert (ended.code, ended.words["rowsOut"], ended.words["rowsRejected"]) == (0, 2, 1), ended.words
