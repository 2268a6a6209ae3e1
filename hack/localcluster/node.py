"""Process 1 of a node: makes the namespaces it wakes up in a node's, and keeps the parts running.

Started by ``namespaces.start``. A part that ends is started again, as systemd would; how every part is stands in
``parts.json``. Nothing is ever cleaned up here: whoever ends this process ends everything in its namespaces.
"""

import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from localcluster.commands import write_atomically
from localcluster.components import (
    API_PORT,
    BIN,
    HOME,
    KERNEL_SETTINGS,
    NODE_ADDRESS,
    SERVICES,
    NodeSettings,
    Part,
    build_parts,
)
from localcluster.door import keep_door
from localcluster.folders import ClusterFolder
from localcluster.processes import observe_process
from localcluster.reports import PartReport, write_report

TICK_SECONDS = 0.1
PROBE_SECONDS = 5.0
"""How often a part that is ready is asked again."""
ANSWER_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 10.0


@dataclass
class PartState:
    """How a part is."""

    part: Part
    phase: str = "waiting"
    """As in ``localcluster.reports``."""
    pid: int = 0
    starts: int = 0
    due: float = 0.0
    """When to start it, or to ask it, next."""
    since: float = field(default_factory=time.monotonic)

    def enter(self, phase: str) -> None:
        """Take up a phase."""
        if phase != self.phase:
            self.phase, self.since = phase, time.monotonic()


class Supervisor:
    """Starts the parts in their order and keeps them running. One thread, one loop."""

    def __init__(self, parts: Iterable[Part], *, log: Path, report: Path) -> None:
        self._states = {part.name: PartState(part) for part in parts}
        self._log = log
        self._report = report
        self._started = time.monotonic()
        self._reported = ""

    def run(self) -> None:
        """Never returns."""
        while True:
            self.tick()
            time.sleep(TICK_SECONDS)

    def tick(self) -> None:
        """Look after all parts once."""
        self._collect_ended()
        for state in self._states.values():
            self._advance(state)
        self._write_report()

    def _collect_ended(self) -> None:
        """Collect every ended process: parts, and orphans, which all become ours."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                for state in self._states.values():
                    if state.pid == pid:
                        self._note_end(state, os.waitstatus_to_exitcode(status))

    def _note_end(self, state: PartState, code: int) -> None:
        state.pid = 0
        if code == 0 and not state.part.probe:
            state.enter("ready")
            return
        state.due = time.monotonic() + min(0.5 * 2**state.starts, LONGEST_PAUSE_SECONDS)
        state.enter("ended")

    def _advance(self, state: PartState) -> None:
        now = time.monotonic()
        if state.phase == "waiting" and all(self._states[name].phase == "ready" for name in state.part.after):
            self._start(state)
        elif now < state.due:
            return
        elif state.phase == "ended":
            self._start(state)
        elif state.phase in ("starting", "ready") and state.part.probe:
            is_ready = answers(state.part.probe)
            state.enter("ready" if is_ready else "starting")
            state.starts = 0 if is_ready else state.starts
            state.due = now + (PROBE_SECONDS if is_ready else TICK_SECONDS)

    def _start(self, state: PartState) -> None:
        log = os.fspath(self._log / f"{state.part.name}.log")
        state.pid = os.posix_spawnp(
            state.part.command[0],
            state.part.command,
            {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": "/root"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        state.starts += 1
        state.due = 0.0
        state.enter("starting")

    def _write_report(self) -> None:
        report = write_report(
            {
                name: PartReport(state.phase, state.starts, round(state.since - self._started, 1))
                for name, state in self._states.items()
            }
        )
        if report != self._reported:
            write_atomically(self._report, report)
            self._reported = report


def answers(probe: str) -> bool:
    """Say whether a part answers its probe."""
    try:
        if probe.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(ANSWER_SECONDS)
                client.connect(probe.removeprefix("unix:"))
                return True
        trusting = ssl._create_unverified_context()  # we ask whether it lives, on loopback, and send no secret
        with urllib.request.urlopen(probe, timeout=ANSWER_SECONDS, context=trusting) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def become_node(folder: ClusterFolder, settings: NodeSettings) -> None:
    """Give this process's namespaces the mounts, the name and the network of a node."""
    mounts = [
        ["-t", "proc", "proc", "/proc"],
        ["-t", "tmpfs", "tmpfs", "/run"],
        ["--bind", str(folder.log), "/var/log"],
        ["--rbind", str(folder.var_lib), "/var/lib"],
        *(["--bind", f"{HOME}/kernel/{name}", f"/proc/sys/{name}"] for name in KERNEL_SETTINGS),
        ["--make-rshared", "/"],
    ]
    for arguments in mounts:
        subprocess.run(["mount", *arguments], check=True)
    socket.sethostname(settings.name)
    make_network()


def make_network() -> None:
    """Give the node its address. Its network has no way out: what runs here reaches nothing outside."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for command in (
        "link set lo up",
        "link add eth0 type veth peer name eth0-other",  # a pair, both ends here: an interface that needs no hardware
        "link set eth0-other up",
        f"addr add {NODE_ADDRESS}/30 dev eth0",
        "link set eth0 up",
        # Only leads packets for Services to where kube-proxy's rules give them their true destination.
        f"route add {SERVICES} dev eth0",
    ):
        subprocess.run(["ip", *command.split()], check=True)


def main(folder: ClusterFolder, door: socket.socket) -> None:
    """Become a node and keep it running."""
    door.set_inheritable(False)
    # The /proc of outside is still mounted: it shows this process as those outside see it.
    write_atomically(folder.process, observe_process(int(os.readlink("/proc/self"))).to_json())
    settings = NodeSettings.from_json(folder.settings.read_text())
    become_node(folder, settings)
    threading.Thread(target=keep_door, args=(door, (NODE_ADDRESS, API_PORT)), daemon=True).start()
    log = Path("/var/log")  # from here on the cluster's folder may be covered by what was mounted
    Supervisor(build_parts(settings), log=log, report=log / folder.parts.name).run()


if __name__ == "__main__":
    main(ClusterFolder(Path(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])))
