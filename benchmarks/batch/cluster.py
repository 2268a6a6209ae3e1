"""Ten million rows on a real cluster while workers, operator and store are disturbed: the output must stay the same.

``hack/cluster up --name batch && hack/cluster images --name batch`` first, and an operator in it; then
``PYTHONPATH=tests:operator:hack:cli python benchmarks/batch/cluster.py --cluster batch --rows 10000000 --runs 3``.
A worker is killed by deleting its pod without grace, by an eviction, or by SIGKILL to its process, which must be visible
on this machine. The store's process is stopped for a minute.
"""

import argparse
import io
import json
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from modelendpoint_operator import names
from support.cluster import Cluster, find
from support.endpoints import MODELS, Endpoint
from support.installation import HOME
from support.store import BUCKET, SECRET, Store, store_in

FILE_ROWS = 500_000
MODEL = MODELS["1"]
FEATURES = ("a", "b", "c")
RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}


@dataclass
class Rig:
    """A namespace with a store and the input."""

    cluster: Cluster
    namespace: str
    store: Store
    chance: random.Random
    done: dict[str, int] = field(default_factory=dict)

    def put_rows(self, rows: int) -> None:
        """Store the input."""
        for low in range(0, rows, FILE_ROWS):
            out = io.BytesIO()
            pyarrow.csv.write_csv(rows_of(low, min(FILE_ROWS, rows - low)), out)
            self.store.put(f"in/{low:09d}.csv", out.getvalue())

    def start(self, name: str, *, workers: int, shard_rows: int) -> None:
        """Apply a BatchPrediction."""
        secret = {"credentialsSecretRef": {"name": SECRET}}
        spec = {
            "model": {"uri": "configmap://models/1.onnx", "version": "1"},
            "input": {"uri": f"s3://{BUCKET}/in/", **secret},
            "output": {"uri": f"s3://{BUCKET}/out/{name}/", **secret},
            "columns": {"features": list(FEATURES), "passThrough": ["id"]},
            "shardRows": shard_rows,
            "parallelism": workers,
            "retries": 100,
            "resources": RESOURCES,
        }
        document = {"apiVersion": names.API_VERSION, "kind": names.BATCH_KIND, "metadata": {"name": name}, "spec": spec}
        self.cluster.apply(document, namespace=self.namespace)

    def status(self, name: str) -> dict[str, Any]:
        """Read the status; empty while there is none."""
        return dict(self.cluster.get("bp", name, namespace=self.namespace).get("status", {}))

    def wait(self, name: str, seconds: int) -> dict[str, Any]:
        """Wait for the end; return the manifest."""
        self.cluster.kubectl(
            *("wait", "-n", self.namespace, f"bp/{name}", "--for=condition=Complete", f"--timeout={seconds}s"),
            timeout=seconds + 30,
        )
        return dict(json.loads(self.store.get(f"out/{name}/_MANIFEST.json")))

    def workers(self, name: str) -> dict[int, dict[str, Any]]:
        """Return the pods that run, by index."""
        selector = f"{names.LABEL_BATCH}={name},{names.LABEL_BATCH_STAGE}=work"
        pods = self.cluster.get("pods", namespace=self.namespace, selector=selector)
        running = [
            pod for pod in pods if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]
        return {int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]): pod for pod in running}

    def kill(self, pod: dict[str, Any]) -> None:
        """End a worker in one of three ways."""
        how = self.chance.choice(["delete", "evict", "SIGKILL"])
        name = pod["metadata"]["name"]
        if how == "delete":
            self.cluster.kubectl(
                "delete", "pod", "-n", self.namespace, name, "--grace-period=0", "--force", check=False
            )
        elif how == "evict":
            path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction"
            order = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
            self.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(order), check=False)
        else:
            for process in processes_of(pod):
                os.kill(process, signal.SIGKILL)
        self._count(how)

    def kill_operator(self) -> None:
        """End the operator without grace."""
        selector = f"{names.LABEL_COMPONENT}=operator"
        self.cluster.kubectl("delete", "pod", "-n", HOME, "-l", selector, "--grace-period=0", "--force", check=False)
        self._count("operator")

    @contextmanager
    def stopped_store(self) -> Iterator[None]:
        """Stop the store's process for the block."""
        (pod,) = self.cluster.get("pods", namespace=self.namespace, selector="app.kubernetes.io/name=store")
        stopped = processes_of(pod)
        assert stopped, "the store's process is not on this machine"
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                os.kill(process, signal.SIGCONT)
        self._count("store stopped")

    def _count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1


def processes_of(pod: dict[str, Any]) -> list[int]:
    """Return the processes of a pod's containers, if its node is this machine."""
    uid, found = pod["metadata"]["uid"], []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            group, command = (folder / "cgroup").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if (uid in group or uid.replace("-", "_") in group) and not command.startswith(b"/pause"):
            found.append(int(folder.name))
    return found


def rows_of(low: int, count: int) -> pa.Table:
    """Make rows of an id and three numbers with three decimals."""
    numbers = np.random.default_rng(low).integers(-9999, 9999, size=(len(FEATURES), count)) / 1000
    return pa.table({"id": np.arange(low, low + count), **dict(zip(FEATURES, numbers, strict=True))})


def check_scores(rig: Rig, name: str, manifest: dict[str, Any], rows: int) -> None:
    """Compare every prediction with what the model computes."""
    seen = 0
    for shard in manifest["shards"]:
        for file in shard["files"]:
            table = pyarrow.csv.read_csv(io.BytesIO(rig.store.get(f"out/{name}/{file['path']}")))
            ids = table["id"].to_numpy()
            low = int(ids[0]) // FILE_ROWS * FILE_ROWS
            given = rows_of(low, min(FILE_ROWS, rows - low)).slice(int(ids[0]) - low, len(ids))
            features = np.column_stack([given[feature].to_numpy() for feature in FEATURES]).astype(np.float32)
            assert np.array_equal(ids, given["id"].to_numpy())
            assert np.allclose(table["score"].to_numpy(), MODEL.compute(features)[:, 0], rtol=1e-5, atol=1e-5)
            seen += len(ids)
    assert seen == rows


def digests(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Name each file of the output with its digest."""
    return [(file["path"], file["sha256"]) for shard in manifest["shards"] for file in shard["files"]]


def disturb(rig: Rig, name: str, *, workers: int, kills: int, store_seconds: float) -> None:
    """Kill each index so many times, the operator twice, and stop the store once."""
    killed = dict.fromkeys(range(workers), 0)
    operator_at, store_at = {workers, 2 * workers}, workers + 1
    while sum(killed.values()) < workers * kills and rig.status(name).get("phase") in (
        None,
        "Pending",
        "Planning",
        "Working",
    ):
        time.sleep(rig.chance.uniform(0.5, 3))
        running = rig.workers(name)
        due = [index for index in running if killed[index] < kills]
        if not due:
            continue
        index = rig.chance.choice(due)
        rig.kill(running[index])
        killed[index] += 1
        if sum(killed.values()) in operator_at:
            rig.kill_operator()
        if sum(killed.values()) == store_at and store_seconds:
            with rig.stopped_store():
                time.sleep(store_seconds)
    print(f"  killed by index: {killed}", flush=True)


def main() -> None:
    """Run it all; print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cluster", default="batch")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=3, help="of each index")
    parser.add_argument("--shard-rows", type=int, default=100_000)
    parser.add_argument("--store-seconds", type=float, default=60)
    arguments = parser.parse_args()
    cluster, namespace = find(arguments.cluster), f"batch-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    Endpoint(cluster, namespace).create_models()
    with store_in(namespace, cluster.kubectl, cluster.port_forward) as store:
        rig = Rig(cluster, namespace, store, random.Random(1))
        rig.put_rows(arguments.rows)
        print(f"{arguments.rows:,} rows are stored; load {os.getloadavg()[0]:.1f}", flush=True)
        begin = time.monotonic()
        rig.start("undisturbed", workers=arguments.workers, shard_rows=arguments.shard_rows)
        sound = rig.wait("undisturbed", 1800)
        seconds = time.monotonic() - begin
        check_scores(rig, "undisturbed", sound, arguments.rows)
        print(f"undisturbed: {seconds:.0f} s, {arguments.rows / seconds:,.0f} rows/s, all scores right", flush=True)
        for path, _ in digests(sound):
            store.delete(f"out/undisturbed/{path}")
        for number in range(arguments.runs):
            name, rig.done, begin = f"disturbed-{number}", {}, time.monotonic()
            rig.start(name, workers=arguments.workers, shard_rows=arguments.shard_rows)
            seconds_down = arguments.store_seconds if number == 0 else 0
            disturb(rig, name, workers=arguments.workers, kills=arguments.kills, store_seconds=seconds_down)
            manifest = rig.wait(name, 1800)
            same = digests(manifest) == digests(sound)
            counts = (manifest["rowsIn"], manifest["rowsOut"], manifest["rowsRejected"])
            seconds = time.monotonic() - begin
            print(f"{name}: {seconds:.0f} s, rows {counts}, same bytes: {same}, {rig.done}", flush=True)
            if not same or counts != (arguments.rows, arguments.rows, 0):
                sys.exit(1)
            for path, _ in digests(manifest):
                store.delete(f"out/{name}/{path}")
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


if __name__ == "__main__":
    main()
