"""A node's namespaces as seen from this machine: start process 1 in them, enter them, end them."""

import os
import subprocess
import sys
from pathlib import Path

from localcluster.addresses import AddressPair, read_link_index
from localcluster.commands import ClusterError, run, wait_until
from localcluster.folders import ClusterFolder
from localcluster.logs import telling_lines
from localcluster.processes import Process

LINKS = Path("/sys/class/net")
HACK = Path(__file__).resolve().parents[1]


def start(folder: ClusterFolder, addresses: AddressPair) -> Process:
    """Start ``localcluster.node`` as process 1 of new namespaces, and join their network with this machine's."""
    folder.process.unlink(missing_ok=True)
    folder.log.mkdir(parents=True, exist_ok=True)
    with (folder.log / "node.log").open("ab") as log:
        outer = subprocess.Popen(
            [
                *("unshare", "--pid", "--fork", "--mount", "--net", "--uts", "--ipc", "--kill-child=SIGKILL"),
                *(sys.executable, "-m", "localcluster.node", folder.root),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(HACK)},
            start_new_session=True,
        )
    wait_until(
        lambda: folder.process.exists() or outer.poll() is not None, seconds=10, failure="the node did not start"
    )
    if outer.poll() is not None:
        raise ClusterError(f"could not make the node's namespaces:\n{telling_lines(folder.log / 'node.log')}")
    process = Process.from_json(folder.process.read_text())
    join_networks(addresses, process)
    return process


def find(folder: ClusterFolder) -> Process | None:
    """Return process 1 if it lives."""
    if not folder.process.exists():
        return None
    process = Process.from_json(folder.process.read_text())
    return process if process.is_alive() else None


def stop(folder: ClusterFolder, addresses: AddressPair) -> None:
    """End process 1 and with it every process, mount, rule and link in its namespaces."""
    if process := find(folder):
        process.kill()
    folder.process.unlink(missing_ok=True)
    if has_link(addresses.interface):  # the kernel takes it away too, but later
        subprocess.run(["ip", "link", "delete", addresses.interface], capture_output=True, check=False)
        wait_until(
            lambda: not has_link(addresses.interface), seconds=10, failure=f"{addresses.interface} did not go away"
        )


def join_networks(addresses: AddressPair, process: Process) -> None:
    """Make the link whose one end is in this machine's network and the other in the node's."""
    name = addresses.interface
    run(["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid)])
    run(["ip", "addr", "add", f"{addresses.host}/30", "dev", name])
    run(["ip", "link", "set", name, "up"])


def find_link_indexes() -> set[int]:
    """Find the indexes of all clusters that run on this machine, whoever started them."""
    indexes = (read_link_index(path.name) for path in LINKS.iterdir())
    return {index for index in indexes if index is not None}


def has_link(name: str) -> bool:
    """Say whether this machine has a network interface of that name."""
    return (LINKS / name).exists()


def enter_network(process: Process) -> list[str]:
    """Return the words before a command that make it run in the node's network, with this machine's files."""
    return ["nsenter", f"--target={process.pid}", "--net"]


def enter_node(process: Process) -> list[str]:
    """Return the words before a command that make it run as a process of the node."""
    return ["nsenter", f"--target={process.pid}", *("--pid", "--mount", "--net", "--uts", "--ipc")]
