"""The same faulty model, rolled out by ModelEndpoint, by Flagger and by Argo Rollouts; who finds it, and at what price?

    hack/cluster up --name peers && hack/cluster images --name peers
    PYTHONPATH=hack:tests:operator:cli .venv/bin/python benchmarks/rollout/peers/run.py --tool ours --runs 5

Each run sends requests at a constant rate from before the update until after the way back, compares every answer, and
adds a line to results.jsonl. Needs a cluster of its own: it installs things that may do anything there.
"""

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import argo
import flagger
import ours
from workload import NAMESPACE, Fault, load_plan, models

from modelendpoint.load_rig import LoadResult
from support.cluster import Cluster, find, run_hack_cluster
from support.load_run import under_load
from tools import ensure_image

ADAPTERS = {"ours": ours, "flagger": flagger, "argo": argo}
STEADY_SECONDS = 4
AFTERWARDS_SECONDS = 12
"""How long requests go on after the tool has given the update up: it takes effect a little later."""
RESULTS = Path(__file__).with_name("results.jsonl")


def main() -> None:
    """Run what is asked for."""
    options = _options()
    tool = ADAPTERS[options.tool]
    cluster = find(options.cluster)
    _make_namespace(cluster)
    for needed in tool.TOOLS:
        run_hack_cluster("load", str(ensure_image(needed)), "--name", options.cluster)
    rollouts = tool.Rollouts(cluster, replicas=options.replicas)
    rollouts.install()
    rollouts.deploy()
    revision = 1
    for number in range(options.runs):
        for percent in options.faults:
            revision += 1
            line = measure(cluster, rollouts, tool.URL, revision=revision, percent=percent, options=options)
            line = {"tool": tool.NAME, "run": number + 1, **line}
            print(json.dumps(line), flush=True)
            with RESULTS.open("a") as out:
                out.write(json.dumps(line) + "\n")


def measure(
    cluster: Cluster, rollouts: Any, url: str, *, revision: int, percent: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Update to the faulty model under load, and wait until the tool has gone back."""
    plan = load_plan(url, Fault(percent), rate=options.rate)
    with under_load(cluster.kubectl, plan, namespace=NAMESPACE) as run:
        time.sleep(STEADY_SECONDS)
        updated = datetime.now(UTC)
        rollouts.update(revision)
        deadline = time.monotonic() + options.patience
        while not (gone_back := rollouts.has_gone_back(revision)) and time.monotonic() < deadline:
            time.sleep(0.2)
        told = (datetime.now(UTC) - updated).total_seconds()
        time.sleep(AFTERWARDS_SECONDS)
        result = run.stop()
    print(rollouts.account(), flush=True)
    return {"faulty_percent": percent, "gone_back": gone_back, **reduce(result, updated=updated, told=told)}


def reduce(result: LoadResult, *, updated: datetime, told: float) -> dict[str, Any]:
    """Take from a result what the users of the endpoint felt of the update. Seconds are full ones."""
    reached = [
        second
        for second, answers in enumerate(result.timeline)
        if any(count for name, count in answers.items() if name != "1")
    ]
    by_candidate = sum(count for name, count in result.by_revision.items() if name != "1")
    begun = (updated - datetime.fromisoformat(result.started_at)).total_seconds()
    return {
        "sent": result.sent,
        "failed": result.failed,
        "failed_by_kind": dict(result.failed_by_kind),
        "right_answers_of_the_candidate": by_candidate,
        "seconds_from_update_to_candidate": round(reached[0] - begun, 1) if reached else None,
        "seconds_with_candidate": reached[-1] - reached[0] + 1 if reached else 0,
        "seconds_from_update_to_verdict": round(told, 1),
        "rate": round(result.achieved_rate, 1),
        "rig_late_seconds": round(result.latest_seconds, 2),
    }


def _make_namespace(cluster: Cluster) -> None:
    for name in (NAMESPACE, "peers-system"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    cluster.apply(models(), namespace=NAMESPACE)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", choices=ADAPTERS, required=True)
    parser.add_argument("--cluster", default="peers")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--faults", type=int, nargs="+", default=[100, 20], help="percent of requests that fail")
    parser.add_argument("--rate", type=float, default=40, help="requests per second")
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--patience", type=float, default=240, help="seconds to wait for the way back")
    return parser.parse_args()


if __name__ == "__main__":
    main()
