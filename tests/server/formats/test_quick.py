"""The short way and the strict way must understand the same bytes in the same way."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelendpoint_server.errors import InvalidRequest
from modelendpoint_server.formats import csv_rows, json_body, open_inference, quick, tabular_json
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.signature import Signature, Tensor, TensorSpec

LIMITS = Limits(max_rows=1000, max_nesting=32, null_is_nan=False)
NUMERIC = ["INT8", "INT32", "INT64", "UINT8", "UINT64", "FP16", "FP32", "FP64"]


def spec(datatype: str, dimensions: tuple[Any, ...]) -> TensorSpec:
    return TensorSpec("x", datatype, dimensions)


def strictly(body: bytes, wanted: TensorSpec) -> Tensor | None:
    """Decode as if there was no short way; ``None`` for a refusal."""
    document = json_body.parse_object(body, max_nesting=32)
    try:
        tensor = tabular_json._instances(document["instances"], Signature((wanted,), ()), LIMITS)["x"]
    except InvalidRequest:
        return None
    return tensor


scalars = st.one_of(
    st.integers(-300, 300),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
)
numbers = st.one_of(st.integers(-100, 100), st.floats(-1e5, 1e5, allow_nan=False))
mostly_regular = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=1, max_size=5)
)
anything = st.lists(st.one_of(scalars, st.lists(st.one_of(scalars, st.lists(scalars, max_size=2)), max_size=3)))


@given(st.one_of(mostly_regular, anything), st.sampled_from(NUMERIC))
def test_what_the_short_way_reads_the_strict_way_reads_alike(rows: Any, datatype: str) -> None:
    body = json.dumps({"instances": rows}).encode()
    wanted = spec(datatype, (None, None))
    tensor = quick.instances(body, wanted)
    if tensor is not None:
        expected = strictly(body, wanted)
        assert expected is not None
        assert tensor.dtype == expected.dtype
        np.testing.assert_array_equal(tensor, expected)


@given(
    st.lists(st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=2, max_size=2), min_size=1, max_size=3),
    st.booleans(),
)
def test_deeper_nesting_is_read_alike(rows: Any, ragged: bool) -> None:
    if ragged:
        rows[0][0] = rows[0][0][:1]
    wanted = spec("FP32", (None, 2, 2))
    body = json.dumps({"instances": rows}).encode()
    tensor = quick.instances(body, wanted)
    assert (tensor is None) == ragged
    if tensor is not None:
        np.testing.assert_array_equal(tensor, strictly(body, wanted))


def test_plain_rows_take_the_short_way() -> None:
    tensor = quick.instances(b'{"instances": [[1, 2.5], [3, -4e0]]}', spec("FP32", (None, 2)))
    assert tensor is not None
    assert tensor.tolist() == [[1, 2.5], [3, -4]]


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [[1,2],[3]]}',
        b'{"instances": [[1,[2]],[3,4]]}',
        b'{"instances": [[1,2],3]}',
        b'{"instances": [[[1],[2]]]}',
        b'{"instances": [[1,"2"]]}',
        b'{"instances": [[1,null]]}',
        b'{"instances": [[1,true]]}',
        b'{"instances": []}',
        b'{"instances": 3}',
        b'{"instances": [[1e39,2]]}',
        b'{"instances": [[1,2]], "more": 1}',
        b'{"instances": [[1,2]], "instances": [[1,2]]}',
        b'{"instances": [[1,2]]} x',
        b"[]",
        b"",
        b'{"instances": [[1,2',
    ],
)
def test_what_is_not_plain_is_left_to_the_strict_way(body: bytes) -> None:
    assert quick.instances(body, spec("FP32", (None, 2))) is None


def test_two_results_of_one_parser_do_not_share_memory() -> None:
    first = quick.instances(b'{"instances": [[1,2]]}', spec("FP64", (None, 2)))
    second = quick.instances(b'{"instances": [[3,4]]}', spec("FP64", (None, 2)))
    assert first is not None and second is not None
    assert (first.tolist(), second.tolist()) == ([[1, 2]], [[3, 4]])


@given(mostly_regular, st.sampled_from(["\n", "\r\n"]))
def test_lines_of_numbers_are_read_as_the_csv_reader_does(rows: Any, end: str) -> None:
    text = end.join(",".join(json.dumps(value) for value in row) for row in rows).encode()
    wanted = spec("FP64", (None, None))
    tensor = quick.matrix_of_lines(text, wanted)
    assert tensor is not None
    cells = [[float(cell) for cell in row] for row in csv_rows._read(text)]
    np.testing.assert_array_equal(tensor, np.array(cells))


@given(anything.map(lambda data: data[:6]), st.lists(st.integers(0, 6), max_size=2), st.sampled_from(NUMERIC))
def test_v2_is_read_alike(data: Any, shape: list[int], datatype: str) -> None:
    wanted = spec(datatype, (None,) * len(shape))
    entry = {"name": "x", "datatype": datatype, "shape": shape, "data": data}
    body = json.dumps({"inputs": [entry]}).encode()
    signature = Signature((wanted,), ())
    found = open_inference._quick(body, signature)
    if found is not None:
        expected = open_inference._decode(
            json_body.parse_object(body, max_nesting=32), open_inference._Tail(b""), signature, LIMITS
        )
        np.testing.assert_array_equal(found.inputs["x"], expected.inputs["x"])
        assert found.inputs["x"].dtype == expected.inputs["x"].dtype
