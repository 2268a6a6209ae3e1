"""``mep local up`` as a person runs it: a real process in a folder of its own, with real Envoy and real servers."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import yaml

from modelendpoint.endpoints import choose, named
from modelendpoint.local.client import LocalEndpoints
from modelendpoint.local.state import NAME, StateFolder
from modelendpoint.local.view import ready_of
from support.onnx_models import TinyModel, linear_model
from support.routers import wait_until

FIRST = linear_model([0.5, -1.5, 2.0], intercept=1.0)
SECOND = linear_model([-1.0, 0.25, 3.0], intercept=-2.0)
ROW = [1.0, 2.0, 3.0]
SHORT_STEPS = [{"weight": 10, "holdSeconds": 2}, {"weight": 50, "holdSeconds": 1}]
PATIENCE_SECONDS = 90.0
"""Far more than it takes, also on a busy machine."""


class Laptop:
    """A folder with an endpoint, and at most one ``mep local up`` in it."""

    def __init__(self, folder: Path, *, port: int) -> None:
        self.folder = folder
        self.port = port
        self.process: subprocess.Popen[str] | None = None
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    # What a person writes.

    def write_model(self, model: TinyModel | bytes, name: str = "model.onnx") -> None:
        """Write a model file."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(model if isinstance(model, bytes) else model.data)

    def write_endpoint(self, name: str = "churn", *, file: str = "endpoint.yaml", **spec: Any) -> None:
        """Write an endpoint's YAML."""
        body = {
            "apiVersion": "modelendpoint.dev/v1alpha1",
            "kind": "ModelEndpoint",
            "metadata": {"name": name},
            "spec": {"model": {"uri": "file://model.onnx"}, "rollout": {"steps": SHORT_STEPS}, **spec},
        }
        (self.folder / file).write_text(yaml.safe_dump(body))

    def write_batch(self, name: str = "scores", *, file: str = "scores.yaml", **spec: Any) -> None:
        """Write a batch prediction's YAML; its rows are in ``rows.csv``."""
        body = {
            "apiVersion": "modelendpoint.dev/v1alpha1",
            "kind": "BatchPrediction",
            "metadata": {"name": name},
            "spec": {
                "endpointRef": {"name": "churn"},
                "input": {"uri": "file://rows.csv"},
                "output": {"uri": "file://predictions/"},
                "columns": {"features": ["f0", "f1", "f2"], "passThrough": ["id"]},
                **spec,
            },
        }
        given = {key: value for key, value in body["spec"].items() if value is not None}
        (self.folder / file).write_text(yaml.safe_dump({**body, "spec": given}))

    def write_rows(self, count: int) -> None:
        """Write rows of three features, each with its number."""
        lines = [f"{number},{number % 7}.5,{number % 5},{number % 3}\n" for number in range(count)]
        (self.folder / "rows.csv").write_text("id,f0,f1,f2\n" + "".join(lines))

    # What a person types.

    def start(self, *words: str, files: Sequence[str] = ("endpoint.yaml",)) -> None:
        """Type ``mep local up``."""
        with (self.folder / "out").open("a") as out:
            self.process = subprocess.Popen(
                [*_MEP, "local", "up", *files, "--port", str(self.port), *words],
                cwd=self.folder,
                env=self._environment,
                stdout=out,
                stderr=out,
                text=True,
            )

    def run(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Type another command."""
        return subprocess.run(
            [*_MEP, *words],
            cwd=self.folder,
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def interrupt(self) -> int:
        """Press Ctrl-C, and wait for the end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def kill(self) -> None:
        """End ``mep local up`` without a warning."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def clean_up(self) -> None:
        """End whatever a failed test has left."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=10)
        if (self.folder / NAME).exists():
            state = StateFolder(self.folder / NAME)
            state.take()
            state.leave(keep=False)

    # What a person sees.

    @property
    def out(self) -> str:
        """What ``mep local up`` has printed."""
        return (self.folder / "out").read_text()

    def endpoint(self, name: str = "churn") -> Mapping[str, Any]:
        """Read what the instance shows of an endpoint."""
        return choose(LocalEndpoints(StateFolder(self.folder / NAME)).endpoints(), name)

    def status(self, name: str = "churn") -> Mapping[str, Any]:
        """Read an endpoint's status."""
        found: Mapping[str, Any] = self.endpoint(name)["object"].get("status", {})
        return found

    def reason(self, name: str = "churn") -> str:
        """Read the reason of the condition Ready."""
        conditions = self.status(name).get("conditions") or []
        return next((str(told["reason"]) for told in conditions if told["type"] == "Ready"), "")

    def batch(self, name: str = "scores") -> Mapping[str, Any]:
        """Read what the instance shows of a batch prediction."""
        return named(LocalEndpoints(StateFolder(self.folder / NAME)).batches(), name)[0]

    def batch_reason(self, name: str = "scores") -> str:
        """Read what a batch prediction is doing, in one word; nothing before it is there."""
        with suppress(Exception):
            return str(ready_of(self.batch(name)["object"]).get("reason", ""))
        return ""

    def workers(self, name: str = "scores") -> list[int]:
        """Name the processes that work on a batch prediction."""
        return [int(pod["pid"]) for pod in self.batch(name)["pods"] if pod["pid"]]

    def serves(self, revision: int, name: str = "churn") -> bool:
        """Tell whether a revision serves, and nothing is under way."""
        with suppress(Exception):
            stable = self.status(name).get("stable") or {}
            return stable.get("revision") == revision and self.reason(name) == "Serving"
        return False

    def pods(self, component: str, name: str = "churn") -> list[Mapping[str, Any]]:
        """Read the pods of a component that have a process."""
        return [pod for pod in self.endpoint(name)["pods"] if pod["component"] == component and pod["pid"]]

    def pid_files(self) -> dict[str, str]:
        """Read the numbers of all processes from the state folder, whoever runs the instance."""
        return {path.parent.name: path.read_text() for path in (self.folder / NAME / "pods").glob("*/pid")}

    def pid(self, component: str) -> int | None:
        """Name the process of the first pod of a component; None while it has none."""
        return next((int(pod["pid"]) for pod in self.pods(component)), None)

    def predict(self, url: str | None = None) -> tuple[int, str, float]:
        """Send one row; return the status, the revision that has answered, and the prediction."""
        address = urlsplit(url).netloc if url else f"127.0.0.1:{self.port}"
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            connection.request(
                "POST", "/predict", json.dumps({"instances": [ROW]}), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            body = json.loads(response.read())
            prediction = body["predictions"][0] if response.status == 200 else [0.0]
            number = prediction[0] if isinstance(prediction, list) else prediction
            return response.status, response.headers.get("x-model-revision", ""), float(number)
        finally:
            connection.close()

    def answers(self) -> bool:
        """Tell whether a request is answered well."""
        with suppress(OSError, http.client.HTTPException, ValueError):
            return self.predict()[0] == 200
        return False

    def wait(self, fact: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until something holds; the failure shows what was printed."""
        try:
            wait_until(fact, seconds=seconds)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.out}") from error


_MEP = [sys.executable, "-m", "modelendpoint"]


def expected(model: TinyModel) -> float:
    """Compute what a model predicts for ``ROW``."""
    return model.expected([ROW])[0][0]


def living(pids: Sequence[int]) -> list[int]:
    """Name the processes of these that still run."""
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def measure(fact: Callable[[], bool]) -> float:
    """Count the seconds until something holds."""
    began = time.monotonic()
    wait_until(fact, seconds=PATIENCE_SECONDS)
    return time.monotonic() - began
