"""Process 1 of a Docker of our own: a daemon in namespaces of its own, which leaves nothing on this machine.

Started by ``namespaces.start``. Networks, mounts, rules and processes are the namespaces'; what the daemon writes
beside its data folder goes to memory. Whoever ends this process ends all of it.
"""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from localcluster.commands import write_atomically
from localcluster.components import NodeSettings, Part
from localcluster.door import keep_door
from localcluster.folders import ClusterFolder
from localcluster.node import Supervisor
from localcluster.processes import observe_process

WRAPPER = Path(__file__).resolve().parents[1] / "kind" / "limited-runc"
CAP_SYS_RESOURCE = 24
WRITTEN_TO = ("etc", "opt", "usr")
"""Folders of this machine that a daemon writes to: keys, plugins, a place for kernel modules."""


def build_dockerd(folder: ClusterFolder, settings: NodeSettings, *, is_limited: bool) -> Part:
    """Describe the daemon. Where root lacks a capability, containers are made without it."""
    runtime = ("--add-runtime", f"limited={WRAPPER}", "--default-runtime=limited") if is_limited else ()
    return Part(
        name="dockerd",
        command=(
            "dockerd",
            f"--host=unix://{folder.docker_socket}",
            f"--data-root={folder.var_lib}/docker",
            "--exec-root=/run/docker",
            "--pidfile=/run/docker.pid",
            f"--cgroup-parent=/{settings.cgroup}",
            *runtime,
        ),
        probe=f"unix:{folder.docker_socket}",
    )


def lacks_capability(status: str, capability: int) -> bool:
    """Say whether the text of ``/proc/self/status`` names a capability as out of reach."""
    bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return not int(bounding, 16) >> capability & 1


def become_docker_host() -> None:
    """Give this process's namespaces mounts and a loopback of their own."""
    mounts = [["-t", "proc", "proc", "/proc"], ["-t", "tmpfs", "tmpfs", "/run"]]
    for name in WRITTEN_TO:
        upper, work = Path("/run/written", name), Path("/run/work", name)
        options = f"lowerdir=/{name},upperdir={upper},workdir={work}"
        mounts.append(["-t", "overlay", "overlay", "-o", options, f"/{name}"])
    for arguments in mounts:
        if arguments[1] == "overlay":
            for folder in ("written", "work"):
                Path("/run", folder, arguments[-1].lstrip("/")).mkdir(parents=True)
        subprocess.run(["mount", *arguments], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def main(folder: ClusterFolder, door: socket.socket) -> None:
    """Run the daemon, and carry what comes in by the door to the API server of the one cluster that runs on it."""
    door.set_inheritable(False)
    # The /proc of outside is still mounted: it shows this process as those outside see it.
    write_atomically(folder.process, observe_process(int(os.readlink("/proc/self"))).to_json())
    settings = NodeSettings.from_json(folder.settings.read_text())
    is_limited = lacks_capability(Path("/proc/self/status").read_text(), CAP_SYS_RESOURCE)
    become_docker_host()
    threading.Thread(target=keep_door, args=(door, ("127.0.0.1", settings.port)), daemon=True).start()
    dockerd = build_dockerd(folder, settings, is_limited=is_limited)
    Supervisor([dockerd], log=folder.log, report=folder.parts).run()


if __name__ == "__main__":
    main(ClusterFolder(Path(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])))
