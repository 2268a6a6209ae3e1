"""Real servers, a real monitor and a real object store: what is in a capture, what is not, and what happens without a store."""

import contextlib
import http.client
import io
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from modelendpoint_server.capture import is_sampled, threshold_of
from support.batch import Batch
from support.monitors import Monitor, configure, monitoring, wait_until
from support.onnx_models import INPUT, OUTPUT, linear_model
from support.server_process import Server, started
from support.stores import LocalStore, s3

pytestmark = pytest.mark.emulator
LINEAR = linear_model([1.0, 2.0], intercept=0.5)


def ask(server: Server, row: int, *, path: str = "/predict", headers: Mapping[str, str] | None = None) -> float:
    """Send a row of two numbers under an id of its own, and return the seconds that the answer took."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    began = time.perf_counter()
    connection.request(
        "POST",
        path,
        json.dumps({"instances": [[row, 1]]}),
        {"Content-Type": "application/json", "x-request-id": f"request-{row}", **(headers or {})},
    )
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == 200
    return time.perf_counter() - began


def counted(server: Server, name: str) -> float:
    text = server.managed("/metrics")[1].decode()
    lines = [line for line in text.splitlines() if line.startswith(f"modelserver_capture_{name}_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def table_of(store: LocalStore, prefix: str = "captures") -> pa.Table:
    tables = [pyarrow.parquet.read_table(io.BytesIO(store.read(path))) for path in store.list(prefix)]
    return pa.concat_tables(tables)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return s3(tmp_path / "store")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    with started(LINEAR, tmp_path / "server", monitoring_dir=str(tmp_path / "monitoring")) as server:
        yield server


def monitor_of(
    tmp_path: Path, store: LocalStore, *, key: bytes = b"", port: int | None = None, **capture: object
) -> "contextlib.AbstractContextManager[Monitor]":
    wanted = {"uri": store.uri("captures"), **capture}
    return monitoring(tmp_path / "monitor", wanted, key=key, port=port, **store.credentials)


def switch_on(tmp_path: Path, server: Server, port: int, *, percent: float = 100) -> None:
    """Turn sampling on, and come back when the server has seen it."""
    configure(tmp_path / "monitoring", percent=percent, port=port)
    before = counted(server, "sampled")

    def is_on() -> bool:
        ask(server, -1, headers={"x-request-id": "probe"})
        return counted(server, "sampled") > before

    wait_until(is_on)


def test_every_sampled_request_is_stored_once_and_its_predictions_with_it(
    tmp_path: Path, store: LocalStore, served: Server
) -> None:
    with store.serve(), monitor_of(tmp_path, store) as monitor:
        switch_on(tmp_path, served, monitor.port)
        for row in range(200):
            ask(served, row)
        for row in range(200, 210):
            # No fast path for these.
            ask(served, row, headers={"Accept": "text/csv"})
            ask(served, row + 10, path="/v1/models/churn:predict", headers={"Accept-Encoding": "identity"})
        status, _ = served.ask(b"nonsense")
        assert status == 400
        wait_until(lambda: counted(served, "sent") == counted(served, "sampled"))
        assert counted(served, "dropped") == 0
        wait_until(lambda: monitor.report()["servers"] == {"sampled": counted(served, "sampled"), "dropped": 0})
        wait_until(lambda: monitor.report()["refused"])
        assert monitor.end() == 0

        assert [path.split("/")[1][:5] for path in store.list("captures")] == ["date="]
        table = table_of(store)
        rows = [row for row in table.to_pylist() if row["_request_id"] != "probe"]
        assert sorted(int(row["_request_id"].removeprefix("request-")) for row in rows) == list(range(220))
        for row in rows:
            x = row[INPUT]
            assert row[OUTPUT] == x[0] + 2 * x[1] + 0.5
            assert f"request-{x[0]:.0f}" == row["_request_id"]
            assert (row["_revision"], row["_variant"], row["_row"]) == ("7", "", 0)
        assert set(table["_sha256"].to_pylist()) == {served.report()["model"]["sha256"]}
        assert abs(table["_time"].to_pylist()[0].timestamp() - time.time()) < 60

        files = tmp_path / "files"
        files.mkdir()
        for number, path in enumerate(store.list("captures")):
            (files / f"{number}.parquet").write_bytes(store.read(path))

        batch = Batch(
            tmp_path / "batch",
            LINEAR.data,
            run={"input": {"uri": f"file://{files}/"}},
        )
        done = batch.complete()
        assert (done["rowsOut"], done["rowsRejected"]) == (len(table), 0)


def test_what_is_redacted_or_hashed_is_nowhere_in_the_store(tmp_path: Path, store: LocalStore, served: Server) -> None:
    secret = 31337.25
    with (
        store.serve(),
        monitor_of(
            tmp_path, store, key=b"k" * 32, format="JSONLines", redact=[INPUT], hash=[OUTPUT, "_request_id"]
        ) as monitor,
    ):
        switch_on(tmp_path, served, monitor.port)
        body = json.dumps({"instances": [[secret, 1]]}).encode()
        for number in (1, 2):
            connection = http.client.HTTPConnection("127.0.0.1", served.port)
            connection.request("POST", "/predict", body, {"Content-Type": "application/json", "x-request-id": "alice"})
            assert connection.getresponse().status == 200, number
            connection.close()
        wait_until(lambda: counted(served, "sent") == counted(served, "sampled"))
        assert monitor.end() == 0
        stored = b"".join(store.read(path) for path in store.list("captures"))
        rows = [json.loads(line) for line in stored.splitlines()]
        assert len(rows) >= 3
        for hidden in (b"31337", b"alice", b"request-", str(secret + 2.5).encode()):
            assert hidden not in stored
        assert all(INPUT not in row and len(row[OUTPUT]) == 32 for row in rows)
        assert len({row["_request_id"] for row in rows[-2:]}) == 1, "equal values stay equal"


@pytest.mark.parametrize(
    ("capture", "reason", "words"),
    [
        ({"redact": ["ssn"]}, "UnknownColumn", f"'ssn', which no model of the endpoint has.*{INPUT}"),
        ({"hash": [INPUT]}, "HashKeyMissing", "hashKeySecretRef must have at least 16 bytes"),
    ],
)
def test_nothing_is_stored_while_a_hidden_column_is_unknown_or_the_key_is_missing(
    tmp_path: Path, store: LocalStore, served: Server, capture: dict[str, object], reason: str, words: str
) -> None:
    with store.serve(), monitor_of(tmp_path, store, maxSeconds=0.1, **capture) as monitor:
        switch_on(tmp_path, served, monitor.port)
        wait_until(lambda: monitor.report()["capture"]["dropped"])
        told = monitor.report()["capture"]
        assert (told["reason"], told["captured"]) == (reason, 0)
        assert re.search(words, told["message"])
        assert monitor.end() == 0
        assert store.list("captures") == []


def test_a_bucket_that_does_not_exist_is_named(tmp_path: Path, store: LocalStore, served: Server) -> None:
    with store.serve(), monitor_of(tmp_path, store, uri="s3://nowhere/captures", maxSeconds=0.1) as monitor:
        switch_on(tmp_path, served, monitor.port)
        wait_until(lambda: monitor.report()["capture"]["reason"])
        told = monitor.report()["capture"]
        assert told["reason"] == "StoreNotFound"
        assert told["message"] == (
            "The bucket of s3://nowhere/captures does not exist. Correct monitoring.capture.uri."
        )


def test_only_the_share_that_was_asked_for_is_stored_of_what_servers_send(
    tmp_path: Path, store: LocalStore, served: Server
) -> None:
    with store.serve(), monitor_of(tmp_path, store, percent=30) as monitor:
        switch_on(tmp_path, served, monitor.port)
        for row in range(100):
            ask(served, row)
        wait_until(lambda: counted(served, "sent") == counted(served, "sampled"))
        assert monitor.end() == 0
        wanted = {f"request-{row}" for row in range(100) if is_sampled(f"request-{row}", threshold_of(30))}
        assert {row["_request_id"] for row in table_of(store).to_pylist()} - {"probe"} == wanted


def test_a_store_that_is_away_slows_and_fails_no_request_and_is_caught_up_with(
    tmp_path: Path, store: LocalStore, served: Server
) -> None:
    with monitor_of(tmp_path, store, maxSeconds=0.2) as monitor:
        switch_on(tmp_path, served, monitor.port)
        slowest = max(ask(served, row) for row in range(100))
        assert slowest < 1
        wait_until(lambda: monitor.report()["capture"]["reason"] == "StoreUnavailable")
        told = monitor.report()["capture"]
        assert (told["captured"], told["waiting"] > 0) == (0, True)
        with store.serve():
            wait_until(lambda: monitor.report()["capture"]["waiting"] == 0, seconds=40)
            told = monitor.report()["capture"]
            assert (told["reason"], told["dropped"]) == (None, 0)
            rows = {row["_request_id"] for row in table_of(store).to_pylist()}
            assert {f"request-{row}" for row in range(100)} <= rows


def test_a_monitor_that_comes_and_goes_costs_no_request_and_what_is_lost_is_counted(
    tmp_path: Path, store: LocalStore, served: Server
) -> None:
    answers: list[float] = []
    stop = threading.Event()

    def load() -> None:
        row = 0
        while not stop.is_set():
            answers.append(ask(served, row))
            row += 1

    with store.serve():
        with monitor_of(tmp_path, store) as first:
            switch_on(tmp_path, served, first.port)
            worker = threading.Thread(target=load)
            worker.start()
            wait_until(lambda: counted(served, "sent") > 50)
            first.process.kill()
            first.process.wait()
        with monitor_of(tmp_path, store, port=first.port) as second:
            sent = counted(served, "sent")
            wait_until(lambda: counted(served, "sent") > sent + 50)
            stop.set()
            worker.join()
            wait_until(lambda: counted(served, "sampled") == counted(served, "sent") + counted(served, "dropped"))
            received = second.report()["received"]
            assert second.end() == 0
            ids = [row["_request_id"] for row in table_of(store).to_pylist()]
            assert len(ids) == len(set(ids)) == received
    assert max(answers) < 2
