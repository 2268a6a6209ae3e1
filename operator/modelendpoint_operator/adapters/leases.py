"""The operator's Lease in the API server."""

from typing import Any

from modelendpoint_operator.adapters.api_server import LEASES, ApiServer


class LeaseStore:
    """Reads and writes one Lease, and never over somebody else's change."""

    def __init__(self, api: ApiServer, *, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    def read(self) -> dict[str, Any] | None:
        """Read the Lease; None when there is none."""
        return self._api.get(LEASES, self._namespace, self._name)

    def create(self, spec: dict[str, Any]) -> bool:
        """Create it; False when somebody else was quicker."""
        return self._api.create(LEASES, self._namespace, self._manifest(spec)) is not None

    def replace(self, lease: dict[str, Any], spec: dict[str, Any]) -> bool:
        """Replace what was read; False when somebody else was quicker."""
        manifest = self._manifest(spec)
        manifest["metadata"]["resourceVersion"] = lease["metadata"]["resourceVersion"]
        return self._api.replace(LEASES, manifest) is not None

    def _manifest(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": spec,
        }
