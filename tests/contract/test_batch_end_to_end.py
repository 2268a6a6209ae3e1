"""The operator's Jobs, run by the real worker: the toy cluster starts each pod's command as a process on this machine."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_operator import names
from support.batch_world import BatchWorld
from support.kstatus import kstatus
from support.onnx_models import linear_model

ROOT = Path(__file__).parents[2]
MODEL = linear_model([0.5, -1.5, 2.0], intercept=1.0)
PVC, CONFIGMAP = Path("mnt/pvc"), Path("mnt/configmap")


class RealWorkers(BatchWorld):
    """A world whose workers are ours, on claims and ConfigMaps that are folders."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.killed = 0

    def _work(self, pod: dict[str, Any]) -> None:
        """Run the pod's command to its end, and keep what it leaves for the kubelet."""
        if self.killed > 0 and pod["metadata"]["labels"][names.LABEL_BATCH_STAGE] == "work":
            self.killed -= 1
            self.kill(pod["metadata"]["name"])
            return
        (container,) = pod["spec"]["containers"]
        words = self.folder / f"{pod['metadata']['name']}.words"
        models = self.folder / pod["metadata"]["name"]
        given = {variable["name"]: variable["value"] for variable in container["env"]}
        local = {
            "MODELENDPOINT_MODEL_DIR": str(models),
            "MODELENDPOINT_PVC_DIR": str(self.folder / PVC),
            "MODELENDPOINT_CONFIGMAP_DIR": str(self.folder / CONFIGMAP),
            "MODELENDPOINT_BATCH_TERMINATION_LOG": str(words),
            "MODELENDPOINT_MANAGEMENT_PORT": str(free_port()),
            "MODELENDPOINT_HOST": "127.0.0.1",
            "JOB_COMPLETION_INDEX": pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"],
            "PYTHONPATH": str(ROOT / "server"),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(
            [sys.executable, *container["command"][1:]],
            env={**given, **local, "HOME": str(models), "TMPDIR": str(self.folder)},
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert words.exists(), done.stderr.decode()
        self._end(pod, exit_code=done.returncode, word=json.loads(words.read_text()))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def world(tmp_path: Path) -> RealWorkers:
    for claim in ("in", "out"):
        (tmp_path / PVC / "data" / claim).mkdir(parents=True)
    (tmp_path / CONFIGMAP / "models").mkdir(parents=True)
    (tmp_path / CONFIGMAP / "models/1.onnx").write_bytes(MODEL.data)
    return RealWorkers(tmp_path)


def put(world: RealWorkers, name: str, text: str) -> None:
    (world.folder / PVC / "data/in" / name).write_text(text)


def apply(world: RealWorkers, **spec: Any) -> None:
    fields = {
        "model": {"uri": "configmap://models/1.onnx", "version": "1"},
        "input": {"uri": "pvc://data/in/"},
        "output": {"uri": "pvc://data/out/"},
        "columns": {"features": ["a", "b", "c"], "passThrough": ["id"]},
        "shardRows": 10,
    }
    world.apply(**{**fields, **spec})


def output_of(world: RealWorkers) -> dict[str, list[float]]:
    """Read the scores of all files that the manifest names, by id."""
    folder = world.folder / PVC / "data/out"
    manifest = json.loads((folder / "_MANIFEST.json").read_text())
    files = [file["path"] for shard in manifest["shards"] for file in shard["files"]]
    scores: dict[str, list[float]] = {}
    for path in files:
        if not path.startswith("errors/"):
            for row in csv.DictReader(io.StringIO((folder / path).read_text())):
                scores.setdefault(row["id"], []).append(float(row["score"]))
    return scores


def test_a_run_from_its_object_to_its_files(world: RealWorkers) -> None:
    rows = [[n, n + 1, n + 2] for n in range(35)]
    for half, part in (("1.csv", range(20)), ("2.csv", range(20, 35))):
        lines = [f"{n},{','.join(map(str, rows[n]))}" for n in part]
        put(world, half, "\n".join(["id,a,b,c", *lines]) + "\n")
    world.killed = 2
    apply(world)
    world.until("Complete", turns=60)

    status = world.status()
    assert status["model"]["sha256"] == MODEL.sha256
    assert status["progress"]["text"] == "35/35"
    assert status["progress"]["shardsDone"] == status["progress"]["shards"] >= 4
    assert kstatus(world.body()) == "Current"
    expected = {str(n): [pytest.approx(score[0])] for n, score in enumerate(MODEL.expected(rows))}
    assert output_of(world) == expected


@pytest.mark.parametrize(
    ("text", "spec", "reason", "words"),
    [
        ("id,a,b\n1,2,3\n", {}, "MissingColumn", "c"),
        ("id,a,b,c\n1,2,x,3\n", {"errorThreshold": {"rows": 0}}, "ErrorThresholdExceeded", "1 of 1 rows"),
        ("", {"input": {"uri": "pvc://data/in/*.parquet"}}, "InputNotFound", "data/in"),
        ("id,a,b,c\n1,2,3,4\n", {"model": {"uri": "configmap://models/2.onnx"}}, "ModelNotFound", "2.onnx"),
    ],
    ids=["missing column", "bad rows", "no input", "no model"],
)
def test_an_error_of_the_worker_is_the_users_to_read(
    world: RealWorkers, text: str, spec: dict[str, Any], reason: str, words: str
) -> None:
    put(world, "1.csv", text)
    apply(world, **spec)
    world.until(reason, turns=20)

    told = world.condition("Stalled")
    assert told is not None and words in told["message"]
    assert "modelendpoint.dev/retry=1" in told["message"]
    assert kstatus(world.body()) == "Failed"
