"""Watch events of endpoints and of their children, registered with kopf."""

from collections.abc import Mapping
from typing import Any

import kopf

from modelendpoint_operator import names
from modelendpoint_operator.adapters.api_server import CHILDREN, PODS
from modelendpoint_operator.watchdog import Watchdog
from modelendpoint_operator.workqueue import WorkQueue

Key = tuple[str, str]
"""Namespace and name of an endpoint."""


def build_registry(queue: WorkQueue[Key], watchdog: Watchdog) -> kopf.OperatorRegistry:
    """Register what to watch."""
    registry = kopf.OperatorRegistry()

    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)

    async def on_endpoint(event: kopf.RawEvent, **_: Any) -> None:
        metadata = event["object"]["metadata"]
        key = (metadata["namespace"], metadata["name"])
        is_gone = event["type"] == "DELETED"
        watchdog.heard(key, None if is_gone else metadata["resourceVersion"])
        queue.add(key)

    async def on_child(event: kopf.RawEvent, **_: Any) -> None:
        key = _parent(event["object"]["metadata"])
        if key is not None:
            queue.add(key)

    # A registry of one's own knows no way to log in; by the official client, the watches do as all other requests do.
    kopf.on.login(registry=registry)(kopf.login_via_client)
    kopf.on.startup(registry=registry)(configure)
    kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)(on_endpoint)
    for resource in (*CHILDREN, PODS):
        labels = {names.LABEL_MANAGED_BY: names.FIELD_MANAGER}
        kopf.on.event(resource.api_version, resource.plural, labels=labels, registry=registry)(on_child)
    return registry


def _parent(metadata: Mapping[str, Any]) -> Key | None:
    endpoint = metadata.get("labels", {}).get(names.LABEL_ENDPOINT)
    return (metadata["namespace"], endpoint) if endpoint else None


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.posting.enabled = False
    settings.peering.standalone = True
    # A watch that ends silently is noticed by kopf (bookmarks, 70 s); these are the belt to that.
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 5
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = (0.1, 1, 2, 5, 10)
    settings.queueing.error_delays = (1, 2, 5, 10, 15)
    # Neither namespaces nor CRDs are watched: the operator has no right to, and the chart brings the CRD first.
    settings.scanning.disabled = True
