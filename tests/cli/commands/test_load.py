"""``mep load`` on a real server: right answers, another model's, none at all, and Ctrl-C."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from modelendpoint.errors import CliError
from support.onnx_models import linear_model
from support.server_process import started

Run = Callable[..., Result]
RIGHT, OTHER = linear_model([1.0, 2.0], intercept=0.5), linear_model([1.0, 2.5])


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    Path("right.onnx").write_bytes(RIGHT.data)
    Path("other.onnx").write_bytes(OTHER.data)
    Path("rows.csv").write_text("1,2\n3,4\n")
    Path("server").mkdir()
    with started(RIGHT, tmp_path / "server") as server:
        yield f"http://127.0.0.1:{server.port}"


def test_right_answers_are_counted_for_their_revision(url: str, run: Run) -> None:
    words = (
        url,
        "--data",
        "rows.csv",
        "--model",
        "other.onnx",
        "--model",
        "right.onnx",
        "--rps",
        "40",
        "--seconds",
        "1",
    )
    result = run("load", *words)
    assert result.exit_code == 0, result.output
    assert "Sent:     40 at" in result.output
    assert "Failed:   none" in result.output
    assert RIGHT.sha256[:12] in result.output


def test_another_models_answers_are_failures(url: str, run: Run) -> None:
    words = (url, "--data", "rows.csv", "--model", "other.onnx", "--rps", "40", "--seconds", "0.5")
    result = run("load", *words)
    assert result.exit_code == 1
    assert "20 (20 unknown_revision)" in result.output
    assert "#0, row 0," in result.output


def test_without_rows_the_endpoints_own_example_is_sent(url: str, run: Run) -> None:
    result = run("load", url, "--rps", "40", "--seconds", "0.5", "-o", "json")
    document = json.loads(result.output)
    assert (document["sent"], document["failed"], document["by_status"]) == (20, 0, {"200": 20})


def test_refused_rows_are_failures_with_the_servers_words(url: str, run: Run) -> None:
    Path("rows.csv").write_text("1,2,3\n")
    result = run("load", url, "--data", "rows.csv", "--rps", "10", "--seconds", "0.5")
    assert result.exit_code == 1
    assert "status 400" in result.output
    assert "the model takes [-1, 2]" in result.output


def test_where_nothing_answers_the_next_command_is_named(run: Run) -> None:
    result = run("load", "http://127.0.0.1:1")
    assert isinstance(result.exception, CliError)
    assert "mep serve" in str(result.exception)


def test_models_without_rows_are_wrong_usage(run: Run) -> None:
    result = run("load", "http://127.0.0.1:1", "--model", "right.onnx")
    assert (result.exit_code, "--data rows.csv" in result.output) == (2, True)
