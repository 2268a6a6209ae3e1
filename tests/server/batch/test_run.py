"""Whole runs on this disk: plan, work, finish, what they write and what they say."""

import gzip
import hashlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from onnx import helper

from support import model_zoo
from support.batch import Batch, digests
from support.onnx_models import linear_model

LINEAR = linear_model([1.0, 2.0], intercept=0.5)
FEATURES = {"features": ["a", "b"]}
ROWS = [{"id": f"r{n:03}", "a": n, "b": n / 4} for n in range(100)]
EXPECTED = [{"id": row["id"], "score": row["a"] + 2 * row["b"] + 0.5} for row in ROWS]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def as_json_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_parquet(rows: list[dict[str, Any]], *, group: int = 1000) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), out, row_group_size=group)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return bytes(out.getvalue())


FILES = {
    "a.csv": as_csv(ROWS),
    "a.csv.gz": gzip.compress(as_csv(ROWS)),
    "a.csv.zst": zstd(as_csv(ROWS)),
    "a.jsonl": as_json_lines(ROWS),
    "a.jsonl.gz": gzip.compress(as_json_lines(ROWS)),
    "a.ndjson.zst": zstd(as_json_lines(ROWS)),
    "a.parquet": as_parquet(ROWS),
}


def a_batch(folder: Path, **run: Any) -> Batch:
    return Batch(folder, LINEAR.data, run={"columns": {**FEATURES, "passThrough": ["id"]}, **run})


@pytest.mark.parametrize("output", ["JSONLines", "Parquet", "CSV"])
@pytest.mark.parametrize("name", FILES)
def test_every_format_is_read_and_written(tmp_path: Path, name: str, output: str) -> None:
    batch = a_batch(tmp_path)
    batch.run["output"]["format"] = output
    batch.put(name, FILES[name])
    manifest = batch.complete()
    assert (manifest["rowsIn"], manifest["rowsOut"], manifest["rowsRejected"]) == (100, 100, 0)
    if output == "CSV":
        assert batch.text() == "".join(["id,score\n", *(f"{r['id']},{r['score']:g}\n" for r in EXPECTED)])
    else:
        assert batch.rows() == EXPECTED


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.csv", as_csv(ROWS)), ("a.jsonl", as_json_lines(ROWS)), ("a.parquet", as_parquet(ROWS, group=7))],
)
@pytest.mark.parametrize("limit", [{"shardRows": 7}, {"shardBytes": 100}])
def test_a_large_file_is_split_and_its_rows_stay_in_order(
    tmp_path: Path, name: str, data: bytes, limit: dict[str, int]
) -> None:
    batch = a_batch(tmp_path, **limit)
    batch.workers = 3
    batch.run["output"]["format"] = "JSONLines"
    batch.put(name, data)
    manifest = batch.complete()
    assert len(manifest["shards"]) > 4
    assert batch.rows() == EXPECTED


def test_quoted_newlines_are_no_ends_of_rows(tmp_path: Path) -> None:
    batch = a_batch(tmp_path, shardRows=2)
    ids = ["plain", 'with "quotes"', "two\nlines", "comma,", "\n", 'a"b\r\n"c', ""]
    lines = [f'"{text.replace(chr(34), chr(34) * 2)}",{n},0' for n, text in enumerate(ids)]
    batch.put("a.csv", ("id,a,b\r\n" + "\r\n".join(lines) + "\r\n").encode())
    batch.run["output"]["format"] = "JSONLines"
    assert len(batch.complete()["shards"]) == 4
    assert batch.rows() == [{"id": text, "score": n + 0.5} for n, text in enumerate(ids)]


def test_a_missing_column_is_told_within_seconds_with_what_there_is(tmp_path: Path) -> None:
    batch = a_batch(tmp_path, columns={"features": ["a", "age"]})
    batch.put("a.csv", as_csv(ROWS))
    started = time.monotonic()
    ended = batch.do("plan")
    assert time.monotonic() - started < 10
    assert (ended.code, ended.words["reason"]) == (42, "MissingColumn")
    assert "Column 'age' is not in" in ended.words["message"]
    assert "which has id, a, b. Correct columns.features or the input." in ended.words["message"]


def test_a_csv_column_for_an_input_of_several_values_is_refused_with_what_to_name(tmp_path: Path) -> None:
    batch = a_batch(tmp_path, columns={"features": ["a"]})
    batch.put("a.csv", as_csv(ROWS))
    ended = batch.do("plan")
    assert (ended.code, ended.words["reason"]) == (42, "InvalidBatch")
    assert "holds one (column 'a'). Name all columns that it takes in columns.features" in ended.words["message"]


def test_a_column_that_only_a_later_file_lacks_is_told_too(tmp_path: Path) -> None:
    batch = a_batch(tmp_path)
    batch.put("a.csv", as_csv(ROWS))
    batch.put("b.csv", b"id,a\n1,2\n")
    assert "b.csv" in batch.do("plan").words["message"]


def test_columns_are_taken_by_name_whatever_their_order(tmp_path: Path) -> None:
    batch = a_batch(tmp_path)
    batch.put("a.csv", as_csv(ROWS[:50]))
    batch.put("b.csv", as_csv([{"b": row["b"], "more": "x", "id": row["id"], "a": row["a"]} for row in ROWS[50:]]))
    batch.run["output"]["format"] = "JSONLines"
    batch.complete()
    assert batch.rows() == EXPECTED


def test_a_model_that_names_its_columns_needs_no_list_of_them(tmp_path: Path) -> None:
    port = ("x", "FP32", (None, 2))
    node = helper.make_node("Identity", ["x"], ["y"])
    model = model_zoo.build([node], [port], [("y", "FP32", (None, 2))], metadata={"feature_names": "b,a"})
    batch = Batch(tmp_path, model, run={})
    batch.put("a.csv", as_csv(ROWS))
    batch.complete()
    lines = batch.text().splitlines()
    assert (lines[0], lines[5]) == ("y_0,y_1", "1,4")


def test_all_columns_may_stand_beside_the_predictions(tmp_path: Path) -> None:
    batch = a_batch(tmp_path, columns={**FEATURES, "join": True})
    batch.put("a.csv", b"id,a,b,score\n007,1.50,2,old\n")
    batch.complete()
    # The text of the input is carried as it was, and an old prediction does not hide the new one.
    assert batch.text() == "id,a,b,score,prediction_score\n007,1.50,2,old,6\n"


def test_bad_rows_are_told_with_their_number_and_cost_only_themselves(tmp_path: Path) -> None:
    batch = a_batch(tmp_path, shardRows=30, errorThreshold={"rows": 10})
    rows = [dict(row) for row in ROWS]
    rows[4]["a"], rows[40]["b"], rows[99]["a"] = "many", "", "1e99"
    lines = as_csv(rows).decode().splitlines()
    lines[71] += ",too,long"
    batch.put("a.csv", ("\n".join(lines) + "\n").encode())
    manifest = batch.complete()
    assert (manifest["rowsIn"], manifest["rowsOut"], manifest["rowsRejected"]) == (100, 96, 4)
    told = {error["row"]: (error["column"], error["reason"]) for error in batch.errors()}
    assert sorted(told) == [5, 41, 71, 100]
    assert told[5] == ("a", "The value is 'many'; input 'features' takes FP32.")
    assert told[71] == (None, "The row has 5 values; the header has 3.")
    assert [told[row][0] for row in (5, 41, 100)] == ["a", "b", "a"]
    good = [e for n, e in enumerate(EXPECTED) if n not in (4, 40, 70, 99)]
    assert [line.split(",")[0] for line in batch.text().splitlines() if "id" not in line] == [e["id"] for e in good]


def test_too_many_bad_rows_fail_the_run_clearly(tmp_path: Path) -> None:
    batch = a_batch(tmp_path, errorThreshold={"rows": 1})
    batch.put("a.jsonl", as_json_lines([*ROWS, {"id": "x", "a": None, "b": 1}, {"id": "y", "a": "1", "b": 1}]))
    assert batch.do("plan").code == 0
    ended = batch.do("work")
    assert (ended.code, ended.words["reason"]) == (42, "ErrorThresholdExceeded")
    assert "2 of the rows were rejected, 1 are allowed. The first:" in ended.words["message"]
    assert "row 101, column 'a': The value is null or missing." in ended.words["message"]
    assert not (batch.output / "_MANIFEST.json").exists()
    kept = next((batch.output / "_batch" / "weekly-1" / "rejected").iterdir())
    assert str(kept) in ended.words["message"]
    assert len(kept.read_text().splitlines()) == 2


def test_a_share_of_bad_rows_may_be_allowed(tmp_path: Path) -> None:
    batch = a_batch(tmp_path, errorThreshold={"percent": 1}, shardRows=10)
    batch.put("a.csv", as_csv([*ROWS[:99], {"id": "x", "a": "?", "b": 1}]))
    assert batch.complete()["rowsRejected"] == 1
    worse = a_batch(tmp_path / "worse", errorThreshold={"percent": 0.5}, shardRows=10)
    worse.put("a.csv", as_csv([*ROWS[:99], {"id": "x", "a": "?", "b": 1}]))
    worse.do("plan")
    assert worse.do("work").words["reason"] == "ErrorThresholdExceeded"


def test_the_output_of_another_run_is_not_touched(tmp_path: Path) -> None:
    batch = a_batch(tmp_path)
    batch.put("a.csv", FILES["a.csv"])
    manifest = batch.complete()
    assert batch.do("plan").code == 0, "the plan of the same run is there"
    batch.run["run"] = "weekly-2"
    ended = batch.do("plan")
    assert (ended.code, ended.words["reason"]) == (42, "OutputInUse")
    assert batch.manifest() == manifest


def test_work_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    batch = a_batch(tmp_path, shardRows=10)
    batch.put("a.csv", FILES["a.csv"])
    manifest = batch.complete()
    times = {path: path.stat().st_mtime_ns for path in batch.parts()}
    ended = batch.do("work")
    assert ended.code == 0
    assert (ended.words["rowsOut"], ended.words["shardsDone"]) == (100, 10)
    assert ended.words["manifest"] == f"file://{batch.output}/_MANIFEST.json"
    assert batch.manifest() == manifest
    assert {path: path.stat().st_mtime_ns for path in batch.parts()} == times


def test_finish_waits_for_all_shards_and_is_the_last(tmp_path: Path) -> None:
    batch = a_batch(tmp_path, shardRows=50)
    batch.workers = 2
    batch.put("a.csv", FILES["a.csv"])
    batch.do("plan")
    batch.do("work", 0)
    ended = batch.do("finish")
    assert (ended.code, ended.words["reason"]) == (1, "Incomplete")
    batch.do("work", 1)
    assert batch.do("finish").words["rowsOut"] == 100
    assert not list((batch.output / "_batch").glob("*/staged/**/part*"))


def test_the_output_is_partitioned_by_columns(tmp_path: Path) -> None:
    batch = a_batch(tmp_path, shardRows=50)
    batch.run["output"].update(format="JSONLines", partitioning=["country"])
    rows = [{**row, "country": ["NL", "DE/x", ""][n % 3]} for n, row in enumerate(ROWS)]
    batch.put("a.csv", as_csv(rows))
    batch.complete()
    folders = {path.parent.name for path in batch.parts("*/part-*")}
    assert folders == {"country=NL", "country=DE%2Fx", "country=__HIVE_DEFAULT_PARTITION__"}
    text = "".join(path.read_text() for path in batch.parts("country=NL/part-*"))
    assert [json.loads(line) for line in text.splitlines()] == EXPECTED[::3]


def test_two_models_are_compared_row_by_row(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(linear_model([1.0, 2.2], intercept=0.5).data)
    batch = a_batch(
        tmp_path,
        shardRows=30,
        compareWith={"uri": f"file://{tmp_path}/other.onnx", "absoluteTolerance": 2.0, "relativeTolerance": 0},
    )
    batch.put("a.csv", FILES["a.csv"])
    summary = batch.complete()["compare"]
    # The difference is 0.2 b = n / 20: beyond 2 from row 41 on.
    assert (summary["rows"], summary["disagreeing"]) == (100, 59)
    assert summary["largestDifference"] == pytest.approx(99 / 20, rel=1e-5)
    table = "".join(path.read_text() for path in batch.parts("disagreements/part-*")).splitlines()
    assert table[0] == "file,id,row,score,score_challenger,difference"
    assert [line.split(",")[1:3] for line in table[1:] if not line.startswith("file,")] == [
        [f"r{n:03}", str(n + 1)] for n in range(41, 100)
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "reason", "words"),
    [
        (3, 2, "ModelsDiffer", "model of compareWith, and not for this one: Input 'features' of the model takes 3"),
        (2, 3, "MissingColumn", "For the model of compareWith: Input 'features' of the model takes 3 values"),
        (3, 4, "MissingColumn", "Input 'features' of the model takes 3 values"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_comparison_says_whether_the_input_or_a_model_is_another(
    tmp_path: Path, name: str, ours: int, theirs: int, reason: str, words: str
) -> None:
    (tmp_path / "other.onnx").write_bytes(linear_model([1.0] * theirs).data)
    batch = Batch(
        tmp_path,
        linear_model([1.0] * ours).data,
        run={"columns": {"passThrough": ["id"]}, "compareWith": {"uri": f"file://{tmp_path}/other.onnx"}},
    )
    batch.put(name, FILES[name])
    ended = batch.do("plan")
    assert (ended.code, ended.words["reason"]) == (42, reason)
    assert words in ended.words["message"]
    assert ended.words["message"].startswith(("The input", "For the", "Input"))


def test_models_with_other_outputs_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(model_zoo.lookup([1.0, 2.0]))
    batch = a_batch(tmp_path, compareWith={"uri": f"file://{tmp_path}/other.onnx"})
    batch.put("a.csv", FILES["a.csv"])
    ended = batch.do("plan")
    assert (ended.code, ended.words["reason"]) == (42, "ModelsDiffer")
    assert "the outputs are score here and" in ended.words["message"]


def test_the_pattern_of_the_input_chooses_files(tmp_path: Path) -> None:
    batch = a_batch(tmp_path)
    for name in ("2026/01/a.csv", "2026/02/a.csv", "2026/02/notes.txt", "2025/01/a.csv", "2026/02/_old/a.csv"):
        batch.put(name, FILES["a.csv"])
    batch.run["input"]["uri"] += "2026/*/*.csv"
    assert batch.complete()["rowsIn"] == 200


def test_a_model_that_fails_on_some_rows_predicts_the_others(tmp_path: Path) -> None:
    batch = Batch(
        tmp_path,
        model_zoo.lookup([1.0, 2.0, 4.0]),
        run={"columns": {"features": ["x"], "passThrough": ["id"]}, "errorThreshold": {"rows": 5}},
    )
    batch.put("a.jsonl", as_json_lines([{"id": n, "x": 999 if n in (3, 150) else n % 3} for n in range(200)]))
    manifest = batch.complete()
    assert (manifest["rowsOut"], manifest["rowsRejected"]) == (198, 2)
    assert [(error["row"], error["code"]) for error in batch.errors()] == [
        (4, "InvalidRequest"),
        (151, "InvalidRequest"),
    ]
    assert [row["id"] for row in batch.rows()] == [n for n in range(200) if n not in (3, 150)]


def test_the_same_run_gives_the_same_bytes_however_many_work_it(tmp_path: Path) -> None:
    outputs = []
    for workers in (1, 3):
        batch = a_batch(tmp_path / str(workers), shardRows=9)
        batch.workers = workers
        batch.put("a.csv", FILES["a.csv"])
        outputs.append(digests(batch.complete()))
    assert outputs[0] == outputs[1]


def test_predictions_are_those_of_the_server_to_the_bit(tmp_path: Path) -> None:
    values = np.random.default_rng(5).normal(size=(500, 2))
    batch = Batch(tmp_path, LINEAR.data, run={"columns": FEATURES})
    batch.put("a.csv", as_csv([{"a": repr(float(a)), "b": repr(float(b))} for a, b in values]))
    batch.run["output"]["format"] = "Parquet"
    batch.complete()
    got = np.array([row["score"] for row in batch.rows()], np.float32)
    np.testing.assert_allclose(got, LINEAR.compute(values.astype(np.float32))[:, 0], rtol=1e-6)


def test_an_input_that_changed_after_the_plan_is_refused(tmp_path: Path) -> None:
    batch = a_batch(tmp_path)
    batch.put("a.csv", FILES["a.csv"])
    batch.do("plan")
    batch.put("a.csv", as_csv(ROWS[:50]))
    ended = batch.do("work")
    assert (ended.code, ended.words["reason"]) == (42, "InputChanged")


def test_a_link_out_of_a_claim_is_refused(tmp_path: Path) -> None:
    batch = a_batch(tmp_path)
    claim = tmp_path / "pvc" / "data"
    claim.mkdir(parents=True)
    (tmp_path / "secret.csv").write_bytes(FILES["a.csv"])
    (claim / "a.csv").symlink_to(tmp_path / "secret.csv")
    batch.settings["MODELENDPOINT_PVC_DIR"] = str(tmp_path / "pvc")
    batch.run["input"]["uri"] = "pvc://data/a.csv"
    ended = batch.do("plan")
    assert (ended.code, ended.words["reason"]) == (42, "InputForbidden")


def mount_config_map(folder: Path, content: bytes, *, pod: int) -> None:
    """Write a ConfigMap with one key as the kubelet does: for each pod its own files, at another time."""
    data = folder / "configmap" / "rows" / f"..{pod}"
    data.mkdir(parents=True)
    (data / "a.csv").write_bytes(content)
    os.utime(data / "a.csv", (1_800_000_000 + pod, 1_800_000_000 + pod))
    (folder / "configmap" / "rows" / "a.csv").unlink(missing_ok=True)
    (folder / "configmap" / "rows" / "a.csv").symlink_to(f"..{pod}/a.csv")


@pytest.fixture
def config_map_batch(tmp_path: Path) -> Batch:
    """A run that was planned, with a ConfigMap as its input and a claim for its output."""
    batch = a_batch(tmp_path)
    (tmp_path / "pvc" / "data").mkdir(parents=True)
    batch.settings["MODELENDPOINT_PVC_DIR"] = str(tmp_path / "pvc")
    batch.settings["MODELENDPOINT_CONFIGMAP_DIR"] = str(tmp_path / "configmap")
    batch.run["input"]["uri"], batch.run["output"]["uri"] = "configmap://rows/a.csv", "pvc://data/scores"
    mount_config_map(tmp_path, FILES["a.csv"], pod=1)
    assert batch.do("plan").code == 0, batch.words()
    return batch


def test_a_claim_and_a_config_map_hold_input_and_output(config_map_batch: Batch, tmp_path: Path) -> None:
    mount_config_map(tmp_path, FILES["a.csv"], pod=2)
    ended = config_map_batch.do("work")
    assert (ended.code, ended.words["manifest"]) == (0, "pvc://data/scores/_MANIFEST.json"), ended.words
    assert (tmp_path / "pvc/data/scores/part-00000.csv").read_text().startswith("id,score\nr000,0.5\n")


def test_a_config_map_that_was_changed_since_the_plan_is_told_apart(config_map_batch: Batch, tmp_path: Path) -> None:
    changed = FILES["a.csv"].replace(b"1", b"2")
    assert len(changed) == len(FILES["a.csv"]) and changed != FILES["a.csv"]
    mount_config_map(tmp_path, changed, pod=2)
    ended = config_map_batch.do("work")
    assert (ended.code, ended.words["reason"]) == (42, "InputChanged")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"run": ""}, "run is missing. Set it."),
        ({"shardRows": 0}, "shardRows is 0; a whole number from 1 on is expected."),
        ({"columns": {"features": "a"}}, "columns.features must be a list of column names."),
        ({"output": {"uri": "https://x/y"}}, "output.uri starts with https://; use one of s3, gs, az, pvc, file."),
        ({"input": {"uri": "file:///nowhere/"}}, "Nothing is at file:///nowhere/"),
        ({"input": {"uri": "file:///x", "format": "XML"}}, "input.format is 'XML'; use CSV or JSONLines or Parquet."),
    ],
)
def test_a_wrong_declaration_is_told_by_its_field(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    batch = a_batch(tmp_path, **change)
    ended = batch.do("plan")
    assert ended.code == 42
    assert words in ended.words["message"]


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    batch = a_batch(tmp_path)
    batch.settings["MODELENDPOINT_BATCH_TYPO"] = "1"
    ended = batch.do("plan")
    assert ended.code == 42
    assert "Unknown variable MODELENDPOINT_BATCH_TYPO" in ended.words["message"]


@pytest.mark.parametrize("cut", [{}, {"shardRows": 7}, {"shardBytes": 100}])
@pytest.mark.parametrize("name", FILES)
def test_the_manifest_names_the_bytes_that_were_read(tmp_path: Path, name: str, cut: dict[str, int]) -> None:
    batch = a_batch(tmp_path, **cut)
    batch.put(name, FILES[name])
    (told,) = batch.complete()["input"]
    assert (told["path"], told["bytes"]) == (f"{tmp_path}/input/{name}".lstrip("/"), len(FILES[name]))
    # Of a Parquet file only parts are read; its etag is what names it.
    assert told["sha256"] == (None if name.endswith("parquet") else hashlib.sha256(FILES[name]).hexdigest())
    assert told["etag"]
