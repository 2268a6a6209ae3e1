"""Milliseconds from ``kubectl apply`` of a new weight to the word of every router that it uses it.

Needs a cluster with the operator (``hack/cluster up``, the chart) and its kubeconfig in ``KUBECONFIG``::

    PYTHONPATH=tests:operator python benchmarks/rollout/weight_latency.py [TRIES]

A candidate pauses in its first step; each try applies another weight for that step and waits for the status to say
that the routes with it are live, which the operator writes after it has read their version back from each Envoy.
"""

import secrets
import statistics
import subprocess
import sys
import time
from datetime import datetime

from support.cluster import find
from support.endpoints import Endpoint
from support.installation import install


def main(tries: int, name: str) -> None:
    """Measure and print."""
    cluster = find(name)
    install(cluster)
    namespace = f"bench-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    try:
        endpoint = Endpoint(cluster, namespace).create_models()
        endpoint.apply("1", rollout=paused_at(10)).wait().apply("2").wait_for_phase("Paused")
        report([measure(endpoint, weight=11 + number) for number in range(tries)])
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def paused_at(weight: int) -> dict[str, object]:
    """Build a rollout that pauses at a weight."""
    return {"steps": [{"weight": weight, "pause": True}]}


def measure(endpoint: Endpoint, *, weight: int) -> float:
    """Apply a weight; return the milliseconds until the routers used it, by the operator's own time stamp."""
    started = time.time()
    endpoint.apply(rollout=paused_at(weight))
    applied = time.time()
    endpoint.wait_until(lambda: endpoint.status.get("candidate", {}).get("weight") == weight, 30)
    live = datetime.fromisoformat(endpoint.status["routes"]["liveSince"]).timestamp()
    print(f"weight {weight}: kubectl {1000 * (applied - started):.0f} ms, live after {1000 * (live - started):.0f} ms")
    return 1000 * (live - started)


def report(milliseconds: list[float]) -> None:
    """Print the figures, and on which machine they were taken."""
    load = (
        subprocess.run(["uptime"], capture_output=True, text=True, check=True).stdout.split("load average:")[1].strip()
    )
    print(
        f"N={len(milliseconds)} median={statistics.median(milliseconds):.0f} ms max={max(milliseconds):.0f} ms "
        f"(load average {load})"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, sys.argv[2] if len(sys.argv) > 2 else "demo")
