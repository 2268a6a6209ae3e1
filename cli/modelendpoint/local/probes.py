"""The probes of a container, asked as the kubelet asks them. What follows from an answer must not be here."""

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelendpoint.local.relocation import LOOPBACK


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One probe of a container."""

    port: int
    path: str | None
    """None for a probe that only connects."""
    period_seconds: float
    timeout_seconds: float
    failure_threshold: int
    initial_delay_seconds: float

    def ask(self) -> bool:
        """Ask now."""
        try:
            return self._connect() if self.path is None else self._get(self.path)
        except (OSError, http.client.HTTPException):
            return False

    def _connect(self) -> bool:
        with socket.create_connection((LOOPBACK, self.port), timeout=self.timeout_seconds):
            return True

    def _get(self, path: str) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=self.timeout_seconds)
        try:
            connection.request("GET", path)
            return 200 <= connection.getresponse().status < 400
        finally:
            connection.close()


def read_probe(container: Mapping[str, Any], name: str, ports: Mapping[int, int]) -> Probe | None:
    """Read a probe of a container's manifest, with Kubernetes' own defaults; None when there is none."""
    given = container.get(name)
    if not given:
        return None
    action = given.get("httpGet") or given["tcpSocket"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    return Probe(
        port=ports[named[action["port"]]],
        path=action.get("path"),
        period_seconds=given.get("periodSeconds", 10),
        timeout_seconds=given.get("timeoutSeconds", 1),
        failure_threshold=given.get("failureThreshold", 3),
        initial_delay_seconds=given.get("initialDelaySeconds", 0),
    )
