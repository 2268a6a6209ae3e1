"""The rules of kstatus (sigs.k8s.io/cli-utils/pkg/kstatus/status/generic.go), by which Helm and Flux judge any object."""

from collections.abc import Mapping
from typing import Any


def kstatus(body: Mapping[str, Any]) -> str:
    """Say what kstatus makes of an object: Terminating, InProgress, Failed or Current."""
    metadata, status = body["metadata"], body.get("status", {})
    if "deletionTimestamp" in metadata:
        return "Terminating"
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return "InProgress"
    told = {condition["type"]: condition["status"] for condition in status.get("conditions", [])}
    if told.get("Reconciling") == "True":
        return "InProgress"
    if told.get("Stalled") == "True":
        return "Failed"
    return "Current" if told.get("Ready", "True") == "True" else "InProgress"
