"""Rows become requests, and models an oracle for them."""

import json
from pathlib import Path

import pytest

from modelendpoint.errors import CliError
from modelendpoint.load_plan import compute_oracle, read_requests, split_url
from modelendpoint.load_rig import Answer, parse_answer
from modelendpoint_server.protocols import Head
from support import model_zoo
from support.onnx_models import linear_model
from support.served import service_for


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_each_line_of_csv_becomes_a_request_with_the_header(tmp_path: Path) -> None:
    requests = read_requests(write(tmp_path, "rows.csv", 'a,"b, c"\r\n1,2\r\n\r\n3,"x ""y"""\r\n'), "/predict")
    assert [(each.row, each.content_type) for each in requests] == [(0, "text/csv"), (1, "text/csv")]
    assert [each.body for each in requests] == ['a,"b, c"\n1,2\n', 'a,"b, c"\n3,"x ""y"""\n']


def test_csv_without_a_header_is_sent_without_one(tmp_path: Path) -> None:
    assert [each.body for each in read_requests(write(tmp_path, "rows.csv", "1,2\n3,4\n"), "/p")] == ["1,2\n", "3,4\n"]


def test_each_instance_of_json_becomes_a_request(tmp_path: Path) -> None:
    requests = read_requests(write(tmp_path, "rows.json", '{"instances": [[1, 2], {"a": 3}]}'), "/p")
    assert [json.loads(each.body) for each in requests] == [{"instances": [[1, 2]]}, {"instances": [{"a": 3}]}]
    assert {(each.path, each.content_type) for each in requests} == {("/p", "application/json")}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("rows.csv", "", "has no rows"),
        ("rows.csv", "a,b\n", "has no rows"),
        ("rows.json", "[1]", "is not {"),
        ("rows.json", "{", "is not {"),
    ],
)
def test_a_file_without_rows_is_told(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(CliError, match=words):
        read_requests(write(tmp_path, name, text), "/predict")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://127.0.0.1:8080", ("http://127.0.0.1:8080", "/predict")),
        ("http://127.0.0.1:8080/", ("http://127.0.0.1:8080", "/predict")),
        ("churn.demo.svc", ("http://churn.demo.svc", "/predict")),
        ("https://h/v1/models/churn:predict", ("https://h", "/v1/models/churn:predict")),
    ],
)
def test_a_url_is_where_the_endpoint_is_and_a_path(url: str, parts: tuple[str, str]) -> None:
    assert split_url(url) == parts


def test_what_is_no_url_is_told() -> None:
    with pytest.raises(CliError, match="is no address of an endpoint"):
        split_url("ftp://x")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (linear_model([0.1, 0.7], intercept=1 / 3).data, "1,2\n3.3,4\n"),
        (model_zoo.classifier(features=2, zipmap=False), "1,2\n-3.3,4\n"),
        (model_zoo.classifier(features=2, zipmap=True), "1,2\n-3.3,4\n"),
    ],
    ids=["numbers", "a classifier", "maps"],
)
@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
def test_the_oracle_says_what_the_server_answers(tmp_path: Path, data: bytes, text: str, accept: str) -> None:
    path = write(tmp_path, "rows.csv", text)
    (tmp_path / "model.onnx").write_bytes(data)
    ((sha256, rows),) = compute_oracle([str(tmp_path / "model.onnx")], path).items()
    service = service_for(data, tmp_path / "served")
    assert service.lifecycle.serving is not None
    assert sha256 == service.lifecycle.serving.sha256
    for request in read_requests(path, "/predict"):
        given = service.answer(request.body.encode(), service.rest, Head(content_type="text/csv", accept=accept))
        answer = Answer(status=200, headers={"content-type": given.content_type}, body=given.body.decode())
        assert parse_answer(answer) == pytest.approx(rows[request.row], rel=1e-5)


def test_a_row_that_a_model_does_not_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(model_zoo.lookup([1.0]))
    with pytest.raises(CliError, match="does not answer row 1 of"):
        compute_oracle([str(tmp_path / "model.onnx")], write(tmp_path, "rows.csv", "0\n7\n"))
