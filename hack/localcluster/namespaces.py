"""A node's namespaces as seen from this machine: start process 1 in them, enter them, end them."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from localcluster.commands import ClusterError, wait_until
from localcluster.folders import ClusterFolder
from localcluster.logs import telling_lines
from localcluster.processes import Process

HACK = Path(__file__).resolve().parents[1]


def start(
    folder: ClusterFolder,
    door: socket.socket,
    *,
    module: str = "localcluster.node",
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Start a module as process 1 of new namespaces, and hand it the door that this machine comes in by."""
    folder.process.unlink(missing_ok=True)
    folder.log.mkdir(parents=True, exist_ok=True)
    with (folder.log / "node.log").open("ab") as log:
        outer = subprocess.Popen(
            [
                *("unshare", "--pid", "--fork", "--mount", "--net", "--uts", "--ipc", "--kill-child=SIGKILL"),
                *(sys.executable, "-m", module, folder.root, str(door.fileno())),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**environment, "PYTHONPATH": str(HACK)},
            pass_fds=[door.fileno()],
            start_new_session=True,
        )
    wait_until(
        lambda: folder.process.exists() or outer.poll() is not None, seconds=10, failure="the node did not start"
    )
    if outer.poll() is not None:
        raise ClusterError(f"could not make the node's namespaces:\n{telling_lines(folder.log / 'node.log')}")


def find(folder: ClusterFolder) -> Process | None:
    """Return process 1 if it lives."""
    if not folder.process.exists():
        return None
    process = Process.from_json(folder.process.read_text())
    return process if process.is_alive() else None


def stop(folder: ClusterFolder) -> None:
    """End process 1 and with it every process, mount, rule and interface in its namespaces."""
    if process := find(folder):
        process.kill()
    folder.process.unlink(missing_ok=True)


def enter_network(process: Process) -> list[str]:
    """Return the words before a command that make it run in the node's network, with this machine's files."""
    return ["nsenter", f"--target={process.pid}", "--net"]


def enter_node(process: Process) -> list[str]:
    """Return the words before a command that make it run as a process of the node."""
    return ["nsenter", f"--target={process.pid}", *("--pid", "--mount", "--root", "--net", "--uts", "--ipc")]
