"""The real cluster, and a namespace of its own for every test.

Several processes may run these tests at once (``-n``). A test that stops, kills or replaces what the others
use, or looks at the whole machine, is marked ``alone``: it waits until no other test runs, and the others wait for it.
"""

import fcntl
import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import record
from support.cluster import REPOSITORY, Cluster, bring_up, find
from support.installation import install

BEGAN = time.monotonic()
TEST_CLUSTER = os.environ.get("TEST_CLUSTER", "test")
LEFT_OUT: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here ``cluster``, so that ``-m "not cluster"`` leaves it out."""
    for item in items:
        if item.path.is_relative_to(os.path.dirname(__file__)):
            item.add_marker(pytest.mark.cluster)


@contextmanager
def turn(name: str, *, alone: bool) -> Iterator[None]:
    """Hold a lock that all processes share, or that one of them has for itself."""
    with (Path(tempfile.gettempdir()) / f"modelendpoint-tests-{TEST_CLUSTER}-{name}").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test with its fixtures beside others, or alone."""
    with turn("run", alone=item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what the run was told to leave out; each process counts the same."""
    LEFT_OUT.extend(item.nodeid for item in items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the process that started this one know."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = LEFT_OUT


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process counted."""
    LEFT_OUT[:] = getattr(node, "workeroutput", {}).get("left_out", ())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write down what was run on which Kubernetes, if ``RECORD`` names a file for it."""
    if not (file := os.environ.get("RECORD")):
        return
    cluster = find(TEST_CLUSTER)
    stats = terminalreporter.stats
    run = record.Run(
        kubernetes=json.loads(cluster.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"],
        cluster=os.environ.get("CLUSTER", "node"),
        nodes=len(cluster.get("node")),
        counts=record.count_outcomes(stats),
        left_out=len(LEFT_OUT),
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
    return find(TEST_CLUSTER) if os.environ.get("TEST_CLUSTER_IS_UP") else bring_up(TEST_CLUSTER)


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
    with turn("installation", alone=True):
        install(cluster)
