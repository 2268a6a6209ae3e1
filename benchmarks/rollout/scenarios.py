"""Updates, orders and faults under load, each with what it cost: requests, failures, time to a verdict, time to weight 0.

Needs a local cluster with images, and installs the operator itself::

    hack/cluster up --name bench && hack/cluster images --name bench
    PYTHONPATH=tests:operator:cli python benchmarks/rollout/scenarios.py --cluster bench [--runs 3] [--only WORD …] [--out FILE]

Every answer is compared with what the revision that claims to have made it computes; an answer that is late, wrong or
missing has failed. Failures of a candidate that fails by itself are its own share, and counted apart.
"""

import argparse
import dataclasses
import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from modelendpoint.load_rig import LoadResult
from support.cluster import Cluster, find
from support.endpoints import RESOURCES, Endpoint
from support.installation import DRAIN_SECONDS, HOME, install, wait_for_operator
from support.load_run import LoadRun, under_load

RATE = 100
STEPS = [{"weight": 10, "holdSeconds": 3}, {"weight": 50, "holdSeconds": 3}]
LONG = [{"weight": 10, "holdSeconds": 600}]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one run of a scenario."""

    scenario: str
    requests: int
    failed: int
    own: int
    """Failures that the failing candidate answered itself."""
    to_verdict: float | None
    """Seconds from the candidate's first answer to the verdict."""
    to_zero: float | None
    """Seconds from the verdict until every router had taken up the routes without the candidate."""
    note: str


Act = Callable[[Endpoint, LoadRun], None]


def forth_and_back(**rollout: Any) -> Act:
    """Update to version 2, and apply version 1 again."""

    def act(endpoint: Endpoint, run: LoadRun) -> None:
        endpoint.apply("2", rollout=rollout).wait()
        endpoint.apply("1").wait()

    return act


def blue_green(endpoint: Endpoint, run: LoadRun) -> None:
    """Switch to version 2, and order the way back."""
    endpoint.apply("2", rollout={"strategy": "BlueGreen", "keepSeconds": 120}).wait()
    endpoint.annotate("rollback-to", "1")
    endpoint.wait_until(lambda: serves(endpoint, 1))


def edits(endpoint: Endpoint, run: LoadRun) -> None:
    """At 50 % of version 2 apply version 3, a second later a fourth one, and then version 1 again."""
    endpoint.apply("2", rollout={"steps": [{"weight": 50, "pause": True}]}).wait_for_phase("Paused")
    endpoint.apply("3")
    time.sleep(1)
    endpoint.apply("2", revisionHistoryLimit=5)
    time.sleep(1)
    endpoint.apply("1").wait()
    endpoint.wait_until(lambda: endpoint.deployments() == {"churn-r1", "churn-router"})


def abort_at(weight: int) -> Act:
    """Abort in a step."""

    def act(endpoint: Endpoint, run: LoadRun) -> None:
        endpoint.apply("2", rollout={"steps": [{"weight": weight, "pause": True}]}).wait_for_phase("Paused")
        endpoint.annotate("abort", "2")
        endpoint.wait("Stalled")
        endpoint.wait_until(lambda: endpoint.deployments() == {"churn-r1", "churn-router"})

    return act


def fails(percent: int, *, weight: int = 20, allowed: float = 2) -> Act:
    """Roll out a candidate that fails for a share of the requests."""

    def act(endpoint: Endpoint, run: LoadRun) -> None:
        gates = {"errorRate": {"maxIncreasePercent": allowed}}
        rollout = {"steps": [{"weight": weight, "holdSeconds": 600}], "gates": gates}
        endpoint.apply(f"fails-{percent}", rollout=rollout).wait("Stalled", seconds=280)
        endpoint.wait_until(lambda: serves(endpoint, 1))

    return act


def slower(endpoint: Endpoint, run: LoadRun) -> None:
    """Roll out a candidate that is slower by more than 200 ms."""
    gates = {"latency": {"percentile": 50, "maxIncreaseMilliseconds": 50}}
    endpoint.apply("slow", rollout={"steps": LONG, "gates": gates}).wait("Stalled", seconds=280)
    endpoint.wait_until(lambda: serves(endpoint, 1))


def never_ready(endpoint: Endpoint, run: LoadRun) -> None:
    """Roll out a file that is no model."""
    endpoint.apply("corrupt").wait("Stalled")
    time.sleep(10)


def no_room_for_promotion(endpoint: Endpoint, run: LoadRun) -> None:
    """Promote a candidate whose further pods fit on no node; then make room."""
    greedy = {"resources": RESOURCES | {"requests": {"cpu": "700m", "memory": "96Mi"}}}
    steps = [{"weight": 30, "holdSeconds": 1}]
    endpoint.apply("2", rollout={"steps": steps}, replicas=3, server=greedy)
    endpoint.wait_until(lambda: endpoint.status.get("rollout", {}).get("phase") in ("Promoting", "Deploying"))
    time.sleep(20)
    endpoint.apply("2", server={"resources": RESOURCES}).wait(seconds=240)


def router_deleted(endpoint: Endpoint, run: LoadRun) -> None:
    """Delete both router pods, one after the other, in mid-rollout."""
    endpoint.apply("2", rollout={"steps": LONG}).wait_for_phase("Holding")
    kubectl, where = endpoint.cluster.kubectl, ("-n", endpoint.namespace)
    for pod in pods_of(endpoint, "router"):
        kubectl("delete", *where, f"pod/{pod}", "--wait=false")
        kubectl("rollout", "status", *where, "deployment/churn-router", "--timeout=120s")
        endpoint.wait_until(lambda: endpoint.status["routes"].get("liveSince"))
    endpoint.annotate("promote-full", "2")
    endpoint.wait()


def servers_killed(endpoint: Endpoint, run: LoadRun) -> None:
    """Delete the server pods, one after the other, as an eviction does. A single one needs the drain that users have:
    it must serve on until the routers' DNS has heard of the next."""
    kubectl, where = endpoint.cluster.kubectl, ("-n", endpoint.namespace)
    for pod in pods_of(endpoint, "model-server"):
        kubectl("delete", *where, f"pod/{pod}")
        kubectl("rollout", "status", *where, "deployment/churn-r1", "--timeout=120s")
        # Until the routers' DNS has heard of the new one too.
        time.sleep(6)


def operator_killed(endpoint: Endpoint, run: LoadRun) -> None:
    """Kill the operator every 20 seconds, three times in each of two rollouts, which must end all the same.

    The next one may not act before the Lease of the one that was killed has been silent for 15 s: there is little time
    between two kills, and on a busy machine none.
    """
    steps = [{"weight": 10, "holdSeconds": 15}, {"weight": 50, "holdSeconds": 15}]
    for version in ("2", "3"):
        endpoint.apply(version, rollout={"steps": steps})
        for _ in range(3):
            selector = "app.kubernetes.io/component=operator"
            endpoint.cluster.kubectl("delete", "pod", "-n", HOME, "-l", selector, "--grace-period=0", "--force")
            time.sleep(20)
        wait_for_operator(endpoint.cluster)
        endpoint.wait(seconds=180)
        assert endpoint.status["stable"]["version"] == version, endpoint.status


def api_server_stopped(endpoint: Endpoint, run: LoadRun) -> None:
    """Stop the API server for 60 s in mid-rollout, and let the rollout end."""
    endpoint.apply("2", rollout={"steps": [{"weight": 20, "holdSeconds": 10}]}).wait_for_phase("Holding")
    with stopped_api_server(endpoint.cluster):
        time.sleep(60)
    endpoint.wait_until(lambda: serves(endpoint, 2), 180)


SCENARIOS: Mapping[str, tuple[Act, dict[str, Any]]] = {
    "Canary, forth and back": (forth_and_back(steps=STEPS), {}),
    "BlueGreen, forth and back": (blue_green, {}),
    "Replace, forth and back": (forth_and_back(strategy="Replace"), {}),
    "A to B at 50 %, C, D a second later, back to A": (edits, {}),
    "abort at 10 %": (abort_at(10), {}),
    "abort at 50 %": (abort_at(50), {}),
    "abort at 100 %": (abort_at(100), {}),
    "candidate fails 100 % (weight 20)": (fails(100), {}),
    "candidate fails 20 % (weight 20)": (fails(20), {}),
    "candidate fails 5 % (weight 50, 1 point allowed)": (fails(5, weight=50, allowed=1), {}),
    "candidate slower by 200 ms and more (10 requests/s)": (slower, {"rate": 10}),
    "candidate is no model": (never_ready, {}),
    "no room for the promoted revision's pods": (no_room_for_promotion, {"replicas": 3}),
    "router pods deleted in mid-rollout": (router_deleted, {}),
    "server pods deleted (2 replicas)": (servers_killed, {"replicas": 2}),
    "the only server pod deleted": (servers_killed, {}),
    "operator killed every 20 s": (operator_killed, {}),
    "API server stopped for 60 s": (api_server_stopped, {}),
}


def serves(endpoint: Endpoint, revision: int) -> bool:
    """Say whether a revision is stable and has all the traffic."""
    stable = endpoint.status.get("stable", {})
    return (stable.get("revision"), stable.get("weight")) == (revision, 100)


def pods_of(endpoint: Endpoint, component: str) -> list[str]:
    """Name an endpoint's pods."""
    label = "app.kubernetes.io/component"
    pods = [child for child in endpoint.children() if child["kind"] == "Pod"]
    return [pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"][label] == component]


@contextmanager
def stopped_api_server(cluster: Cluster) -> Iterator[None]:
    """Stop the process of a local node's API server; connections to it hang."""
    node = json.loads((cluster.kubeconfig.parent / "process.json").read_text())["pid"]
    server = next(pid for pid in descendants(node) if Path(f"/proc/{pid}/comm").read_text().strip() == "kube-apiserver")
    os.kill(server, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server, signal.SIGCONT)


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below one."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            yield child
            yield from descendants(child)


def play(cluster: Cluster, name: str) -> Outcome:
    """Play a scenario once, in a namespace of its own."""
    act, settings = SCENARIOS[name]
    namespace = f"bench-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    try:
        endpoint = Endpoint(cluster, namespace).create_models().apply("1", replicas=settings.get("replicas", 1)).wait()
        plan = endpoint.load_plan(rate=settings.get("rate", RATE), seconds=400)
        with under_load(cluster.kubectl, plan, namespace=namespace) as run:
            act(endpoint, run)
            result = run.stop()
        return outcome_of(name, endpoint, result)
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def outcome_of(name: str, endpoint: Endpoint, result: LoadResult) -> Outcome:
    """Reduce what was seen to one row."""
    status = endpoint.status
    own = result.by_status.get("400", 0) if "fails" in name else 0
    strangers = [failed for failed in result.first_failures if failed.headers.get("x-model-revision") != "2"]
    verdict = next((entry for entry in status.get("decisions", []) if entry["verdict"] == "Fail"), None)
    to_verdict = to_zero = None
    if verdict is not None:
        told = moment(verdict["time"])
        began = next(
            (moment(event["eventTime"]) for event in events(endpoint) if event["reason"] == "WeightShifted"), None
        )
        to_verdict = told - began if began else None
        to_zero = moment(status["routes"]["liveSince"]) - told
    note = str(strangers[0]) if strangers else ""
    return Outcome(
        scenario=name,
        requests=result.sent,
        failed=result.failed - own,
        own=own,
        to_verdict=to_verdict,
        to_zero=to_zero,
        note=note,
    )


def events(endpoint: Endpoint) -> list[dict[str, Any]]:
    """List the Events about the endpoint."""
    return list(endpoint.cluster.get("events.events.k8s.io", namespace=endpoint.namespace))


def moment(text: str) -> float:
    """Read a time."""
    return datetime.fromisoformat(text).timestamp()


def table(outcomes: list[Outcome]) -> str:
    """Write one row for each scenario."""
    columns = (
        "scenario",
        "runs",
        "requests",
        "failed",
        "answered with an error by the failing candidate",
        "s to the verdict",
        "s from the verdict to weight 0",
    )
    lines = [f"| {' | '.join(columns)} |", "|---|---:|---:|---:|---:|---:|---:|"]
    for name in dict.fromkeys(outcome.scenario for outcome in outcomes):
        runs = [outcome for outcome in outcomes if outcome.scenario == name]
        sums = [sum(getattr(run, field) for run in runs) for field in ("requests", "failed", "own")]
        times = [text_of([getattr(run, field) for run in runs]) for field in ("to_verdict", "to_zero")]
        lines.append(f"| {name} | {len(runs)} | {sums[0]:,} | {sums[1]} | {sums[2]} | {times[0]} | {times[1]} |")
    return "\n".join(lines) + "\n"


def text_of(seconds: list[float | None]) -> str:
    """Write the median, and the longest."""
    known = [each for each in seconds if each is not None]
    return f"{statistics.median(known):.1f} (max {max(known):.1f})" if known else ""


def main() -> int:
    """Play what was asked for, and write the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", default="bench")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[""], help="scenarios whose name has one of these words")
    parser.add_argument("--drain-seconds", type=int, default=DRAIN_SECONDS, help="drainSeconds of the chart")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    cluster = find(chosen.cluster)
    install(cluster, "--set", f"drainSeconds={chosen.drain_seconds}")
    outcomes: list[Outcome] = []
    broken = 0
    for number in range(chosen.runs):
        for name in SCENARIOS:
            if not any(word in name for word in chosen.only):
                continue
            try:
                outcomes.append(play(cluster, name))
            except (AssertionError, subprocess.SubprocessError) as error:
                broken += 1
                print(f"run {number + 1}: {name}: did not come to its end: {error}", file=sys.stderr, flush=True)
                continue
            print(f"run {number + 1}: {outcomes[-1]}", flush=True)
            if chosen.out:
                chosen.out.write_text(table(outcomes))
    print(table(outcomes) + f"\nLoad average {os.getloadavg()[0]:.1f}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
