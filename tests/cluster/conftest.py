"""The real cluster, and a namespace of its own for every test."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import record
from support.cluster import REPOSITORY, Cluster, bring_up, find

BEGAN = time.monotonic()
from support.installation import install


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here ``cluster``, so that ``-m "not cluster"`` leaves it out."""
    for item in items:
        if item.path.is_relative_to(os.path.dirname(__file__)):
            item.add_marker(pytest.mark.cluster)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write down what was run on which Kubernetes, if ``RECORD`` names a file for it."""
    if not (file := os.environ.get("RECORD")):
        return
    cluster = find(os.environ.get("TEST_CLUSTER", "test"))
    stats = terminalreporter.stats
    run = record.Run(
        kubernetes=json.loads(cluster.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"],
        cluster=os.environ.get("CLUSTER", "node"),
        nodes=len(cluster.get("node")),
        counts=record.count_outcomes(stats),
        left_out=len(stats.get("deselected", ())),
        seconds=time.monotonic() - BEGAN,
        day=time.strftime("%Y-%m-%d"),
        commit=_commit(),
    )
    record.write(Path(file), run)
    terminalreporter.write_line(f"recorded in {file}: {run.row}")


def _commit() -> str:
    git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """A running cluster with this checkout's images: ``make test`` has brought it up; by hand, it is done here."""
    name = os.environ.get("TEST_CLUSTER", "test")
    return find(name) if os.environ.get("TEST_CLUSTER_IS_UP") else bring_up(name)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace; deleted afterwards, which takes everything in it along."""
    name = f"t-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> None:
    """The operator of this checkout, at work in the whole cluster."""
    install(cluster)
