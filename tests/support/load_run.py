"""The load rig as a pod of a test cluster: build a plan, start it, read its result; and judge a split of traffic.

``load.py`` sends and judges; nothing here does.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from modelendpoint import load_rig
from modelendpoint.load_rig import LoadPlan, LoadResult, Request

OPERATOR_IMAGE = "ghcr.io/modelendpoint/operator:0.1.0"
CONFIDENCE = 0.999


class Kubectl(Protocol):
    """Run kubectl against the cluster; return what it printed. Raises when it fails."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> str: ...


def make_requests(rows: Sequence[Sequence[float]], *, path: str = "/predict") -> list[Request]:
    """Build a JSON and a CSV request for each row, in turn."""
    return [
        request
        for number, row in enumerate(rows)
        for request in (
            Request(
                row=number, path=path, content_type="application/json", body=json.dumps({"instances": [list(row)]})
            ),
            Request(row=number, path=path, content_type="text/csv", body=",".join(map(repr, row)) + "\n"),
        )
    ]


class LoadRun:
    """A plan under way in a pod."""

    def __init__(self, kubectl: Kubectl, plan: LoadPlan, *, namespace: str, name: str = "load", image: str) -> None:
        self.name = name
        self._kubectl = kubectl
        self._plan = plan
        self._namespace = namespace
        self._image = image

    def start(self) -> "LoadRun":
        """Start the pod, and come back when the rig is sending."""
        self.delete()
        manifests = build_manifests(self._plan, namespace=self._namespace, name=self.name, image=self._image)
        self._run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(manifests))
        # Not for Ready: the rig of a short plan has ended before anybody sees it so.
        has_started = "--for=jsonpath={.status.containerStatuses[0].containerID}"
        self._run("wait", f"pod/{self.name}", has_started, "--timeout=60s")
        return self

    def progress(self) -> dict[str, Any]:
        """Say how far it is: sent, finished, failed, by_revision. Zeroes in the first second."""
        for document in reversed(self._documents()):
            if "progress" in document:
                return dict(document["progress"])
        return {"sent": 0, "finished": 0, "failed": 0, "by_revision": {}}

    def stop(self) -> LoadResult:
        """Let the rig send no more, and return what came of it."""
        signal_rig = "import os, signal; os.kill(1, signal.SIGTERM)"
        self._run("exec", self.name, "--", "python3", "-c", signal_rig)
        return self.result(timeout_seconds=self._plan.timeout_seconds + 30)

    def result(self, *, timeout_seconds: float | None = None) -> LoadResult:
        """Wait for the end of the plan, and return what came of it."""
        self._wait_for_the_end(timeout_seconds or self._plan.duration_seconds + self._plan.timeout_seconds + 30)
        for document in reversed(self._documents()):
            if "result" in document:
                return LoadResult.from_dict(document["result"])
        raise AssertionError(f"Pod {self.name} in namespace {self._namespace} ended without a result:\n{self._logs()}")

    def _wait_for_the_end(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while self._run("get", f"pod/{self.name}", "--output=jsonpath={.status.phase}") not in ("Succeeded", "Failed"):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"Pod {self.name} in namespace {self._namespace} did not end within {timeout_seconds:.0f} s."
                )
            time.sleep(0.5)

    def delete(self) -> None:
        """Remove the pod and its ConfigMap, if they are there."""
        self._run("delete", f"pod/{self.name}", f"configmap/{self.name}", "--ignore-not-found", "--grace-period=1")

    def _documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._logs().splitlines() if line.startswith("{")]

    def _logs(self) -> str:
        return self._run("logs", self.name)

    def _run(self, *arguments: str, stdin: str | None = None) -> str:
        return self._kubectl("--namespace", self._namespace, *arguments, stdin=stdin)


@contextmanager
def under_load(
    kubectl: Kubectl, plan: LoadPlan, *, namespace: str, name: str = "load", image: str = OPERATOR_IMAGE
) -> Iterator[LoadRun]:
    """Send while the block runs; the block calls ``stop`` or ``result`` to see what came of it."""
    run = LoadRun(kubectl, plan, namespace=namespace, name=name, image=image)
    try:
        yield run.start()
    finally:
        run.delete()


def build_manifests(plan: LoadPlan, *, namespace: str, name: str, image: str) -> dict[str, Any]:
    """Build the ConfigMap with the rig and its plan, and the pod that runs it."""
    files = {"load.py": Path(load_rig.__file__).read_text(), "plan.json": plan.to_json()}
    metadata = {"name": name, "namespace": namespace}
    container = {
        "name": "load",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/rig/load.py", "/rig/plan.json"],
        "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "resources": {"requests": {"cpu": "200m", "memory": "64Mi"}},
        "volumeMounts": [{"name": "rig", "mountPath": "/rig", "readOnly": True}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    pod_spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "rig", "configMap": {"name": name}}],
    }
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec},
        ],
    }


def split_interval(total: int, weight: int) -> tuple[int, int]:
    """Bound the answers that a weight in percent gets of ``total``: 99.9 % of the binomial distribution lie within."""
    outside = (1 - CONFIDENCE) / 2
    return _binomial_quantile(total, weight / 100, outside), _binomial_quantile(total, weight / 100, 1 - outside)


def _binomial_quantile(total: int, chance: float, share: float) -> int:
    """Find the smallest count whose cumulated probability reaches ``share``; exact, no normal approximation."""
    if chance in (0, 1):
        return round(total * chance)
    cumulated = 0.0
    for count in range(total):
        choices = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
        cumulated += math.exp(choices + count * math.log(chance) + (total - count) * math.log(1 - chance))
        if cumulated >= share:
            return count
    return total


def assert_split(counts: Mapping[str, int], weights: Mapping[str, int]) -> None:
    """Raise ``AssertionError`` unless each revision's answers fit its weight; a revision without one must have none."""
    total = sum(counts.values())
    assert sum(weights.values()) == 100, f"The weights {dict(weights)} do not sum to 100."
    assert total > 0, "Nothing was answered, so there is no split."
    for revision in sorted({*counts, *weights}):
        weight, count = weights.get(revision, 0), counts.get(revision, 0)
        low, high = split_interval(total, weight)
        assert low <= count <= high, (
            f"Revision {revision} with weight {weight} answered {count} of {total} requests; "
            f"{low} to {high} would be in the 99.9 % binomial interval. All counts: {dict(counts)}"
        )
