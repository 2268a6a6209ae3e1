"""ModelEndpoint as it comes: the gate that every endpoint has, and nothing else in the cluster."""

import json

from workload import CONFIG_MAP, NAMESPACE

from support.cluster import Cluster
from support.installation import install

NAME = "ModelEndpoint"
TOOLS = ()
URL = f"http://churn.{NAMESPACE}.svc"


class Rollouts:
    """Updates by ModelEndpoint."""

    def __init__(self, cluster: Cluster, *, replicas: int) -> None:
        self._cluster = cluster
        self._replicas = replicas

    def install(self) -> None:
        """Install the operator."""
        install(self._cluster)

    def deploy(self) -> None:
        """Deploy the good model, and wait until it serves."""
        self._apply("good", revision=1)
        self._cluster.kubectl("wait", "-n", NAMESPACE, "mep/churn", "--for=condition=Ready", "--timeout=180s")

    def update(self, revision: int) -> None:
        """Begin an update to the faulty model. Another version is another revision."""
        self._apply("faulty", revision=revision)

    def has_gone_back(self, revision: int) -> bool:
        """Say whether the update was given up."""
        rejected = self._cluster.get("mep", "churn", namespace=NAMESPACE)["status"].get("rejected", [])
        return any(entry["revision"] == revision for entry in rejected)

    def account(self) -> str:
        """Tell what the tool says of it."""
        status = self._cluster.get("mep", "churn", namespace=NAMESPACE)["status"]
        return json.dumps(status.get("decisions", [])[-2:], indent=1)

    def _apply(self, model: str, *, revision: int) -> None:
        steps = [{"weight": 25, "holdSeconds": 60}, {"weight": 50, "holdSeconds": 60}]
        resources = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}
        endpoint = {
            "apiVersion": "modelendpoint.dev/v1alpha1",
            "kind": "ModelEndpoint",
            "metadata": {"name": "churn"},
            "spec": {
                "model": {"uri": f"configmap://{CONFIG_MAP}/{model}.onnx", "version": str(revision)},
                "replicas": self._replicas,
                "server": {"resources": resources},
                "rollout": {"steps": steps},
            },
        }
        self._cluster.apply(endpoint, namespace=NAMESPACE)
