"""The life of one pod, as a kubelet leads it: start, probes, restarts with back-off, the way to its end.

A pod's body has the form that the API server would give it, so that the operator reads it as any other. Which pods
there are must not be here.
"""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from modelendpoint.local.probes import Probe, read_probe
from modelendpoint.local.processes import PID_FILE, Process
from modelendpoint.local.relocation import MOUNTS

TICK_SECONDS = 0.1
"""How soon the end of a process is noticed, and how often one that is not ready yet is asked."""
BACK_OFF_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses before a restart; the last one for all that follow."""
FORGIVE_AFTER_SECONDS = 60.0
"""A process that ran this long starts the back-off anew."""
LOG_FILE = "log"
MOST_WORDS = 4096
"""As much of a container's last message is kept as the kubelet keeps."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start a pod's container this time."""

    command: list[str]
    environment: Mapping[str, str]
    ports: Mapping[int, int]
    before_end: list[str] | None
    """What to run before it is told to end."""
    pause_before_end: float
    """Seconds to go on serving before it is told to end."""
    last_words: Path
    """File in which the container may leave a message at its end."""


class Pod:
    """One pod, with a thread of its own."""

    def __init__(
        self,
        body: Mapping[str, Any],
        *,
        folder: Path,
        prepare: Callable[["Pod"], Launch],
        changed: Callable[["Pod"], None],
        clock: Callable[[], datetime],
    ) -> None:
        self.body = body
        self.folder = folder
        self.launch: Launch | None = None
        """How it was started last."""
        self.restarts = 0
        self._prepare = prepare
        self._changed = changed
        self._clock = clock
        self._process: Process | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._killed = threading.Event()
        self._thread = threading.Thread(target=self._live, name=self.name, daemon=True)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def pid(self) -> int | None:
        """Number of its process; None while it has none."""
        process = self._process
        return None if process is None else process.pid

    @property
    def has_ended(self) -> bool:
        """Tell whether its container has ended and is not started again. Its log stays until the pod is told to end."""
        return self.body["status"]["phase"] in ("Succeeded", "Failed")

    @property
    def exit_code(self) -> int | None:
        """Tell how its container has ended; None as long as it may still run."""
        if not self.has_ended:
            return None
        return int(self.body["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"])

    @property
    def is_gone(self) -> bool:
        """Tell whether it has ended and left nothing behind."""
        return self._ending.is_set() and not self._thread.is_alive()

    def start(self) -> None:
        """Begin its life."""
        self.folder.mkdir(parents=True)
        self._thread.start()

    def end(self) -> None:
        """Tell it to end; requests under way are answered first."""
        if not self._ending.is_set():
            self._set_metadata(deletionTimestamp=self._clock().isoformat())
            self._ending.set()
            self._wake.set()

    def kill(self) -> None:
        """End it at once."""
        self._killed.set()
        self._ending.set()
        self._wake.set()

    def join(self, *, timeout: float) -> None:
        """Wait until it is gone."""
        self._thread.join(timeout)

    def annotate(self, annotations: Mapping[str, str]) -> None:
        """Set annotations."""
        self._set_metadata(annotations={**self.body["metadata"].get("annotations", {}), **annotations})

    # Its life, in its own thread.

    def _live(self) -> None:
        failures = 0
        while not self._ending.is_set():
            started = time.monotonic()
            self._run()
            if self.has_ended:
                self._leave_log()
            if self._ending.is_set():
                break
            failures = 0 if time.monotonic() - started > FORGIVE_AFTER_SECONDS else failures
            pause = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
            failures += 1
            self.restarts += 1
            self._wake.wait(pause)
        self._end_process()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._changed(self)

    def _leave_log(self) -> None:
        """Wait for the end of the pod, with nothing left of it but what it told."""
        shutil.rmtree(self.folder / MOUNTS, ignore_errors=True)
        self._ending.wait()

    def _run(self) -> None:
        """Start the process and look after it until it has ended or is to end."""
        try:
            self.launch = launch = self._prepare(self)
            self._process = process = Process(
                launch.command,
                environment=launch.environment,
                folder=self.folder,
                log=self.folder / LOG_FILE,
                pid_file=self.folder / PID_FILE,
            )
        except Exception as error:  # noqa: BLE001  whatever it is, it must be seen and tried again
            message = f"{type(error).__name__}: {error}"
            self._set_status(
                ready=False, state={"waiting": {"reason": "StartError", "message": message}}, phase="Pending"
            )
            return
        self._set_status(ready=False, state={"running": {}})
        self._look_after(process, _Watch.over(self._container, launch.ports))

    def _look_after(self, process: Process, watch: "_Watch") -> None:
        while not self._ending.is_set():
            code = process.exit_code()
            if code is not None and self.body["spec"].get("restartPolicy") == "Never":
                self._finish(code)
                return
            if code is not None:
                self._fell(code)
                return
            ready = watch.look(time.monotonic())
            if ready != self.is_ready:
                self._set_status(ready=ready, state={"running": {}})
            if watch.is_dead:
                process.kill()
            self._wake.wait(TICK_SECONDS)

    def _fell(self, code: int) -> None:
        self._process = None
        reason = "Error" if code else "Completed"
        self._set_status(
            ready=False,
            state={
                "waiting": {"reason": "CrashLoopBackOff", "message": f"starts again; its log: mep logs {self.name}"}
            },
            last={"terminated": {"reason": reason, "exitCode": code}},
        )

    def _finish(self, code: int) -> None:
        """Say how the container has ended, for ever; what a signal ended has the code that a shell would tell."""
        assert self.launch is not None
        self._process = None
        told = {
            "exitCode": code if code >= 0 else 128 - code,
            "reason": "Error" if code else "Completed",
            "message": _read_words(self.launch.last_words),
            "finishedAt": self._clock().isoformat(),
        }
        self._set_status(ready=False, state={"terminated": told}, phase="Failed" if code else "Succeeded")

    def _end_process(self) -> None:
        process, launch = self._process, self.launch
        if process is None or launch is None:
            return
        if not self._killed.is_set() and process.exit_code() is None:
            self._take_leave(process, launch)
        process.kill()

    def _take_leave(self, process: Process, launch: Launch) -> None:
        """Serve on for a while, run what is to be run, send SIGTERM, and wait as long as the manifest says."""
        deadline = time.monotonic() + self.body["spec"]["terminationGracePeriodSeconds"]
        self._wait(process, until=time.monotonic() + launch.pause_before_end)
        if launch.before_end is not None:
            hook = subprocess.Popen(launch.before_end, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            while hook.poll() is None and not self._killed.is_set() and time.monotonic() < deadline:
                time.sleep(TICK_SECONDS)
            hook.kill()
            hook.wait()
        process.ask_to_end()
        self._wait(process, until=deadline)

    def _wait(self, process: Process, *, until: float) -> None:
        while not self._killed.is_set() and time.monotonic() < until and process.exit_code() is None:
            time.sleep(TICK_SECONDS)

    # What it tells.

    @property
    def _container(self) -> Mapping[str, Any]:
        container: Mapping[str, Any] = self.body["spec"]["containers"][0]
        return container

    @property
    def is_ready(self) -> bool:
        """Tell whether its readiness probe succeeds."""
        return any(told["type"] == "Ready" and told["status"] == "True" for told in self.body["status"]["conditions"])

    def _set_metadata(self, **changes: Any) -> None:
        with self._lock:
            self.body = {**self.body, "metadata": {**self.body["metadata"], **changes}}
        self._changed(self)

    def _set_status(
        self,
        *,
        ready: bool,
        state: Mapping[str, Any],
        last: Mapping[str, Any] | None = None,
        phase: str = "Running",
    ) -> None:
        container = {"name": self._container["name"], "state": state, "restartCount": self.restarts}
        status = {
            "phase": phase,
            "podIP": self.name,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [container | ({"lastState": last} if last else {})],
        }
        with self._lock:
            self.body = {**self.body, "status": status}
        self._changed(self)


def new_body(
    name: str, *, parent: Mapping[str, Any], now: datetime, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Build the body of a pod of a Deployment or a Job that has not started yet."""
    template, owner = parent["spec"]["template"], parent["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **template["metadata"],
            "name": name,
            "namespace": owner["namespace"],
            "annotations": {**template["metadata"].get("annotations", {}), **(annotations or {})},
            "ownerReferences": [{"kind": parent["kind"], "name": owner["name"], "uid": owner["uid"]}],
            "creationTimestamp": now.isoformat(timespec="seconds"),
        },
        "spec": template["spec"],
        "status": {"phase": "Pending", "conditions": []},
    }


def _read_words(file: Path) -> str:
    try:
        return file.read_text(errors="replace")[:MOST_WORDS]
    except OSError:
        return ""


class _Watch:
    """What the probes of a running container have told so far."""

    def __init__(self, startup: Probe | None, readiness: Probe | None, liveness: Probe | None) -> None:
        self._startup = startup
        self._readiness = readiness
        self._liveness = liveness
        first = time.monotonic() + liveness.initial_delay_seconds if liveness else 0.0
        self._next = {"readiness": 0.0, "liveness": first}
        self._misses = {"readiness": 0, "liveness": 0}
        self._is_ready = False
        self.is_dead = False

    @classmethod
    def over(cls, container: Mapping[str, Any], ports: Mapping[int, int]) -> "_Watch":
        return cls(*(read_probe(container, f"{name}Probe", ports) for name in ("startup", "readiness", "liveness")))

    def look(self, now: float) -> bool:
        """Ask what is due, and tell whether the container is ready."""
        if self._startup is not None:
            if not self._startup.ask():
                return False
            self._startup = None
        if self._readiness is None:
            # Whoever is not asked is ready as soon as it runs.
            self._is_ready = True
        elif now >= self._next["readiness"]:
            self._ask_readiness(self._readiness, now)
        # A server may take its time to load a model; the kubelet asks from the first period on, which comes later.
        if self._liveness is not None and self._is_ready and now >= self._next["liveness"]:
            self._ask_liveness(self._liveness, now)
        return self._is_ready

    def _ask_readiness(self, probe: Probe, now: float) -> None:
        if probe.ask():
            self._misses["readiness"], self._is_ready = 0, True
        else:
            self._misses["readiness"] += 1
            self._is_ready = self._is_ready and self._misses["readiness"] < probe.failure_threshold
        # Until it is ready it is asked as often as possible, so that nobody waits for a period to be over.
        self._next["readiness"] = now + probe.period_seconds if self._is_ready else now

    def _ask_liveness(self, probe: Probe, now: float) -> None:
        self._next["liveness"] = now + probe.period_seconds
        self._misses["liveness"] = 0 if probe.ask() else self._misses["liveness"] + 1
        self.is_dead = self._misses["liveness"] >= probe.failure_threshold
