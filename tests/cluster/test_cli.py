"""``kubectl mep`` as a user runs it, on a real cluster: a rollout is watched, tried and decided by it alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.endpoints import ROWS, Endpoint

pytestmark = pytest.mark.usefixtures("operator")

ROOT = Path(__file__).parents[2]


def test_a_rollout_is_seen_and_decided_from_the_command_line(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    endpoint = Endpoint(cluster, namespace).create_models().apply("1").wait()
    plugin = tmp_path / "kubectl-mep"
    plugin.write_text(
        f"#!{sys.executable}\nimport sys\nfrom modelendpoint.__main__ import main\nsys.exit(main())\n",
    )
    plugin.chmod(0o755)
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps({"instances": ROWS[:2]}))
    python_path = os.pathsep.join(str(ROOT / part) for part in ("cli", "operator", "server"))
    path = f"{tmp_path}{os.pathsep}{cluster.environment['PATH']}"

    def mep(*arguments: str) -> str:
        done = subprocess.run(
            ["kubectl", "mep", *arguments, "-n", namespace],
            env={**cluster.environment, "PATH": path, "PYTHONPATH": python_path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    endpoint.apply("2", rollout={"steps": [{"weight": 10, "pause": True}]}).wait_for_phase("Paused")
    assert mep("get").splitlines()[1].split()[:6] == ["churn", "False", "1", "(1)", "2", "(2)"]
    assert "revision" in mep("predict", "churn", str(rows))
    assert "Model is ready" in mep("logs", "churn", "--revision", "2")
    assert "Revision 2 goes on" in mep("promote", "churn")
    endpoint.wait()
    assert endpoint.status["stable"]["revision"] == 2
    assert "evision 1" in mep("undo")
    endpoint.wait_until(lambda: endpoint.status["stable"]["revision"] == 1)
