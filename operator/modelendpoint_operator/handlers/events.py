"""Watch events of endpoints, of BatchPredictions and of their children, registered with kopf."""

from collections.abc import Mapping
from typing import Any

import kopf

from modelendpoint_operator import names
from modelendpoint_operator.adapters.api_server import BATCH_PREDICTIONS, CHILDREN, ENDPOINTS, JOBS, PODS, Resource
from modelendpoint_operator.handlers.keys import Key, parent_of
from modelendpoint_operator.watchdog import Watchdog
from modelendpoint_operator.workqueue import WorkQueue


def build_registry(queue: WorkQueue[Key], watchdog: Watchdog[Key]) -> kopf.OperatorRegistry:
    """Register what to watch."""
    registry = kopf.OperatorRegistry()

    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)

    def watch(resource: Resource) -> None:
        async def on_event(event: kopf.RawEvent, **_: Any) -> None:
            metadata = event["object"]["metadata"]
            key = Key(resource.kind, metadata["namespace"], metadata["name"])
            is_gone = event["type"] == "DELETED"
            watchdog.heard(key, None if is_gone else metadata["resourceVersion"])
            queue.add(key)
            wake_parent(metadata)

        kopf.on.event(names.GROUP, names.VERSION, resource.plural, registry=registry)(on_event)

    def wake_parent(metadata: Mapping[str, Any]) -> None:
        key = parent_of(metadata)
        if key is not None:
            queue.add(key)

    async def on_child(event: kopf.RawEvent, **_: Any) -> None:
        wake_parent(event["object"]["metadata"])

    # A registry of one's own knows no way to log in; by the official client, the watches do as all other requests do.
    kopf.on.login(registry=registry)(kopf.login_via_client)
    kopf.on.startup(registry=registry)(configure)
    for resource in (ENDPOINTS, BATCH_PREDICTIONS):
        watch(resource)
    for resource in (*CHILDREN, JOBS, PODS):
        labels = {names.LABEL_MANAGED_BY: names.FIELD_MANAGER}
        kopf.on.event(resource.api_version, resource.plural, labels=labels, registry=registry)(on_child)
    return registry


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
