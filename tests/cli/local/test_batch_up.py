"""Batch predictions under ``mep local up``, with real workers: files in and out, kills, crashes, and what can't be done."""

import csv
import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import yaml

from support.laptop import FIRST, Laptop, living

pytestmark = pytest.mark.timeout(300)
MODEL = {"endpointRef": None, "model": {"uri": "file://model.onnx"}}
"""A run that needs no endpoint, and so no server and no router."""


def predictions(folder: Path) -> list[list[str]]:
    """Read the rows of all parts, in order."""
    rows = []
    for part in sorted(folder.glob("part-*.csv")):
        rows += list(csv.reader(part.read_text().splitlines()))[1:]
    return rows


def assert_right(laptop: Laptop, count: int, *, output: str = "predictions") -> None:
    """Each row is there once, in order, with what the model says of it; the input is as it was."""
    found = predictions(laptop.folder / output)
    assert [int(row[0]) for row in found] == list(range(count))
    rows = [
        [float(cell) for cell in line.split(",")[1:]] for line in (laptop.folder / "rows.csv").read_text().split()[1:]
    ]
    wanted = [answer[0] for answer in FIRST.expected(rows)]
    assert [float(row[1]) for row in found] == pytest.approx(wanted)


def test_rows_of_a_file_are_predicted_with_the_model_of_an_endpoint_that_runs_here(laptop: Laptop) -> None:
    laptop.write_rows(1000)
    laptop.write_batch(parallelism=2, shardRows=100)
    laptop.start(files=("endpoint.yaml", "scores.yaml"))
    laptop.wait(lambda: laptop.batch_reason() == "Complete")
    assert_right(laptop, 1000)
    manifest = laptop.folder / "predictions" / "_MANIFEST.json"
    assert json.loads(manifest.read_text())["rowsOut"] == 1000

    shown = laptop.run("get", "scores").stdout
    assert shown.splitlines()[0].split() == [
        "NAME",
        "STATUS",
        "PROGRESS",
        "REJECTED",
        "ROWS/S",
        "ETA",
        "LAST",
        "RUN",
        "AGE",
    ]
    assert "1000/1000" in shown and f"file://{manifest}" in shown
    both = yaml.safe_load(laptop.run("get", "-o", "yaml").stdout)["items"]
    assert [body["kind"] for body in both] == ["ModelEndpoint", "BatchPrediction"]
    assert both[1]["status"]["model"]["revision"] == 1
    assert laptop.run("logs", "scores").stdout.count("Committed a shard") == 10
    assert "Nothing" not in laptop.run("logs", "churn").stdout

    laptop.write_batch(parallelism=2, shardRows=50)
    refused = laptop.run("lint", "scores.yaml")
    assert "spec.input.uri" in refused.stdout, "a cluster can't read file://"
    assert laptop.interrupt() == 0
    assert sorted(entry.name for entry in laptop.folder.iterdir()) == [
        "endpoint.yaml", "model.onnx", "out", "predictions", "rows.csv", "scores.yaml",
    ]  # fmt: skip


def test_workers_that_are_killed_and_mep_itself_cost_no_row(laptop: Laptop) -> None:
    laptop.write_rows(60_000)
    laptop.write_batch(**MODEL, parallelism=2, shardRows=500)
    committed = laptop.folder / "predictions" / "_batch"
    laptop.start(files=("scores.yaml",))
    laptop.wait(lambda: len(list(committed.glob("*/shards/*.json"))) >= 3)
    for pid in laptop.workers():
        os.kill(pid, signal.SIGKILL)
    laptop.wait(lambda: any(pod["exitCode"] == 137 for pod in laptop.batch()["pods"]))
    laptop.wait(lambda: len(laptop.workers()) > 0 or laptop.batch_reason() == "Complete")
    left = laptop.workers()
    laptop.kill()
    laptop.wait(lambda: living(left) == [])

    laptop.start(files=("scores.yaml",))
    laptop.wait(lambda: laptop.batch_reason() == "Complete")
    assert_right(laptop, 60_000)
    parts = Counter(path.name for path in (laptop.folder / "predictions").glob("part-*"))
    assert len(parts) == 120
    assert laptop.run("local", "down").returncode == 0


def test_what_no_retry_can_heal_fails_with_its_sentence_and_goes_on_when_it_is_healed(laptop: Laptop) -> None:
    laptop.write_rows(10)
    laptop.write_batch(**MODEL, columns={"features": ["f0", "f1", "f9"]})
    laptop.start(files=("scores.yaml",))
    laptop.wait(lambda: laptop.batch_reason() == "MissingColumn")
    told = {told["type"]: told for told in laptop.batch()["object"]["status"]["conditions"]}
    assert (told["Stalled"]["status"], told["Failed"]["status"]) == ("True", "True")
    shown = laptop.run("get").stdout
    assert "f9" in shown and "mep retry scores" in shown
    assert "f9" in laptop.run("logs", "scores").stdout

    rows = (laptop.folder / "rows.csv").read_text().replace("f2", "f9")
    (laptop.folder / "rows.csv").write_text(rows)
    assert "Attempt 2 starts" in laptop.run("retry", "scores").stdout
    laptop.wait(lambda: laptop.batch_reason() == "Complete")
    assert len(predictions(laptop.folder / "predictions")) == 10
    assert "has not failed" in laptop.run("retry", "scores").stderr
    assert laptop.interrupt() == 0


def test_a_run_that_has_begun_is_not_changed_and_one_that_is_in_no_file_any_more_goes(laptop: Laptop) -> None:
    laptop.write_rows(10)
    laptop.write_batch(**MODEL)
    laptop.write_batch("again", file="again.yaml", **MODEL, output={"uri": "file://again/"}, parallelism=1)
    laptop.start("--watch", files=("scores.yaml", "again.yaml"))
    laptop.wait(lambda: laptop.batch_reason() == laptop.batch_reason("again") == "Complete")
    laptop.write_batch(**MODEL, input={"uri": "file://others.csv"})
    laptop.wait(lambda: "can't be changed once a run has it" in laptop.out)
    laptop.write_batch("third", **MODEL, output={"uri": "file://predictions/"})
    laptop.wait(lambda: laptop.batch_reason("third") == "OutputInUse")
    assert "BatchPrediction scores is in none of the files any more" in laptop.out
    assert laptop.batch_reason("scores") == ""
    assert laptop.interrupt() == 0
    assert_right(laptop, 10)
    assert_right(laptop, 10, output="again")
