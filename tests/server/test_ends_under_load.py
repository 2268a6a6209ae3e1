"""Servers end and come back behind a real router, while the load rig asks and judges every answer.

``MODELENDPOINT_LOAD_SECONDS`` makes it longer; what is printed at the end is the figure with its N.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelendpoint import load_rig
from modelendpoint.load_rig import Kind, LoadPlan, LoadResult
from modelendpoint_operator.adapters.envoy import RouterStatusReader
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.observation import Leg
from support.emulators import free_port
from support.load_run import make_requests
from support.onnx_models import linear_model, some_rows
from support.routers import Host, Router, wait_until
from support.server_process import Server, started

MODEL = linear_model([0.5, -1.5, 2.0], intercept=1.0)
ROWS = some_rows(40, features=3)
SECONDS = int(os.environ.get("MODELENDPOINT_LOAD_SECONDS", "15"))
RATE = 100.0


class Pod:
    """One server at an address that stays the same, through any number of ends."""

    def __init__(self, folder: Path) -> None:
        self.host = Host("127.0.0.1", free_port(), free_port())
        self._folder = folder
        self._folder.mkdir()
        self._running = contextlib.ExitStack()
        self._server: Server | None = None

    def start(self) -> None:
        """Start, and come back when it is ready."""
        self._server = self._running.enter_context(
            started(MODEL, self._folder, port=self.host.port, management=self.host.management, drain_seconds="2")
        )

    def end(self, number: int) -> None:
        """End by a signal: SIGTERM lets it drain, SIGKILL hits the process that serves, without a warning."""
        assert self._server is not None
        os.kill(self._server.worker() if number == signal.SIGKILL else self._server.process.pid, number)
        self._server.process.wait(20)

    def close(self) -> None:
        """Stop whatever runs."""
        self._running.close()


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[list[Pod]]:
    pods = [Pod(tmp_path / "a"), Pod(tmp_path / "b")]
    for pod in pods:
        pod.start()
    yield pods
    for pod in pods:
        pod.close()


@pytest.fixture
def router(pods: list[Pod], tmp_path: Path) -> Iterator[Router]:
    body = {
        "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1},
        "spec": {"model": {"uri": "s3://models/churn.onnx"}},
    }
    (tmp_path / "router").mkdir()
    router = Router(tmp_path / "router")
    documents = build_documents(ModelEndpoint.from_body(body), [Leg(revision=7, weight=100)], [7])
    router.write(documents, {7: [pod.host for pod in pods]})
    router.start()
    yield router
    router.stop()


@contextlib.contextmanager
def load(router: Router, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run the rig in a process of its own while the block runs."""
    plan = LoadPlan(
        url=f"http://127.0.0.1:{router.traffic_port}",
        requests=make_requests(ROWS),
        oracle={MODEL.sha256: MODEL.expected(ROWS)},
        rate=RATE,
        duration_seconds=SECONDS,
        timeout_seconds=20,
    )
    (folder / "plan.json").write_text(plan.to_json())
    command = [sys.executable, load_rig.__file__, str(folder / "plan.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def result_of(process: "subprocess.Popen[str]") -> LoadResult:
    out, _ = process.communicate(timeout=SECONDS + 60)
    (line,) = [line for line in out.splitlines() if line.startswith('{"result"')]
    return LoadResult.from_dict(json.loads(line)["result"])


def test_no_request_is_lost_when_servers_end_under_load(pods: list[Pod], router: Router, tmp_path: Path) -> None:
    reader = RouterStatusReader(port=router.status_port, timeout_seconds=10)

    def both_are_used() -> bool:
        status = reader.read("127.0.0.1")
        return status is not None and 7 in status.clusters and status.clusters[7].healthy_hosts == 2

    wait_until(both_are_used, seconds=20)
    ends = {signal.SIGTERM: 0, signal.SIGKILL: 0}
    with load(router, tmp_path) as rig:
        until = time.monotonic() + SECONDS - 2
        for number, pod in zip(itertools.cycle([*[signal.SIGTERM] * 2, *[signal.SIGKILL] * 2]), itertools.cycle(pods)):
            pod.end(number)
            ends[number] += 1
            pod.start()
            # The router takes a host that failed again after some seconds.
            wait_until(both_are_used, seconds=40)
            if time.monotonic() > until and min(ends.values()):
                break
        result = result_of(rig)
    told = f"{ends[signal.SIGTERM]} ends by SIGTERM, {ends[signal.SIGKILL]} by SIGKILL"
    print(f"{told}: {result.summary()}")
    # Who is killed while writing an answer leaves half of it, which nobody can take back and have sent again.
    assert result.failed == result.failed_by_kind.get(Kind.TRANSPORT, 0) <= ends[signal.SIGKILL], result.summary()
    assert result.sent > 0
    assert result.by_revision == {"7": result.sent - result.failed}
