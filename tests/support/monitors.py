"""The real monitor process, and the configuration by which servers send it their samples."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.emulators import free_port
from support.server_process import SERVER


@dataclass
class Monitor:
    """A running monitor."""

    process: "subprocess.Popen[str]"
    port: int
    management: int

    def get(self, path: str) -> tuple[int, bytes]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.management, timeout=5)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def report(self) -> Any:
        return json.loads(self.get("/report")[1])

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


@contextlib.contextmanager
def monitoring(
    folder: Path,
    capture: Mapping[str, object] | None,
    *,
    drift: Mapping[str, object] | None = None,
    port: int | None = None,
    key: bytes = b"",
    **credentials: str,
) -> Iterator[Monitor]:
    """Run a monitor until the block ends, or until the block has ended it."""
    port, management = port or free_port(), free_port()
    for name, files in (("credentials", credentials), ("hash-key", {"key": key} if key else {})):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / name / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SERVER),
        "MODELENDPOINT_NAME": "churn",
        "MODELENDPOINT_HOST": "127.0.0.1",
        "MODELENDPOINT_MANAGEMENT_PORT": str(management),
        "MODELENDPOINT_MODEL_DIR": str(folder / "work"),
        "MODELENDPOINT_REFUSED_NETWORKS": "",
        "MODELENDPOINT_LOG_FORMAT": "text",
        "MODELENDPOINT_MONITOR": json.dumps({"capture": capture, "drift": drift}),
        "MODELENDPOINT_MONITOR_PORT": str(port),
        "MODELENDPOINT_MONITOR_CREDENTIALS_DIR": str(folder / "credentials"),
        "MODELENDPOINT_MONITOR_HASH_KEY_DIR": str(folder / "hash-key"),
    }
    process = subprocess.Popen([sys.executable, "-m", "modelendpoint_server", "monitor"], env=environment, text=True)
    try:
        monitor = Monitor(process, port, management)
        wait_until(lambda: _answers(monitor))
        yield monitor
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def configure(folder: Path, *, percent: float, port: int, variants: Mapping[str, str] | None = None) -> None:
    """Write what the operator would have mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"percent": percent, "address": f"127.0.0.1:{port}", "variants": variants or {}}
    draft = folder / "draft"
    draft.write_text(json.dumps(document))
    draft.rename(folder / "config.json")


def wait_until(is_true: Callable[[], object], *, seconds: float = 20) -> None:
    """Wait for something, and fail if it does not come."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.02)


def _answers(monitor: Monitor) -> bool:
    assert monitor.process.poll() is None, "the monitor has ended"
    with contextlib.suppress(OSError, http.client.HTTPException):
        return monitor.get("/readyz")[0] == 200
    return False
