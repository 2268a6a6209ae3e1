"""Drift on a real cluster: real requests against a reference in a ConfigMap, turned on while the servers run."""

import json
import urllib.request

import numpy as np
import pytest

from modelendpoint_server.monitor.building import ProfileBuilder
from support.cluster import Cluster
from support.endpoints import Endpoint
from support.onnx_models import INPUT, OUTPUT

pytestmark = pytest.mark.usefixtures("operator")
FEATURES = 3


def profile(random: np.random.Generator) -> str:
    rows = random.normal(size=(5000, FEATURES)).astype(np.float32)
    builder = ProfileBuilder()
    # The output is left out: what is asked for here is the way of the inputs.
    builder.add({INPUT: rows}, {}, rows=len(rows))
    return builder.build(model_sha256="")[0].as_json().decode()


def ask(port: int, rows: np.ndarray) -> None:
    body = json.dumps({"instances": rows.tolist()}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as got:
        assert got.status == 200


def test_drift_of_requests_is_found_and_told(cluster: Cluster, namespace: str) -> None:
    random = np.random.default_rng(1)
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "profile"},
        "data": {"profile.json": profile(random)},
    }
    cluster.apply(config, namespace=namespace)
    endpoint = Endpoint(cluster, namespace).create_models().apply("1", replicas=2).wait()
    servers = pods(endpoint)
    reference = {"uri": "configmap://profile/profile.json"}
    drift = {"reference": reference, "percent": 100, "windowSeconds": 10, "minimumRows": 400}
    endpoint.apply(monitoring={"drift": drift}).wait("Monitored")

    with cluster.port_forward(namespace, "churn", 80) as port:

        def told(shift: float, status: str) -> str | None:
            for _ in range(5):
                ask(port, random.normal([0, shift, 0], size=(40, FEATURES)))
            condition = endpoint.condition("DriftDetected")
            return str(condition["message"]) if condition["status"] == status else None

        assert "look" in endpoint.wait_until(lambda: told(0, "False"), 90)
        message = endpoint.wait_until(lambda: told(0.5, "True"), 120)
        assert f"Revision 1 drifted from the reference: {INPUT}[1] (PSI 0." in message
        arm = endpoint.status["monitoring"]["drift"]["arms"][0]
        assert [finding["column"] for finding in arm["findings"]] == [f"{INPUT}[1]"]
        assert arm["findings"][0]["mean"] == pytest.approx(0.5, abs=0.2)
        assert OUTPUT in arm["unknownColumns"]
        assert endpoint.condition("Ready")["status"] == "True"
    assert "DriftDetected" in endpoint.events()
    assert pods(endpoint) == servers, "no server was restarted"


def pods(endpoint: Endpoint) -> set[str]:
    selector = "modelendpoint.dev/endpoint=churn,app.kubernetes.io/component=model-server"
    found = endpoint.cluster.get("pod", namespace=endpoint.namespace, selector=selector)
    return {pod["metadata"]["uid"] for pod in found}
