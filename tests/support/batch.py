"""Runs of the batch worker: in this process, or as processes that may be killed."""

import dataclasses
import datetime
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet

from modelendpoint_server.artifact.source import Access
from modelendpoint_server.batch.chunks import Input
from modelendpoint_server.batch.command import main
from modelendpoint_server.batch.models import LoadedModel
from modelendpoint_server.batch.places import Patience, open_source
from modelendpoint_server.batch.planner import Planner, select_columns
from modelendpoint_server.batch.progress import Progress
from modelendpoint_server.batch.reading import Reader
from modelendpoint_server.batch.scoring import Scorer
from modelendpoint_server.batch.shard import Contender, ShardWorker, Work
from modelendpoint_server.batch.specification import Run
from modelendpoint_server.formats.limits import Limits
from support.emulators import free_port

SERVER = Path(__file__).parents[2] / "server"


@dataclasses.dataclass(frozen=True)
class Ended:
    """A pod that has ended."""

    code: int
    words: dict[str, Any]
    """Its termination message."""


@dataclasses.dataclass
class Batch:
    """One run, with all its folders below one that the test owns."""

    folder: Path
    model: bytes
    workers: int = 1
    run: dict[str, Any] = dataclasses.field(default_factory=dict)
    settings: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "input").mkdir(parents=True, exist_ok=True)
        (self.folder / "model.onnx").write_bytes(self.model)
        self.run = {
            "run": "weekly-1",
            "input": {"uri": f"file://{self.folder}/input/"},
            "output": {"uri": f"file://{self.folder}/output"},
            **self.run,
        }

    @property
    def output(self) -> Path:
        """The folder of the output, when it is on this disk."""
        return self.folder / "output"

    def put(self, name: str, data: bytes) -> None:
        """Add a file to the input."""
        path = self.folder / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def credentials(self, which: str, values: Mapping[str, str]) -> None:
        """Mount the Secret of a store."""
        folder = self.folder / "credentials" / f"{which}-credentials"
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in values.items():
            (folder / key).write_text(value)

    def environment(self, index: int = 0) -> dict[str, str]:
        """Return what the operator would set."""
        return {
            "MODELENDPOINT_NAME": "churn",
            "MODELENDPOINT_REVISION": "7",
            "MODELENDPOINT_MODEL_URI": f"file://{self.folder}/model.onnx",
            "MODELENDPOINT_MODEL_DIR": str(self.folder / f"models-{index}"),
            "MODELENDPOINT_HOST": "127.0.0.1",
            "MODELENDPOINT_MANAGEMENT_PORT": str(free_port()),
            "MODELENDPOINT_BATCH": json.dumps(self.run),
            "MODELENDPOINT_BATCH_WORKERS": str(self.workers),
            "MODELENDPOINT_BATCH_CREDENTIALS_DIR": str(self.folder / "credentials"),
            "MODELENDPOINT_BATCH_TERMINATION_LOG": str(self.folder / f"last-words-{index}"),
            "JOB_COMPLETION_INDEX": str(index),
            "MODELENDPOINT_LOG_LEVEL": "WARNING",
            **self.settings,
        }

    def do(self, verb: str, index: int = 0) -> Ended:
        """Do a pod's work in this process."""
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        handlers = logging.root.handlers[:]
        try:
            code = main([verb], self.environment(index), now=lambda: datetime.datetime.now(datetime.UTC))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            logging.root.handlers[:] = handlers
        return Ended(code, self.words(index))

    def words(self, index: int = 0) -> dict[str, Any]:
        """Return a pod's termination message."""
        return dict(json.loads((self.folder / f"last-words-{index}").read_bytes()))

    def start(self, verb: str, index: int = 0) -> "subprocess.Popen[bytes]":
        """Start a pod as a process of its own."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SERVER), **self.environment(index)}
        return subprocess.Popen(
            [sys.executable, "-m", "modelendpoint_server", "batch", verb],
            env=environment,
            stderr=subprocess.DEVNULL,
        )

    def complete(self) -> dict[str, Any]:
        """Plan and work it all; return the manifest."""
        assert self.do("plan").code == 0, self.words()
        for index in range(self.workers):
            ended = self.do("work", index)
            assert ended.code == 0, ended.words
        return self.manifest()

    def manifest(self) -> dict[str, Any]:
        """Read the manifest."""
        return dict(orjson.loads((self.output / "_MANIFEST.json").read_bytes()))

    def parts(self, pattern: str = "part-*") -> list[Path]:
        """Return the files of the output, in order."""
        return sorted(self.output.glob(pattern))

    def text(self) -> str:
        """Return all parts of an output of text, one behind the other, each with its header."""
        return "".join(path.read_text() for path in self.parts())

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows of an output in JSON Lines or Parquet."""
        rows: list[dict[str, Any]] = []
        for path in self.parts():
            if path.suffix == ".parquet":
                rows += pyarrow.parquet.read_table(path).to_pylist()
            else:
                rows += [json.loads(line) for line in path.read_text().splitlines()]
        return rows

    def errors(self) -> list[dict[str, Any]]:
        """Return all lines of the errors files."""
        return [json.loads(line) for path in self.parts("errors/part-*") for line in path.read_text().splitlines()]


@dataclasses.dataclass(frozen=True)
class Worked:
    """What became of an input."""

    rows_in: int
    rows: list[dict[str, Any]]
    errors: list[dict[str, Any]]


def work_through(folder: Path, model: LoadedModel, **run: Any) -> Worked:
    """Plan and work the input of a folder in this thread, without a pod around it: quick enough for hundreds of inputs."""
    source = {"uri": f"file://{folder}/"}
    described = {"run": "r", "input": source, "output": {"uri": "file:///unused", "format": "JSONLines"}, **run}
    stop, parsed = threading.Event(), Run.from_json(json.dumps(described))
    store = open_source(parsed.input_uri, _access(folder), Patience(stop))
    reader, signature = Reader(store, parsed.compression), model.predictor.signature
    planner = Planner(parsed, reader, store.files(), shown=store.shown)
    planner.read_columns()
    planner.check([signature])
    plan = planner.make(sha256="", challenger_sha256="", advance=lambda rows: None)
    selection = select_columns(parsed, signature, plan.columns, shown=store.shown)
    limits = Limits(max_rows=100, max_nesting=10, null_is_nan=False)
    rows_in, texts = 0, {"part": b"", "errors": b""}
    with tempfile.TemporaryDirectory() as scratch:
        work = Work(
            plan=plan,
            input=Input(plan, reader, selection, limits),
            model=Contender(Scorer(model.predictor), selection),
            other=None,
            challenger=None,
            null_is_nan=False,
            threads=2,
            folder=Path(scratch),
        )
        worker = ShardWorker(work, Progress(name="", revision=""), stop)
        for shard in plan.shards:
            outcome = worker.run(shard, most_rejected=None)
            rows_in += outcome.rows_in
            assert outcome.rows_in == outcome.rows_out + outcome.rows_rejected
            for path, written in outcome.files:
                texts["errors" if path.startswith("errors/") else "part"] += written.path.read_bytes()
    assert plan.rows in (None, rows_in), "the plan counted other rows"
    return Worked(rows_in, *([json.loads(line) for line in texts[kind].splitlines()] for kind in ("part", "errors")))


def _access(folder: Path) -> Access:
    return Access(credentials={}, pvc_dir=folder, configmap_dir=folder, stall_seconds=3, timeout_seconds=30)


def digests(manifest: Mapping[str, Any]) -> Sequence[Any]:
    """Return what a run's output is, whoever made it and when."""
    return [[(file["path"], file["sha256"], file["rows"]) for file in shard["files"]] for shard in manifest["shards"]]
