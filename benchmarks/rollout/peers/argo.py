"""Argo Rollouts without a traffic router: weights by the number of pods, analysis by a Prometheus query."""

from typing import Any

from infrastructure import PROMETHEUS_ADDRESS, SYSTEM, all_rights, deployment, prometheus
from workload import NAMESPACE, pod_template

from support.cluster import Cluster
from tools import ARGO, PROMETHEUS, source_of

NAME = "Argo Rollouts"
TOOLS = (ARGO, PROMETHEUS)
URL = f"http://churn.{NAMESPACE}.svc"
QUERY = """
(sum(rate(modelserver_requests_total{hash="{{args.hash}}", code=~"5.."}[20s])) or vector(0))
/ sum(rate(modelserver_requests_total{hash="{{args.hash}}"}[20s]))
"""
"""The share of failed requests. Not that of the good ones: where all fail there is no such series, and no result."""


class Rollouts:
    """Updates by Argo Rollouts."""

    def __init__(self, cluster: Cluster, *, replicas: int) -> None:
        self._cluster = cluster
        self._replicas = replicas

    def install(self) -> None:
        """Install Argo Rollouts and what it needs."""
        crds = source_of(ARGO) / "manifests/crds"
        for name in ("rollout", "analysis-run", "analysis-template", "cluster-analysis-template", "experiment"):
            self._cluster.kubectl("apply", "--server-side", "-f", str(crds / f"{name}-crd.yaml"))
        container = {"image": ARGO.image}
        objects = [*prometheus(), *all_rights("argo-rollouts"), deployment("argo-rollouts", container)]
        self._cluster.apply(*objects, namespace=SYSTEM)
        for name in ("prometheus", "argo-rollouts"):
            self._cluster.kubectl("rollout", "status", "-n", SYSTEM, f"deployment/{name}", "--timeout=120s")

    def deploy(self) -> None:
        """Deploy the good model, and wait until it serves."""
        self._cluster.apply(self._rollout("good", revision=1), _analysis(), _service(), namespace=NAMESPACE)
        healthy = "--for=jsonpath={.status.phase}=Healthy"
        self._cluster.kubectl("wait", "-n", NAMESPACE, "rollout/churn", healthy, "--timeout=180s")

    def update(self, revision: int) -> None:
        """Begin an update to the faulty model."""
        self._cluster.apply(self._rollout("faulty", revision=revision), namespace=NAMESPACE)

    def has_gone_back(self, revision: int) -> bool:
        """Say whether the update was given up."""
        status = self._cluster.get("rollout", "churn", namespace=NAMESPACE)["status"]
        return bool(status.get("abort")) and str(status["observedGeneration"]) == str(self._generation())

    def account(self) -> str:
        """Tell what the tool says of it."""
        status = self._cluster.get("rollout", "churn", namespace=NAMESPACE)["status"]
        return str(status.get("message"))

    def _generation(self) -> int:
        return int(self._cluster.get("rollout", "churn", namespace=NAMESPACE)["metadata"]["generation"])

    def _rollout(self, model: str, *, revision: int) -> dict[str, Any]:
        template = pod_template(model, revision=revision, labels={"app": "churn"})
        steps: list[dict[str, Any]] = [
            {"setWeight": 25},
            {"pause": {"duration": "60s"}},
            {"setWeight": 50},
            {"pause": {"duration": "60s"}},
        ]
        hash_of_latest = {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}
        canary = {
            "steps": steps,
            "maxSurge": 1,
            "maxUnavailable": 0,
            "analysis": {"templates": [{"templateName": "failed-share"}], "startingStep": 1, "args": [hash_of_latest]},
        }
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "churn"},
            "spec": {
                "replicas": self._replicas,
                "selector": {"matchLabels": {"app": "churn"}},
                "template": template,
                "strategy": {"canary": canary},
            },
        }


def _analysis() -> dict[str, Any]:
    metric = {
        "name": "failed-share",
        "interval": "5s",
        "failureLimit": 0,
        "successCondition": "len(result) == 0 || isNaN(result[0]) || result[0] <= 0.02",
        "provider": {"prometheus": {"address": PROMETHEUS_ADDRESS, "query": QUERY}},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "failed-share"},
        "spec": {"args": [{"name": "hash"}], "metrics": [metric]},
    }


def _service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "churn"},
        "spec": {"selector": {"app": "churn"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
