"""What a batch pod says about itself: over HTTP while it works, and in its last words."""

import json
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from prometheus_client import CollectorRegistry, Gauge

from modelendpoint_server.batch.progress import Progress, Status, write_last_words


def ask(progress: Progress, path: str, others: list[CollectorRegistry]) -> tuple[str, bytes]:
    environ: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    told: list[str] = []
    body = b"".join(progress.app(others)(environ, lambda status, headers: told.append(status) or print))  # type: ignore[arg-type, func-returns-value]
    return told[0], body


@pytest.fixture
def progress() -> Progress:
    progress = Progress(name="churn", revision="7")
    progress.set(state="Working", shards=4)
    progress.count(rows_in=10, rows_out=9, rows_rejected=1, shards_done=1)
    progress.count(rows_in=5, rows_out=5, rows_rejected=0)
    return progress


def test_the_report_sums_up(progress: Progress) -> None:
    status, body = ask(progress, "/report", [])
    told = json.loads(body)
    assert status == "200 OK"
    assert (told["state"], told["shards"], told["shardsDone"]) == ("Working", 4, 1)
    assert (told["rowsIn"], told["rowsOut"], told["rowsRejected"]) == (15, 14, 1)


def test_the_metrics_are_those_that_the_page_names(progress: Progress) -> None:
    registries: list[CollectorRegistry] = []
    app = progress.app(registries)
    # A model comes when it is loaded, long after the port is open.
    registries.append(CollectorRegistry())
    Gauge("of_the_model", "A gauge.", registry=registries[0]).set(3)
    environ: dict[str, Any] = {"PATH_INFO": "/metrics"}
    text = b"".join(app(environ, lambda status, headers: print)).decode()  # type: ignore[arg-type]
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [
        'modelserver_batch_rows_total{endpoint="churn",outcome="predicted",revision="7"} 14.0',
        'modelserver_batch_rows_total{endpoint="churn",outcome="rejected",revision="7"} 1.0',
        'modelserver_batch_shards{endpoint="churn",revision="7"} 4.0',
        'modelserver_batch_shards_done{endpoint="churn",revision="7"} 1.0',
        "of_the_model 3.0",
    ]
    page = (Path(__file__).parents[3] / "docs/batch.md").read_text()
    for line in lines[:4]:
        assert f"`{line.partition('{')[0]}`" in page


def test_other_paths_are_not_found(progress: Progress) -> None:
    assert ask(progress, "/", [])[0] == "404 Not Found"
    assert ask(progress, "/livez", []) == ("200 OK", b"ok\n")


@pytest.mark.parametrize("letter", ["x", "\u00e9", '"', "\n"])
def test_last_words_fit_into_what_the_kubelet_keeps(tmp_path: Path, letter: str) -> None:
    write_last_words(tmp_path / "words", Status(state="Failed", reason="InvalidInput", message=letter * 10_000))
    data = (tmp_path / "words").read_bytes()
    assert 3000 < len(data) <= 4096
    assert json.loads(data)["reason"] == "InvalidInput"
