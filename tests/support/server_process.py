"""The real server process: started from its environment on loopback, asked, ended by a signal."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.emulators import free_port
from support.onnx_models import TinyModel

SERVER = Path(__file__).parents[2] / "server"
ROW = b'{"instances": [[1, 2]]}'
JSON = {"Content-Type": "application/json"}


@dataclass
class Server:
    """A running server process."""

    process: "subprocess.Popen[str]"
    port: int
    management: int

    def ask(self, body: bytes = ROW, *, path: str = "/predict", timeout: float = 10) -> tuple[int, bytes]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as connection:
            connection.request("POST", path, body, JSON)
            response = connection.getresponse()
            return response.status, response.read()

    def managed(self, path: str) -> tuple[int, bytes]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.management, timeout=5)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def report(self) -> Any:
        return json.loads(self.managed("/report")[1])

    def wait_until(self, state: str) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.report()["state"] == state:
                    return
            time.sleep(0.02)
        raise AssertionError(f"not {state} in time; exit code {self.process.poll()}")

    def worker(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])


def environment(folder: Path, **changes: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SERVER),
        "MODELENDPOINT_NAME": "churn",
        "MODELENDPOINT_NAMESPACE": "shop",
        "MODELENDPOINT_REVISION": "7",
        "MODELENDPOINT_MODEL_URI": f"file://{folder}/model.onnx",
        "MODELENDPOINT_MODEL_DIR": str(folder / "models"),
        "MODELENDPOINT_HOST": "127.0.0.1",
        "MODELENDPOINT_DRAIN_SECONDS": "1",
        **{f"MODELENDPOINT_{key.upper()}": value for key, value in changes.items()},
    }


@contextlib.contextmanager
def started(
    data: bytes | TinyModel,
    folder: Path,
    *,
    until: str = "Ready",
    port: int | None = None,
    management: int | None = None,
    **changes: str,
) -> Iterator[Server]:
    """Run a server until the block ends; the block begins as soon as it is in the state."""
    (folder / "model.onnx").write_bytes(data if isinstance(data, bytes) else data.data)
    port, management = port or free_port(), management or free_port()
    settings = environment(folder, port=str(port), management_port=str(management), **changes)
    process = subprocess.Popen(
        [sys.executable, "-m", "modelendpoint_server"], env=settings, stderr=subprocess.PIPE, text=True
    )
    try:
        server = Server(process, port, management)
        server.wait_until(until)
        yield server
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise


def _kill(process: "subprocess.Popen[str]") -> None:
    """End a server that does not end by itself, with its worker: both hold the pipe."""
    process.send_signal(signal.SIGSTOP)
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    process.kill()
    process.communicate()
