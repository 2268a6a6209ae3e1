"""Inputs that are not what they should be: every row is predicted, or in the errors file with its number and why."""

import csv
import gzip
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_server.batch import csv_input, json_input, reading
from modelendpoint_server.batch.errors import InvalidInput
from modelendpoint_server.batch.models import LoadedModel, ModelLoader
from modelendpoint_server.settings import Settings
from support.batch import Worked, work_through
from support.onnx_models import linear_model

LINEAR = linear_model([1.0, 2.0], intercept=0.5)
COLUMNS = {"features": ["a", "b"], "passThrough": ["id"]}
BLOCKS = st.sampled_from([7, 64, 300, 4 * 2**20])
CUTS = st.sampled_from([{}, {"shardRows": 1}, {"shardRows": 3}, {"shardBytes": 40}])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.onnx").write_bytes(LINEAR.data)
    environment = {
        "MODELENDPOINT_NAME": "m",
        "MODELENDPOINT_MODEL_URI": f"file://{folder}/model.onnx",
        "MODELENDPOINT_MODEL_DIR": str(folder / "models"),
    }
    return ModelLoader(threading.Event()).load(Settings.from_environment(environment))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("input")


def work(
    folder: Path, model: LoadedModel, name: str, data: bytes, *, block: int = 4 * 2**20, plain: bool = True, **run: Any
) -> Worked:
    """Work one file; not ``plain``: each row by itself and strictly."""
    for old in folder.iterdir():
        old.unlink()
    (folder / name).write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BLOCK", block)
        if not plain:
            patch.setattr(csv_input._CsvFiles, "_quick", lambda self, chunk: None)
            patch.setattr(json_input._JsonLines, "_quick", lambda self, chunk: None)
        return work_through(folder, model, **{"columns": COLUMNS, **run})


def numbers_of(worked: Worked) -> list[int]:
    """Number the rows that were rejected; each line must say all that it has to."""
    for error in worked.errors:
        assert set(error) >= {"file", "row", "column", "reason", "code"}
        assert error["reason"].endswith((".", ")")) or error["column"], error
    return [error["row"] + n for error in worked.errors for n in range(error.get("rows", 1))]


def assert_each_row_once(worked: Worked, ids: list[str]) -> None:
    """Check that rows are predicted in order, and that all others are rejected under their own number."""
    rejected = numbers_of(worked)
    assert worked.rows_in == len(ids)
    assert len(set(rejected)) == len(rejected)
    assert [row["id"] for row in worked.rows] == [one for n, one in enumerate(ids, 1) if n not in rejected]


# ---- CSV

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
numbers = st.one_of(
    st.integers(-9999, 9999).map(str), st.floats(-1e6, 1e6).map(repr), st.sampled_from(["1e3", "-.5", "+2", "007"])
)
cells = st.one_of(
    numbers, st.sampled_from(["", "x", "nan", "inf", "1e39", "0x10", "1_0", " 1", "1 ", "1,5", "true", "\u0661", "--1"])
)
line_ends = st.sampled_from(["\n", "\r\n"])
junk = st.one_of(
    st.sampled_from(
        [
            b"1",
            b"1,2",
            b"1,2,3,4",
            b"r,1\r,2",
            b"r,1,2\r",
            b"\rr,1,2",
            b"r,1,\xff",
            b"\xc3,1,2",
            b'r,"1"x,2',
            b",,,,",
            b" ",
        ]
    ),
    st.binary(min_size=1, max_size=12).filter(lambda data: not set(data) & set(b'\n"') and data.strip(b"\r")),
)


@st.composite
def csv_files(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """Draw a file of numbered rows, with whatever quoting and line ends."""
    records, ids = ["id,a,b\n"], []
    for number in range(draw(st.integers(1, 12))):
        ids.append(f"{number}:{draw(texts)}")
        out = io.StringIO()
        quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        csv.writer(out, lineterminator=draw(line_ends), quoting=quoting).writerow([ids[-1], draw(cells), draw(cells)])
        records.append(out.getvalue())
        if draw(st.integers(0, 9)) == 0:
            records.append(draw(line_ends))
    text = "".join(records)
    return (text if draw(st.booleans()) else text.removesuffix("\n")).encode(), ids


@settings(max_examples=150, deadline=None)
@given(file=csv_files(), block=BLOCKS, cut=CUTS)
def test_rows_of_csv_are_predicted_or_rejected_as_if_each_was_alone(
    folder: Path, model: LoadedModel, file: tuple[bytes, list[str]], block: int, cut: dict[str, int]
) -> None:
    data, ids = file
    worked = work(folder, model, "a.csv", data, block=block, **cut)
    assert_each_row_once(worked, ids)
    strict = work(folder, model, "a.csv", data, plain=False)
    assert worked.rows == strict.rows
    assert numbers_of(worked) == numbers_of(strict)


@settings(max_examples=150, deadline=None)
@given(some=st.lists(st.one_of(st.none(), junk), min_size=1, max_size=12), block=BLOCKS, cut=CUTS, end=line_ends)
def test_junk_in_csv_costs_no_other_row(
    folder: Path, model: LoadedModel, some: list[bytes | None], block: int, cut: dict[str, int], end: str
) -> None:
    lines = [f"r{n},{n},1".encode() if line is None else line for n, line in enumerate(some)]
    data = b"id,a,b\n" + b"".join(line + end.encode() for line in lines)
    worked = work(folder, model, "a.csv", data, block=block, **cut)
    good = {n for n, line in enumerate(some, 1) if line is None}
    assert worked.rows_in == len(lines)
    assert not good & set(numbers_of(worked))
    assert len(worked.rows) + len(numbers_of(worked)) == len(lines)
    scores = {row["id"]: row["score"] for row in worked.rows}
    assert all(scores[f"r{n - 1}"] == n - 1 + 2.5 for n in good)


@pytest.mark.parametrize("line", [b"x,1\r,2", b"x,1,2\r3,4,5", b"\rx,1,2", b"x,1,2\r"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_stray_carriage_return_rejects_its_row_and_moves_no_number(
    folder: Path, model: LoadedModel, line: bytes, end: bytes
) -> None:
    rows = [b"%d,1,2" % n for n in range(100)]
    rows[40], rows[90] = line, b"90,?,2"
    worked = work(folder, model, "a.csv", end.join([b"id,a,b", *rows, b""]))
    is_line_end = line.endswith(b"\r") and end == b"\n"  # then it is the line's own \r\n
    assert worked.rows_in == 100
    assert numbers_of(worked) == ([91] if is_line_end else [41, 91])


def test_a_file_with_carriage_returns_alone_is_refused(folder: Path, model: LoadedModel) -> None:
    with pytest.raises(InvalidInput, match="end with carriage returns alone"):
        work(folder, model, "a.csv", b"id,a,b\r1,2,3\r4,5,6\r")


def test_a_quote_that_nobody_closes_costs_the_rows_that_it_swallows(folder: Path, model: LoadedModel) -> None:
    rows = [b"%d,1,2\n" % n for n in range(50)]
    rows[20] = b'"20,1,2\n'
    worked = work(folder, model, "a.csv", b"id,a,b\n" + b"".join(rows))
    assert [row["id"] for row in worked.rows] == [str(n) for n in range(20)]
    assert [(error["row"], error["column"]) for error in worked.errors] == [(21, None)]
    assert "unexpected end of data" in worked.errors[0]["reason"]


# ---- JSON Lines

json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("xyz"), inner, max_size=2)),
    max_leaves=3,
)
json_numbers = st.one_of(st.integers(-9999, 9999), st.floats(-1e6, 1e6))
json_lines = st.one_of(
    st.fixed_dictionaries({"id": texts, "a": json_numbers, "b": json_numbers}).map(json.dumps),
    st.fixed_dictionaries({}, optional={"id": json_values, "a": json_values, "b": json_values, "c": json_values}).map(
        json.dumps
    ),
    st.sampled_from(
        [
            *(
                "{",
                "[]",
                "1",
                "null",
                " null",
                '{"a":1,"b":2}null',
                "{} null {}",
                "x",
                " ",
                '{"a":1,"b":2}{"a":1,"b":2}',
                '{"a":1,"a":2,"b":3,"id":"d"}',
            ),
            *('{"a":01,"b":1}', '{"id":"\\ud800","a":1,"b":1}', '{"a":NaN,"b":1}', '{"a":1e999,"b":1}'),
            *('{"id":"x","a":"1","b":1}', "\ufeff{}"),
        ]
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(json_lines, min_size=1, max_size=10),
    block=BLOCKS.filter(lambda size: size > 30),
    cut=CUTS,
    end=line_ends,
)
def test_rows_of_json_lines_are_predicted_or_rejected_as_if_each_was_alone(
    folder: Path, model: LoadedModel, lines: list[str], block: int, cut: dict[str, int], end: str
) -> None:
    lines = ['{"id":"first","a":1,"b":2}', *lines]
    data = end.join([*lines, ""]).encode()
    worked = work(folder, model, "a.jsonl", data, block=block, **cut)
    assert worked.rows_in == len(lines)
    assert len(worked.rows) + len(set(numbers_of(worked))) == len(lines)
    # The first block also tells the types of columns.
    strict = work(folder, model, "a.jsonl", data, block=block, plain=False, **cut)
    assert worked.rows == strict.rows
    assert numbers_of(worked) == numbers_of(strict)


# ---- Parquet


def parquet(table: pa.Table, *, group: int) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out, row_group_size=group, compression="none", use_dictionary=False)
    return out.getvalue()


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.floats(width=64), st.integers(-9, 9).map(float)), min_size=1, max_size=30),
    group=st.integers(1, 10),
    cut=CUTS,
)
def test_missing_and_odd_numbers_of_parquet_cost_their_rows(
    folder: Path, model: LoadedModel, values: list[float | None], group: int, cut: dict[str, int]
) -> None:
    table = pa.table(
        {"id": [str(n) for n in range(len(values))], "a": pa.array(values, pa.float64()), "b": [1] * len(values)}
    )
    worked = work(folder, model, "a.parquet", parquet(table, group=group), **cut)
    with np.errstate(over="ignore"):
        good = [value is not None and bool(np.isfinite(np.float32(value))) for value in values]
    assert numbers_of(worked) == [n for n, fits in enumerate(good, 1) if not fits]
    assert {error["column"] for error in worked.errors} <= {"a"}
    assert_each_row_once(worked, [str(n) for n in range(len(values))])


@pytest.mark.parametrize("columns", [COLUMNS, {"features": ["a", "b"]}])
def test_a_row_group_that_is_damaged_costs_only_its_own_rows(
    folder: Path, model: LoadedModel, columns: dict[str, Any]
) -> None:
    table = pa.table({"id": [str(n) for n in range(30)], "a": [float(n) for n in range(30)], "b": [1.0] * 30})
    data = bytearray(parquet(table, group=10))
    metadata = pyarrow.parquet.read_metadata(io.BytesIO(data))
    start = metadata.row_group(1).column(1).data_page_offset
    data[start : start + 16] = b"\xff" * 16
    worked = work(folder, model, "a.parquet", bytes(data), columns=columns)
    assert (worked.rows_in, len(worked.rows)) == (30, 20)
    assert sorted(numbers_of(worked)) == list(range(11, 21))
    assert "Row group 1 can't be read" in worked.errors[0]["reason"]


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_parquet_file_that_is_cut_off_is_refused(folder: Path, model: LoadedModel, keep: int) -> None:
    data = parquet(pa.table({"id": ["x"], "a": [1.0], "b": [2.0]}), group=10)
    with pytest.raises(InvalidInput, match="is no Parquet file"):
        work(folder, model, "a.parquet", data[:keep] or b"P")


# ---- packed files


def _packed_zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return bytes(out.getvalue())


def packed() -> list[tuple[str, bytes]]:
    text = b"id,a,b\n" + b"".join(b"%d,%d,1\n" % (n, n) for n in range(5000))
    return [("a.csv.gz", gzip.compress(text)), ("a.csv.zst", _packed_zstd(text))]


@pytest.mark.parametrize(("name", "data"), packed())
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_packed_file_that_is_cut_off_is_refused(
    folder: Path, model: LoadedModel, name: str, data: bytes, kept: float
) -> None:
    with pytest.raises(InvalidInput, match=r"is no whole (gzip|zstd) file"):
        work(folder, model, name, data[: int(len(data) * kept)])


def test_a_packed_file_that_is_damaged_is_refused(folder: Path, model: LoadedModel) -> None:
    name, data = packed()[0]
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 0xFF
    with pytest.raises(InvalidInput, match="is no whole gzip file"):
        work(folder, model, name, bytes(damaged))


@pytest.mark.parametrize(("name", "data"), packed())
def test_a_file_packed_in_several_parts_is_read_to_its_end(
    folder: Path, model: LoadedModel, name: str, data: bytes
) -> None:
    header, _, rows = (gzip.decompress(data) if name.endswith("gz") else _zstd(data)).partition(b"\n")
    pack = gzip.compress if name.endswith("gz") else _packed_zstd
    worked = work(folder, model, name, pack(header + b"\n") + pack(rows))
    assert len(worked.rows) == 5000


def _zstd(data: bytes) -> bytes:
    return bytes(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())
