"""Starts the operator: environment, logs, Lease, then kopf until it is told to end. The only reader of the environment."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import kopf
import structlog

from modelendpoint_operator.adapters.api_server import BATCH_PREDICTIONS, ENDPOINTS, ApiServer, connect
from modelendpoint_operator.adapters.batches import KubernetesBatches
from modelendpoint_operator.adapters.checks import CheckRunner
from modelendpoint_operator.adapters.cluster import KubernetesCluster, Probes
from modelendpoint_operator.adapters.doorbell import Doorbell
from modelendpoint_operator.adapters.envoy import RouterStatusReader
from modelendpoint_operator.adapters.leases import LeaseStore
from modelendpoint_operator.adapters.notes import EventWriter
from modelendpoint_operator.adapters.reports import ReportReader
from modelendpoint_operator.batch_reconciler import BatchReconciler
from modelendpoint_operator.elector import Elector
from modelendpoint_operator.handlers.events import build_registry
from modelendpoint_operator.handlers.keys import Key
from modelendpoint_operator.handlers.workers import Reconciles, Resync, Workers
from modelendpoint_operator.health import HealthServer
from modelendpoint_operator.reconciler import Reconciler, utc_now
from modelendpoint_operator.settings import Settings, SettingsError
from modelendpoint_operator.telemetry import Telemetry
from modelendpoint_operator.watchdog import Watchdog
from modelendpoint_operator.workqueue import WorkQueue

PROBES_AT_ONCE = 16
"""Router and server pods that are asked at the same time."""

_log = structlog.get_logger()


def main(environment: Mapping[str, str]) -> int:
    """Run the operator; return the exit code."""
    try:
        settings = Settings.from_environment(environment)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    configure_logs(settings)
    api = ApiServer(connect())
    watchdog: Watchdog[Key] = Watchdog()
    telemetry = Telemetry()
    health = HealthServer(settings.port, is_healthy=lambda: not watchdog.is_silent(), registry=telemetry.registry)
    health.start()
    leases = LeaseStore(api, namespace=settings.lease_namespace, name=settings.lease_name)
    elector = Elector(leases, identity=settings.identity, now=utc_now)
    stop = _stop_on_signals(elector)
    if not elector.win():
        return 0
    _log.info("Won the Lease", identity=settings.identity)
    telemetry.leader.set(1)
    keeper = threading.Thread(target=elector.keep, kwargs={"lost": _die}, name="elector", daemon=True)
    keeper.start()
    run(settings, api, watchdog, telemetry, stop)
    elector.stop()
    keeper.join()
    elector.release()
    _log.info("Ended")
    return 0


def run(
    settings: Settings, api: ApiServer, watchdog: Watchdog[Key], telemetry: Telemetry, stop: threading.Event
) -> None:
    """Watch and work until told to stop."""
    queue: WorkQueue[Key] = WorkQueue()
    telemetry.watch_queue(queue.backlog)
    with ThreadPoolExecutor(max_workers=PROBES_AT_ONCE, thread_name_prefix="probe") as pool:
        doorbell = Doorbell(
            RouterStatusReader(),
            lambda namespace, name: queue.add(Key(ENDPOINTS.kind, namespace, name)),
            pool=pool,
        )
        cluster = KubernetesCluster(
            api,
            probes=Probes(routers=RouterStatusReader(), reports=ReportReader(), checks=CheckRunner(settings)),
            doorbell=doorbell,
            pool=pool,
            reporter=settings.identity,
        )
        events = EventWriter(api, reporter=settings.identity)
        batches = KubernetesBatches(api, reports=ReportReader(), events=events, pool=pool)
        reconcilers: dict[str, Reconciles] = {
            ENDPOINTS.kind: Reconciler(cluster, settings, audience=telemetry.fleet),
            BATCH_PREDICTIONS.kind: BatchReconciler(batches, settings),
        }
        workers = Workers(queue, reconcilers, telemetry, count=settings.workers)
        resync = Resync(
            queue, watchdog, list_versions=lambda: list_versions(api, settings), seconds=settings.resync_seconds
        )
        workers.start()
        resync.start()
        doorbell.start()
        # In a thread of its own: kopf can take long to end, and by then another pod shall have the Lease.
        watch = threading.Thread(target=_watch, args=(settings, queue, watchdog), name="kopf", daemon=True)
        watch.start()
        stop.wait()
        doorbell.stop()
        resync.stop()
        queue.close()
        workers.join(timeout=20)


def _watch(settings: Settings, queue: WorkQueue[Key], watchdog: Watchdog[Key]) -> None:
    """Watch for ever. An end of it, with an error or without one, ends the process: Kubernetes starts it anew."""
    try:
        kopf.run(
            registry=build_registry(queue, watchdog),
            standalone=True,
            clusterwide=not settings.watch_namespaces,
            namespaces=settings.watch_namespaces,
        )
    except Exception as error:  # noqa: BLE001
        _log.error("Watching failed", exc_info=error)
    os._exit(1)


def list_versions(api: ApiServer, settings: Settings) -> dict[Key, str]:
    """List all endpoints and BatchPredictions with the version that each has now."""
    namespaces: tuple[str | None, ...] = settings.watch_namespaces or (None,)
    return {
        Key(resource.kind, body["metadata"]["namespace"], body["metadata"]["name"]): body["metadata"]["resourceVersion"]
        for resource in (ENDPOINTS, BATCH_PREDICTIONS)
        for namespace in namespaces
        for body in api.list(resource, namespace)
    }


def configure_logs(settings: Settings) -> None:
    """Write log lines to stdout, kopf's own ones only when they warn."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    as_json = settings.log_format == "json"
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if as_json else []),
            renderer,
        ],
    )
    # It warns that it is not in the main thread and leaves signals alone, which is what we want.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stdout, format="%(levelname)s %(name)s %(message)s"
    )


def _stop_on_signals(elector: Elector) -> threading.Event:
    """End on SIGTERM and SIGINT, also while waiting for the Lease."""
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        elector.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop


def _die() -> None:
    """End at once: another pod may hold the Lease already, and nothing may be written from now on."""
    _log.error("Lost the Lease")
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(os.environ))
