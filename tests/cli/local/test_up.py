"""``mep local up`` with the real Envoy and real servers: updates, refusals, crashes, and the end that leaves nothing."""

import os
import pty
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress

import psutil
import pytest
import yaml

from modelendpoint.local.relocation import LOOPBACK
from modelendpoint.sockets import is_free
from support.laptop import FIRST, PATIENCE_SECONDS, SECOND, Laptop, expected, living
from support.onnx_models import as_config_map_data, corrupt
from support.routers import wait_until

pytestmark = pytest.mark.timeout(300)


def test_an_update_goes_by_canary_and_a_bad_one_is_refused_while_stable_serves_on(laptop: Laptop) -> None:
    laptop.start("--watch")
    laptop.wait(laptop.answers)
    assert laptop.predict() == (200, "1", expected(FIRST))
    laptop.wait(lambda: laptop.serves(1))

    laptop.write_model(SECOND)
    laptop.wait(lambda: bool(laptop.status().get("candidate")))
    answers = []
    while not laptop.serves(2):
        answers.append(laptop.predict())
    counted = Counter((status, revision) for status, revision, _ in answers)
    assert set(counted) == {(200, "1"), (200, "2")}
    right = {"1": expected(FIRST), "2": expected(SECOND)}
    assert all(prediction == pytest.approx(right[revision]) for _, revision, prediction in answers)
    assert laptop.predict() == (200, "2", expected(SECOND))
    assert "Revision 2 gets 10 % of the traffic" in laptop.out

    laptop.write_model(corrupt(FIRST))
    laptop.wait(lambda: laptop.reason() in ("ModelInvalid", "RolledBack"))
    shown = laptop.run("get")
    assert "file://" in shown.stdout and "model.onnx" in shown.stdout
    assert laptop.predict() == (200, "2", expected(SECOND))

    laptop.write_model(SECOND)
    laptop.wait(lambda: laptop.serves(2))
    pids = [pod["pid"] for pod in laptop.endpoint()["pods"] if pod["pid"]]
    assert laptop.interrupt() == 0
    assert living(pids) == []
    assert is_free(LOOPBACK, laptop.port)
    assert sorted(entry.name for entry in laptop.folder.iterdir()) == ["endpoint.yaml", "model.onnx", "out"]


def test_what_is_killed_comes_back(laptop: Laptop) -> None:
    laptop.start()
    laptop.wait(lambda: laptop.serves(1))
    for component in ("model-server", "router"):
        kill_and_wait(laptop, component)
        assert laptop.predict() == (200, "1", expected(FIRST))
        assert [pod["restarts"] for pod in laptop.pods(component)] == [1]
    assert laptop.run("local", "down").returncode == 0
    assert is_free(LOOPBACK, laptop.port)


def kill_and_wait(laptop: Laptop, component: str) -> None:
    killed = laptop.pid(component)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    laptop.wait(lambda: laptop.pid(component) not in (None, killed))
    laptop.wait(lambda: laptop.answers() and laptop.serves(1))


def test_after_a_crash_of_mep_nothing_runs_and_the_next_up_goes_on(laptop: Laptop) -> None:
    laptop.write_endpoint(rollout={"steps": []})
    laptop.start("--watch")
    laptop.wait(lambda: laptop.serves(1))
    laptop.write_model(SECOND)
    laptop.wait(lambda: laptop.serves(2))
    left = [pod["pid"] for pod in laptop.endpoint()["pods"] if pod["pid"]]
    laptop.kill()
    laptop.wait(lambda: living(left) == [])
    assert "No local instance" in laptop.run("get").stderr

    laptop.start()
    laptop.wait(lambda: laptop.serves(2) and laptop.answers())
    assert laptop.predict() == (200, "2", expected(SECOND))
    assert [past["revision"] for past in laptop.status()["history"]] == [2, 1]
    assert laptop.interrupt() == 0


def test_what_a_crash_of_mep_and_of_its_guard_has_left_is_ended_by_the_next_up(laptop: Laptop) -> None:
    laptop.start()
    laptop.wait(lambda: laptop.serves(1))
    left = [pod["pid"] for pod in laptop.endpoint()["pods"] if pod["pid"]]
    assert laptop.process is not None
    (guard,) = (child for child in psutil.Process(laptop.process.pid).children() if child.pid not in left)
    guard.kill()
    laptop.kill()
    assert laptop.answers(), "nobody was there to end the servers"
    (laptop.folder / "wrong.yaml").write_text("kind: [")
    refused = laptop.run("local", "up", "wrong.yaml")
    assert (refused.returncode, "Ended what a crash had left running" in refused.stderr) == (1, True)
    assert living(left) == []


def test_several_files_and_replicas_run_side_by_side(laptop: Laptop) -> None:
    laptop.write_endpoint(replicas=2)
    models = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "models"},
        "binaryData": as_config_map_data({"second.onnx": SECOND}),
    }
    laptop.write_endpoint("upsell", file="upsell.yaml", model={"uri": "configmap://models/second.onnx"})
    (laptop.folder / "models.yaml").write_text(yaml.safe_dump(models))
    laptop.start(files=("endpoint.yaml", "upsell.yaml", "models.yaml"))
    laptop.wait(lambda: laptop.serves(1) and laptop.serves(1, "upsell"))
    assert len(laptop.pods("model-server")) == 2
    assert len(laptop.pods("router")) == 1
    assert laptop.predict() == (200, "1", expected(FIRST))
    assert laptop.predict(laptop.endpoint("upsell")["url"]) == (200, "1", expected(SECOND))
    assert "Name one of the endpoints: churn, upsell" in laptop.run("predict", "-", stdin="{}").stderr

    refused = laptop.run("local", "up", "endpoint.yaml")
    assert (refused.returncode, "mep local down" in refused.stderr) == (1, True)
    assert laptop.run("local", "down").returncode == 0


def test_orders_are_given_and_answered(laptop: Laptop) -> None:
    gates = {"http": [{"name": "smoke", "path": "/v2/health/ready"}]}
    laptop.write_endpoint(rollout={"steps": [{"weight": 10, "pause": True}], "gates": gates})
    laptop.start("--watch")
    laptop.wait(lambda: laptop.serves(1))
    assert "No rollout is under way for churn" in laptop.run("promote").stderr
    laptop.write_model(SECOND)
    laptop.wait(lambda: laptop.reason() == "Paused")
    assert "evision 2" in laptop.run("abort").stdout
    laptop.wait(lambda: laptop.predict()[1] == "1" and not laptop.status().get("candidate"))
    assert laptop.run("retry").returncode == 0
    laptop.wait(lambda: laptop.reason() == "Paused")
    assert laptop.run("promote-full", "churn").returncode == 0
    laptop.wait(lambda: laptop.serves(2))
    (laptop.folder / "rows.csv").write_text("f0,f1,f2\n1,2,3\n")
    told = laptop.run("predict", "rows.csv")
    assert (told.returncode, "revision 2" in told.stderr) == (0, True)
    assert str(expected(SECOND)) in told.stdout
    assert "Model is ready" in laptop.run("logs", "--revision", "2").stdout
    assert laptop.run("undo").returncode == 0
    laptop.wait(lambda: laptop.predict()[1] == "1")
    assert laptop.interrupt() == 0


def test_a_terminal_shows_it_all_and_redraws_in_place(laptop: Laptop) -> None:
    screen = _Screen(laptop)
    try:
        # In colour, and the cursor goes up to draw again.
        parts = ["Revision 1 serves all traffic", f"http://127.0.0.1:{laptop.port}", "\x1b[1A", "\x1b[32m"]
        wait_until(lambda: all(part in screen.read() for part in parts), seconds=PATIENCE_SECONDS)
    finally:
        screen.interrupt()


class _Screen:
    """A terminal with ``mep local up`` in it."""

    def __init__(self, laptop: Laptop) -> None:
        self.text = ""
        self._own, other = pty.openpty()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "120"}
        environment.pop("NO_COLOR", None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "modelendpoint", "local", "up", "endpoint.yaml", "--port", str(laptop.port)],
            cwd=laptop.folder,
            env=environment,
            stdin=other,
            stdout=other,
            stderr=other,
        )
        os.close(other)
        os.set_blocking(self._own, False)

    def read(self) -> str:
        """Read what has come since."""
        with suppress(OSError):  # nothing new, or nobody there any more
            self.text += os.read(self._own, 1 << 16).decode(errors="replace")
        return self.text

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)
        while self._process.poll() is None:
            self.read()
        os.close(self._own)
        assert self._process.returncode == 0
