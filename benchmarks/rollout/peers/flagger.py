"""Flagger with Contour: weights by request, the success rate from Envoy's own metrics."""

from typing import Any

from infrastructure import INGRESS_HOST, PROMETHEUS_ADDRESS, SYSTEM, all_rights, contour, deployment, prometheus
from workload import NAMESPACE, pod_template

from support.cluster import Cluster
from tools import CONTOUR, FLAGGER, PROMETHEUS, source_of

NAME = "Flagger"
TOOLS = (FLAGGER, CONTOUR, PROMETHEUS)
URL = f"http://{INGRESS_HOST}"
INTERVAL_SECONDS = 10
"""The shortest that Flagger has."""


class Rollouts:
    """Updates by Flagger."""

    def __init__(self, cluster: Cluster, *, replicas: int) -> None:
        self._cluster = cluster
        self._replicas = replicas

    def install(self) -> None:
        """Install Flagger and what it needs."""
        for crds in (
            source_of(CONTOUR) / "examples/contour/01-crds.yaml",
            source_of(FLAGGER) / "artifacts/flagger/crd.yaml",
        ):
            self._cluster.kubectl("apply", "--server-side", "-f", str(crds))
        container = {
            "image": FLAGGER.image,
            "args": ["-mesh-provider=contour", f"-metrics-server={PROMETHEUS_ADDRESS}", "-log-level=info"],
        }
        objects = [*prometheus(), *contour(), *all_rights("flagger"), deployment("flagger", container)]
        self._cluster.apply(*objects, namespace=SYSTEM)
        for name in ("prometheus", "contour", "envoy", "flagger"):
            self._cluster.kubectl("rollout", "status", "-n", SYSTEM, f"deployment/{name}", "--timeout=120s")

    def deploy(self) -> None:
        """Deploy the good model, and wait until Flagger has taken it over."""
        self._cluster.apply(self._target("good", revision=1), self._canary(), _root(), namespace=NAMESPACE)
        self._cluster.kubectl(
            "wait", "-n", NAMESPACE, "canary/churn", "--for=jsonpath={.status.phase}=Initialized", "--timeout=180s"
        )

    def update(self, revision: int) -> None:
        """Begin an update to the faulty model."""
        self._cluster.apply(self._target("faulty", revision=revision), namespace=NAMESPACE)
        self._cluster.kubectl(
            "wait", "-n", NAMESPACE, "canary/churn", "--for=jsonpath={.status.phase}=Progressing", "--timeout=60s"
        )

    def has_gone_back(self, revision: int) -> bool:
        """Say whether the update was given up."""
        canary = self._cluster.get("canary", "churn", namespace=NAMESPACE)
        return bool(canary["status"]["phase"] == "Failed")

    def account(self) -> str:
        """Tell what the tool says of it."""
        return self._cluster.kubectl("logs", "-n", SYSTEM, "deployment/flagger", "--tail=40")

    def _target(self, model: str, *, revision: int) -> dict[str, Any]:
        template = pod_template(model, revision=revision, labels={"app": "churn"})
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "churn"},
            "spec": {
                "replicas": self._replicas,
                "selector": {"matchLabels": {"app": "churn"}},
                "template": template,
            },
        }

    def _canary(self) -> dict[str, Any]:
        analysis = {
            "interval": f"{INTERVAL_SECONDS}s",
            "threshold": 1,
            "stepWeights": [25, 50],
            "metrics": [{"name": "request-success-rate", "interval": "20s", "thresholdRange": {"min": 98}}],
        }
        return {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {"name": "churn"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "churn"},
                "service": {"port": 80, "targetPort": 8080},
                "analysis": analysis,
            },
        }


def _root() -> dict[str, Any]:
    """Give the route that Flagger writes a host."""
    return {
        "apiVersion": "projectcontour.io/v1",
        "kind": "HTTPProxy",
        "metadata": {"name": "root"},
        "spec": {"virtualhost": {"fqdn": INGRESS_HOST}, "includes": [{"name": "churn", "namespace": NAMESPACE}]},
    }
