"""What a pod is told, rewritten for one machine: its own ports of loopback, its own folders, lists of hosts for DNS.

This is all in which a process here differs from a container. Pure: nothing is read or written.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from modelendpoint_operator import names
from modelendpoint_operator.manifests.router import drain_command
from modelendpoint_operator.manifests.xds import Document, address, discovery

LOOPBACK = "127.0.0.1"
MOUNTS = "mounts"
"""Folder of a pod that stands for the root of its container's file system."""

ROUTER_DIRS = (names.ROUTER_CONFIG_DIR, names.KEYS_DIR, names.JWKS_DIR)
"""Folders of a router's container."""

COPIES = "pvc://local-copies/"
"""Start of the URI of a model file that was copied into the state folder. The API accepts no ``file://``."""
FILES = "pvc://local-files/"
"""Start of the URI of a file that is read, or a folder that is written, where it is; what follows is its path, quoted,
without the first slash."""

_TYPE_EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one pod is on this machine."""

    folder: Path
    """Its own folder."""
    ports: Mapping[int, int]
    """This machine's port for each port that the pod listens on."""
    hosts: Path
    """Folder of the lists of hosts, one file for each headless Service."""
    copies: Path
    """Folder of the copied model files."""

    def path(self, path: str) -> Path:
        """Find the folder that stands for a path of the container."""
        return self.folder / MOUNTS / path.strip("/")


def relocate_environment(given: Mapping[str, str], place: Place) -> dict[str, str]:
    """Rewrite the environment of a model server's container."""
    ports = {names.ENV_PORT, names.ENV_MANAGEMENT_PORT}
    moved = {name: str(place.ports.get(int(value), value)) if name in ports else value for name, value in given.items()}
    moved = {name: relocate_value(value, place) for name, value in moved.items()}
    return moved | {
        "MODELENDPOINT_HOST": LOOPBACK,
        "MODELENDPOINT_REVISION_DIR": str(place.path(names.DIGEST_DIR)),
        "MODELENDPOINT_CREDENTIALS_DIR": str(place.path(names.CREDENTIALS_DIR)),
        "MODELENDPOINT_CONFIGMAP_DIR": str(place.path(names.CONFIGMAP_DIR)),
        "MODELENDPOINT_LOG_FORMAT": "text",
        # A store on this machine is as good as any: whoever writes the YAML starts the server.
        "MODELENDPOINT_REFUSED_NETWORKS": "",
    }


def relocate_value(value: str, place: Place) -> str:
    """Rewrite one value: the model's folder, and URIs that stand for files of this machine."""
    if value == names.MODEL_DIR:
        return str(place.path(names.MODEL_DIR))
    if value.startswith(COPIES):
        return f"file://{place.copies}/{value.removeprefix(COPIES)}"
    return f"file:///{unquote(value.removeprefix(FILES))}" if value.startswith(FILES) else value


def relocate_arguments(arguments: Sequence[str], place: Place) -> list[str]:
    """Rewrite the arguments of a router's container."""
    return [_relocate_path(argument, place) for argument in arguments]


def relocate_hook(hook: Mapping[str, Any], place: Place, *, seconds: int) -> list[str] | None:
    """Rewrite what runs before a router ends; None when nothing does."""
    if "exec" not in hook:
        return None
    return drain_command(drain_seconds=seconds, admin_port=place.ports[names.ROUTER_ADMIN_PORT])


def relocate_document(part: Any, place: Place) -> Any:
    """Rewrite one of Envoy's documents: addresses, paths, and clusters whose hosts the DNS of a cluster would tell."""
    if isinstance(part, Mapping):
        if "socket_address" in part:
            return _relocate_address(part, place)
        if "cluster_type" in part:
            return _with_listed_hosts(part, place)
        moved = {key: relocate_document(value, place) for key, value in part.items()}
        # Where the kernel shares a port out, the next router takes it over without a gap.
        return moved | {"enable_reuse_port": shares_ports()} if part.get("name") == "traffic" else moved
    if isinstance(part, list):
        return [relocate_document(item, place) for item in part]
    return _relocate_path(part, place) if isinstance(part, str) else part


def _relocate_address(part: Mapping[str, Any], place: Place) -> Document:
    port = part["socket_address"]["port_value"]
    return {"socket_address": {"address": LOOPBACK, "port_value": place.ports[port]}}


def _with_listed_hosts(cluster: Mapping[str, Any], place: Place) -> Document:
    """Let a cluster take its hosts from a file: an update of it leaves the other connections alone, as DNS does."""
    kept = {key: value for key, value in cluster.items() if key not in ("cluster_type", "load_assignment")}
    source = {
        "path": str(hosts_file(place.hosts, cluster["name"])),
        "watched_directory": {"path": str(place.hosts)},
    }
    config = {"resource_api_version": "V3", "path_config_source": source}
    return {**kept, "type": "EDS", "eds_cluster_config": {"eds_config": config}}


def _relocate_path(text: str, place: Place) -> str:
    folder = next((folder for folder in ROUTER_DIRS if text.startswith(f"{folder}/") or text == folder), None)
    return text if folder is None else str(place.path(folder)) + text.removeprefix(folder)


def shares_ports() -> bool:
    """Say whether two processes can listen on one port and both get connections: Linux only."""
    return sys.platform == "linux"


def hosts_file(folder: Path, service: str) -> Path:
    """Name the file with the hosts of a headless Service."""
    return folder / f"{service}.json"


def build_hosts(service: str, ports: Sequence[tuple[int, int]]) -> Document:
    """Build the list of hosts that stands for the DNS record of a headless Service.

    Each is the port for traffic and the one at which the router asks whether the server is ready.
    """
    hosts = [
        {"endpoint": {"address": address(LOOPBACK, traffic), "health_check_config": {"port_value": management}}}
        for traffic, management in sorted(ports)
    ]
    return discovery([{"@type": _TYPE_EDS, "cluster_name": service, "endpoints": [{"lb_endpoints": hosts}]}])
