"""Ports of loopback: free ones, and those that endpoints keep."""

import json
import socket
import threading
from pathlib import Path

from modelendpoint.local.mounts import write_whole
from modelendpoint.local.relocation import LOOPBACK
from modelendpoint.sockets import is_free


class TrafficPorts:
    """Which endpoint has which port; the same one as long as the file is there and nobody else takes the port."""

    def __init__(self, path: Path, *, first: int) -> None:
        self._path = path
        self._first = first
        self._lock = threading.Lock()
        known: dict[str, int] = json.loads(path.read_bytes()) if path.exists() else {}
        self._chosen = {endpoint: port for endpoint, port in known.items() if is_free(LOOPBACK, port)}

    def choose(self, namespace: str, endpoint: str) -> int:
        """Name the port of an endpoint, a free one when it has none yet."""
        with self._lock:
            key = f"{namespace}/{endpoint}"
            if key not in self._chosen:
                self._chosen[key] = self._next()
                write_whole(self._path, json.dumps(self._chosen).encode())
            return self._chosen[key]

    def _next(self) -> int:
        port = self._first
        while port in self._chosen.values() or not is_free(LOOPBACK, port):
            port += 1
        return port


def free_ports(count: int) -> list[int]:
    """Find ports that nobody uses."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
