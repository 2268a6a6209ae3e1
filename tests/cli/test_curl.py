"""The lines that people copy are shell, and are what the endpoint's own description says."""

import json
import shlex

from modelendpoint.curl import curl_lines
from modelendpoint_server.openapi import build_openapi
from modelendpoint_server.signature import Dimension, Signature, TensorSpec

URL = "http://127.0.0.1:8080"


def a_document(*inputs: TensorSpec, columns: tuple[str, ...] = ()) -> dict[str, object]:
    signature = Signature(inputs=inputs, outputs=(TensorSpec("y", "FP32", (None,)),), columns=columns)
    return build_openapi(signature, name="churn", version="1")


def an_input(name: str, datatype: str, *dimensions: Dimension) -> TensorSpec:
    return TensorSpec(name, datatype, dimensions)


def test_every_protocol_has_a_line() -> None:
    lines = curl_lines(a_document(an_input("x", "FP32", None, 2)), URL)
    assert [shlex.split(line.command)[1].removeprefix(URL) for line in lines] == [
        "/predict",
        "/predict",
        "/v1/models/churn:predict",
        "/invocations",
        "/v2/models/churn/infer",
    ]
    assert shlex.split(lines[0].command)[2:] == [
        "-H", "Content-Type: application/json", "-d", '{"instances": [[0.0, 0.0]]}',
    ]  # fmt: skip
    assert shlex.split(lines[1].command)[2:] == ["-H", "Content-Type: text/csv", "-d", "0.0,0.0"]


def test_quotes_in_names_survive_the_shell() -> None:
    (line, *_) = curl_lines(a_document(an_input("x", "FP32", None, 1), columns=("driver's age",)), URL)
    assert json.loads(shlex.split(line.command)[-1]) == {"instances": [{"driver's age": 0.0}]}


def test_rows_that_are_no_lines_of_numbers_have_no_csv() -> None:
    for document in (
        a_document(an_input("x", "FP32", None, 2, 2)),
        a_document(an_input("x", "BYTES", None, 1)),
        a_document(an_input("x", "FP32", 1, 2), an_input("z", "FP32", 1, 3)),
    ):
        assert "rows as CSV" not in [line.protocol for line in curl_lines(document, URL)]


def test_a_picture_is_sent_from_a_file() -> None:
    lines = curl_lines(a_document(an_input("x", "FP32", None, 3, 224, 224)), URL)
    assert {shlex.split(line.command)[-1] for line in lines} == {"@FILE"}
