"""The load rig and the server agree on formats and headers: real requests to a real server process on loopback."""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelendpoint.load_rig import LoadPlan, Rig
from support import load_run, onnx_models

ROOT = Path(__file__).parents[2]
MODEL = onnx_models.linear_model([0.5, -1.5, 2.0], intercept=1.0)
OTHER = onnx_models.linear_model([1.0, 1.0, 1.0])
ROWS = onnx_models.some_rows(40, features=3)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def a_server(folder: Path) -> Iterator[str]:
    """Serve ``MODEL`` as revision 7 until the block ends."""
    (folder / "model.onnx").write_bytes(MODEL.data)
    (folder / "work").mkdir()
    port, management_port = free_port(), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "server"),
        "MODELENDPOINT_NAME": "scoring",
        "MODELENDPOINT_REVISION": "7",
        "MODELENDPOINT_MODEL_URI": (folder / "model.onnx").as_uri(),
        "MODELENDPOINT_MODEL_DIR": str(folder / "work"),
        "MODELENDPOINT_HOST": "127.0.0.1",
        "MODELENDPOINT_PORT": str(port),
        "MODELENDPOINT_MANAGEMENT_PORT": str(management_port),
        "MODELENDPOINT_DRAIN_SECONDS": "0.2",
    }
    process = subprocess.Popen([sys.executable, "-m", "modelendpoint_server"], env=environment)
    try:
        deadline = time.monotonic() + 30
        while not is_ready(f"http://127.0.0.1:{management_port}/readyz"):
            assert process.poll() is None, "The server ended."
            assert time.monotonic() < deadline, "The server did not get ready."
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_the_servers_json_and_csv_answers_are_right_and_another_models_are_not(tmp_path: Path) -> None:
    plan = LoadPlan(
        url="",
        requests=load_run.make_requests(ROWS),
        oracle={MODEL.sha256: MODEL.expected(ROWS)},
        rate=100,
        count=160,
    )
    with a_server(tmp_path) as url:
        good = asyncio.run(Rig(LoadPlan(**{**vars(plan), "url": url})).run())
        mistaken = LoadPlan(**{**vars(plan), "url": url, "count": 80, "oracle": {MODEL.sha256: OTHER.expected(ROWS)}})
        wrong = asyncio.run(Rig(mistaken).run())
    assert good.assert_none_failed().by_revision == {"7": 160}
    assert wrong.failed_by_kind == {"wrong_answer": 80}
