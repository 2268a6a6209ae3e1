"""What an instance shows of itself, as one JSON document: for the terminal view, ``mep get`` and every other command."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from modelendpoint.local.events import Event
from modelendpoint.local.latency import percentile
from modelendpoint.local.objects import Object, ObjectStore
from modelendpoint.local.pods import LOG_FILE, Pod
from modelendpoint.local.ports import TrafficPorts
from modelendpoint.local.relocation import LOOPBACK
from modelendpoint.local.state import StateFolder
from modelendpoint_operator import names
from modelendpoint_operator.adapters.envoy import ClusterStats, RouterStatusReader
from modelendpoint_operator.adapters.reduction import is_router, is_terminating


def build_snapshot(
    store: ObjectStore,
    pods: Sequence[Pod],
    events: Sequence[Event],
    *,
    ports: TrafficPorts,
    state: StateFolder,
    as_written: Callable[[str], str],
) -> dict[str, Any]:
    """Show endpoints and batch predictions as the API server would, the pods behind them, and the last Events."""
    document = {
        "stateFolder": str(state.root),
        "endpoints": [
            _endpoint(body, _pods_of(body, names.LABEL_ENDPOINT, pods), ports) for body in store.list_all(names.KIND)
        ],
        "batches": [
            {"object": body, "pods": [_pod(pod) for pod in _pods_of(body, names.LABEL_BATCH, pods)]}
            for body in store.list_all(names.BATCH_KIND)
        ],
        "events": [asdict(event) for event in events],
    }
    # Copies of model files are called by the names that people know.
    shown: dict[str, Any] = json.loads(as_written(json.dumps(document, default=str)))
    return shown


def _endpoint(body: Object, pods: Sequence[Pod], ports: TrafficPorts) -> dict[str, Any]:
    metadata = body["metadata"]
    url = f"http://{LOOPBACK}:{ports.choose(metadata['namespace'], metadata['name'])}"
    status = {**body.get("status", {}), "url": url}
    return {
        "object": {**body, "status": status},
        "url": url,
        "pods": [_pod(pod) for pod in pods],
        "counters": _counters(pods),
    }


def _pods_of(body: Object, label: str, pods: Sequence[Pod]) -> list[Pod]:
    metadata = body["metadata"]
    key = (metadata["namespace"], metadata["name"])
    return [
        pod for pod in pods if (pod.body["metadata"]["namespace"], pod.body["metadata"]["labels"].get(label)) == key
    ]


def _pod(pod: Pod) -> dict[str, Any]:
    metadata = pod.body["metadata"]
    number = metadata["labels"].get(names.LABEL_REVISION)
    return {
        "name": pod.name,
        "component": metadata["labels"][names.LABEL_COMPONENT],
        "revision": int(number) if number else None,
        "ready": pod.is_ready and not is_terminating(pod.body),
        "ending": is_terminating(pod.body),
        "restarts": pod.restarts,
        "exitCode": pod.exit_code,
        "pid": pod.pid,
        "ports": {str(port): here for port, here in pod.launch.ports.items()} if pod.launch else {},
        "log": str(pod.folder / LOG_FILE),
    }


def _counters(pods: Sequence[Pod]) -> dict[str, Any]:
    """Ask the router what it has counted for each revision since it started."""
    router = next((pod for pod in pods if is_router(pod.body) and pod.is_ready and pod.launch), None)
    if router is None or router.launch is None:
        return {}
    port = router.launch.ports[names.ROUTER_STATUS_PORT]
    stats = RouterStatusReader(port=port).read(LOOPBACK)
    if stats is None:
        return {}
    return {str(number): _counter(counted) for number, counted in stats.clusters.items()}


def _counter(counted: ClusterStats) -> Mapping[str, Any]:
    return {
        "answers": counted.answers,
        "answers4xx": counted.answers_4xx,
        "answers5xx": counted.answers_5xx,
        "p50Milliseconds": percentile(counted.latency, 50),
        "p99Milliseconds": percentile(counted.latency, 99),
    }
