"""What a cluster does by itself: Deployments and Jobs become pods, and headless Services lists of hosts.

What shall run must not be decided here, nor what a container is on this machine (``containers``).
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from modelendpoint.local.containers import Containers, Folders
from modelendpoint.local.deployments import Replica, balance
from modelendpoint.local.jobs import Attempt, drive
from modelendpoint.local.mounts import write_whole
from modelendpoint.local.objects import Object, ObjectStore, key_of
from modelendpoint.local.pods import BACK_OFF_SECONDS, Pod, new_body
from modelendpoint.local.relocation import build_hosts, hosts_file, shares_ports
from modelendpoint_operator import names
from modelendpoint_operator.adapters.batch_reduction import INDEX_ANNOTATION
from modelendpoint_operator.adapters.reduction import is_router, is_terminating

LOOK_SECONDS = 1.0
"""How often everything is looked at although nobody told of a change."""
PATIENCE_SECONDS = 10.0
"""Longest wait for a killed process to be gone."""


class Node:
    """Runs the pods of all Deployments and Jobs in the store."""

    def __init__(
        self,
        store: ObjectStore,
        containers: Containers,
        folders: Folders,
        *,
        clock: Callable[[], datetime],
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._containers = containers
        self._folders = folders
        self._clock = clock
        self._say = say
        self._lock = threading.Lock()
        self._pods: dict[str, Pod] = {}
        self._hosts: dict[tuple[str, str], tuple[tuple[int, int], ...]] = {}
        self._listeners: list[Callable[[Object], None]] = []
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)
        store.listen(lambda body: self._changed.set())

    def listen(self, listener: Callable[[Object], None]) -> None:
        """Call this with every pod that has changed."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End all pods at once, and wait until they are gone."""
        self._stop.set()
        self._changed.set()
        if self._thread.ident is not None:
            self._thread.join()
        pods = self.pods()
        for pod in pods:
            pod.kill()
        for pod in pods:
            pod.join(timeout=PATIENCE_SECONDS)

    def pods(self, *, namespace: str | None = None, endpoint: str | None = None) -> list[Pod]:
        """Name the pods that are there, all or those of one endpoint, oldest first; those of Jobs also after their end."""
        with self._lock:
            found = list(self._pods.values())
        return [
            pod
            for pod in found
            if namespace in (None, pod.body["metadata"]["namespace"])
            and endpoint in (None, pod.body["metadata"]["labels"].get(names.LABEL_ENDPOINT))
        ]

    def pods_of(self, uid: str) -> list[Pod]:
        """Name the pods of one Deployment or Job."""
        return [pod for pod in self.pods() if _owner(pod.body) == uid]

    def annotate(self, pod: str, annotations: Mapping[str, str]) -> None:
        """Set annotations of a pod; one that is gone needs none."""
        with self._lock:
            found = self._pods.get(pod)
        if found is not None:
            found.annotate(annotations)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._changed.wait(LOOK_SECONDS)
            self._changed.clear()
            try:
                self._look()
            except Exception as error:  # noqa: BLE001  nothing else would ever start a process again
                self._say(f"Could not look after the processes: {type(error).__name__}: {error}")
                self._stop.wait(LOOK_SECONDS)

    def _look(self) -> None:
        self._forget_gone()
        # Hosts first: the router's files name the lists, which must be there by then.
        self._write_hosts()
        for pod in self.pods():
            if not is_terminating(pod.body) and not pod.has_ended:
                self._containers.refresh(pod)
        self._end_orphans()
        for body in self._store.list_all("Deployment"):
            self._scale(body)
        for body in self._store.list_all("Job"):
            self._drive(body)

    def _forget_gone(self) -> None:
        gone = [pod for pod in self.pods() if pod.is_gone]
        for pod in gone:
            self._containers.forget(pod)
        with self._lock:
            self._pods = {name: pod for name, pod in self._pods.items() if pod not in gone}

    def _end_orphans(self) -> None:
        owners = {body["metadata"]["uid"] for kind in ("Deployment", "Job") for body in self._store.list_all(kind)}
        for pod in self.pods():
            if _owner(pod.body) not in owners:
                pod.end()

    def _scale(self, deployment: Object) -> None:
        uid, template = deployment["metadata"]["uid"], deployment["spec"]["template"]["spec"]
        own = {pod.name: pod for pod in self.pods_of(uid) if not is_terminating(pod.body)}
        pods = [
            Replica(name=name, is_current=pod.body["spec"] == template, is_ready=pod.is_ready)
            for name, pod in own.items()
        ]
        wanted: int = deployment["spec"]["replicas"]
        if is_router(deployment):
            # One machine needs one router, and for an update two only where they can listen on one port.
            changes = balance(pods, replicas=min(wanted, 1), surge=1 if shares_ports() else 0)
        else:
            changes = balance(pods, replicas=wanted)
        for name in changes.end:
            self._containers.retire(own[name])
            own[name].end()
        for _ in range(changes.create):
            self._create(deployment, deployment["metadata"]["name"])

    def _drive(self, job: Object) -> None:
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        own = {pod.name: pod for pod in self.pods_of(uid)}
        move = drive(job, [_attempt(pod) for pod in own.values()], pauses=BACK_OFF_SECONDS, now=self._clock())
        for pod in move.end:
            own[pod].end()
        for index in move.create:
            self._create(job, f"{name}-{index}", {INDEX_ANNOTATION: str(index)})
        self._store.set_status(key_of(job), uid=uid, status=move.status)

    def _create(self, parent: Object, prefix: str, annotations: Mapping[str, str] | None = None) -> None:
        name = f"{prefix}-{secrets.token_hex(3)}"
        pod = Pod(
            new_body(name, parent=parent, now=self._clock(), annotations=annotations),
            folder=self._folders.pods / name,
            prepare=self._containers.prepare,
            changed=self._hear,
            clock=self._clock,
        )
        with self._lock:
            self._pods[name] = pod
        pod.start()

    def _hear(self, pod: Pod) -> None:
        self._changed.set()
        for listener in self._listeners:
            listener(pod.body)

    def _write_hosts(self) -> None:
        """Write for each headless Service which pods a cluster's DNS would name."""
        wanted = {
            (body["metadata"]["namespace"], body["metadata"]["name"]): self._ports_behind(body)
            for body in self._store.list_all("Service")
            if body["spec"].get("clusterIP") == "None"
        }
        for namespace, name in self._hosts.keys() - wanted.keys():
            hosts_file(self._folders.hosts / namespace, name).unlink(missing_ok=True)
        for (namespace, name), ports in wanted.items():
            if self._hosts.get((namespace, name)) != ports:
                folder = self._folders.hosts / namespace
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(hosts_file(folder, name), json.dumps(build_hosts(name, ports)).encode())
        self._hosts = wanted

    def _ports_behind(self, service: Object) -> tuple[tuple[int, int], ...]:
        """Name the ports of each ready pod: the one for traffic, and the one that tells whether it is ready."""
        selector, port = service["spec"]["selector"], service["spec"]["ports"][0]["port"]
        return tuple(
            sorted(
                (pod.launch.ports[port], pod.launch.ports[names.MANAGEMENT_PORT])
                for pod in self.pods(namespace=service["metadata"]["namespace"])
                if pod.launch and pod.is_ready and not is_terminating(pod.body)
                if selector.items() <= pod.body["metadata"]["labels"].items()
            )
        )


def _owner(body: Mapping[str, Any]) -> str:
    return str(body["metadata"]["ownerReferences"][0]["uid"])


def _attempt(pod: Pod) -> Attempt:
    index = int(pod.body["metadata"]["annotations"].get(INDEX_ANNOTATION, 0))
    is_ending = is_terminating(pod.body)
    if not pod.has_ended:
        return Attempt(name=pod.name, index=index, is_ending=is_ending)
    told = pod.body["status"]["containerStatuses"][0]["state"]["terminated"]
    ended_at = datetime.fromisoformat(told["finishedAt"])
    return Attempt(name=pod.name, index=index, exit_code=told["exitCode"], ended_at=ended_at, is_ending=is_ending)
