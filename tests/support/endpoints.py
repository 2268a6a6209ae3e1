"""One ModelEndpoint on a real cluster, driven as its author drives it: kubectl apply, annotate, wait, get."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelendpoint.load_rig import LoadPlan
from modelendpoint_operator import names
from support.cluster import Cluster
from support.load_run import make_requests
from support.onnx_models import TinyModel, corrupt, failing_model, linear_model, slow_model, some_rows

FIRST = linear_model([0.5, -1.5, 2.0], intercept=1.0)
SECOND = linear_model([-1.0, 0.25, 3.0], intercept=-2.0)
THIRD = linear_model([2.0, 2.0, -0.5], intercept=0.5)
MODELS = {"1": FIRST, "2": SECOND, "3": THIRD}
ROWS = some_rows(100, features=3)


def fails_for(percent: int) -> TinyModel:
    """Build a model that fails for so many of the ``ROWS``; it has the version ``fails-<percent>``."""
    by_first_feature = sorted(row[0] for row in ROWS)
    above = by_first_feature[-percent - 1] if percent < len(ROWS) else by_first_feature[0] - 1
    return failing_model([-1.0, 0.25, 3.0], above=above)


TROUBLE = {f"fails-{percent}": fails_for(percent) for percent in (5, 20, 100)}
TROUBLE["slow"] = slow_model([-1.0, 0.25, 2.0], turns=40_000)
"""Models that load and then do badly. The slow one takes 100 to 400 ms for a row, by the machine."""
RESOURCES = {"requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}
KINDS = "deployment,service,configmap,controllerrevision,pod"


@dataclass
class Endpoint:
    """An endpoint that serves the tiny models of this module from a ConfigMap."""

    cluster: Cluster
    namespace: str
    name: str = "churn"
    spec: dict[str, Any] = field(default_factory=dict)

    def create_models(self) -> "Endpoint":
        """Create the ConfigMap with the models: one key for each version, and a corrupt one."""
        files = {f"{version}.onnx": model.data for version, model in (MODELS | TROUBLE).items()}
        files["corrupt.onnx"] = corrupt(FIRST)
        data = {key: base64.b64encode(content).decode() for key, content in files.items()}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "models"}, "binaryData": data}
        self.cluster.apply(manifest, namespace=self.namespace)
        return self

    def apply(self, version: str | None = None, **spec: Any) -> "Endpoint":
        """Apply the endpoint with some fields of its spec changed; ``version`` chooses the model."""
        model = {"model": {"uri": f"configmap://models/{version}.onnx", "version": version}} if version else {}
        base = {"server": {"resources": RESOURCES}, "replicas": 1}
        self.spec = {**base, **self.spec, **model, **spec}
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": self.name},
            "spec": self.spec,
        }
        self.cluster.apply(manifest, namespace=self.namespace)
        return self

    def annotate(self, verb: str, value: str) -> None:
        """Give an order."""
        self._kubectl("annotate", "--overwrite", f"mep/{self.name}", f"{names.GROUP}/{verb}={value}")

    def wait(self, condition: str = "Ready", *, seconds: int = 120) -> "Endpoint":
        """Wait for a condition, as pipelines do."""
        self._kubectl("wait", f"mep/{self.name}", f"--for=condition={condition}", f"--timeout={seconds}s")
        return self

    def wait_for_phase(self, phase: str, *, seconds: int = 120) -> "Endpoint":
        """Wait until the rollout is in a phase."""
        self._kubectl(
            "wait", f"mep/{self.name}", f"--for=jsonpath={{.status.rollout.phase}}={phase}", f"--timeout={seconds}s"
        )
        return self

    def wait_for_reason(self, reason: str, *, seconds: float = 60) -> dict[str, Any]:
        """Wait until Ready has a reason, and return that condition."""
        return self.wait_until(lambda: told if (told := self.condition("Ready"))["reason"] == reason else None, seconds)

    def wait_until(self, what: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait until something is true, and return what it was; say how the endpoint stands when it never is."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            if time.monotonic() > deadline:
                raise AssertionError(f"Not within {seconds} s; the status is:\n{json.dumps(self.status, indent=1)}")
            time.sleep(0.2)
        return found

    @property
    def body(self) -> dict[str, Any]:
        """The object in the cluster."""
        return dict(self.cluster.get("mep", self.name, namespace=self.namespace))

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        return dict(self.body.get("status", {}))

    def condition(self, kind: str) -> dict[str, Any]:
        """One condition; an empty reason when it is absent."""
        found = (told for told in self.status.get("conditions", []) if told["type"] == kind)
        return next(found, {"status": "False", "reason": "", "message": ""})

    def children(self) -> list[Mapping[str, Any]]:
        """All objects that carry the endpoint's label."""
        selector = f"{names.LABEL_ENDPOINT}={self.name}"
        return list(self.cluster.get(KINDS, namespace=self.namespace, selector=selector))

    def deployments(self) -> set[str]:
        """Names of its Deployments."""
        return {child["metadata"]["name"] for child in self.children() if child["kind"] == "Deployment"}

    def load_plan(
        self, *, rate: float = 50, count: int | None = None, seconds: float = 300, url: str | None = None
    ) -> LoadPlan:
        """Plan a load whose every answer is compared with what its model computes."""
        return LoadPlan(
            url=url or f"http://{self.name}.{self.namespace}.svc",
            requests=make_requests(ROWS),
            oracle={model.sha256: model.expected(ROWS) for model in (MODELS | TROUBLE).values()},
            rate=rate,
            count=count,
            duration_seconds=seconds,
            timeout_seconds=15,  # A lost request is still found, and a busy machine does not look like one.
        )

    def events(self) -> list[str]:
        """Reasons of the Events about the endpoint."""
        events = self.cluster.get("events.events.k8s.io", namespace=self.namespace)
        return [event["reason"] for event in events if event["regarding"]["kind"] == names.KIND]

    def _kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl(*arguments[:1], "-n", self.namespace, *arguments[1:], timeout=300)


def pinned(version: str, sha256: str) -> dict[str, Any]:
    """Build a model that must have a digest."""
    return {"uri": f"configmap://models/{version}.onnx", "version": version, "sha256": sha256}
