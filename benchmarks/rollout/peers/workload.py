"""What is rolled out with each tool: a good model, and one that fails on some of the rows; and the rows that are sent."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from modelendpoint.load_rig import LoadPlan
from support.load_run import make_requests
from support.onnx_models import TinyModel, linear_model

COEFFICIENTS = (0.5, -1.5, 2.0)
GOOD = linear_model(COEFFICIENTS, intercept=1.0)
ROWS = 100
LARGE = 100.0
"""The first feature of the rows that the faulty model fails on."""
NAMESPACE = "peers"
CONFIG_MAP = "models"


def faulty_model() -> TinyModel:
    """Build a model that computes as a good one, and fails on rows with a large first feature: there it gives one number
    the shape of two."""
    weights = np.asarray(COEFFICIENTS, dtype=np.float32).reshape(-1, 1)
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["product"]),
        helper.make_node("Add", ["product", "intercept"], ["sum"]),
        helper.make_node("Gather", ["features", "first"], ["column"], axis=1),
        helper.make_node("ReduceMax", ["column"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "limit"], ["is_large"]),
        helper.make_node("Cast", ["is_large"], ["as_number"], to=TensorProto.INT64),
        helper.make_node("Add", ["as_number", "one"], ["shape"]),
        helper.make_node("Reshape", ["zero", "shape"], ["nothing"]),
        helper.make_node("Add", ["sum", "nothing"], ["prediction"]),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.asarray([2.0], dtype=np.float32), "intercept"),
        numpy_helper.from_array(np.asarray([0], dtype=np.int64), "first"),
        numpy_helper.from_array(np.asarray(LARGE / 2, dtype=np.float32), "limit"),
        numpy_helper.from_array(np.asarray([1], dtype=np.int64), "one"),
        numpy_helper.from_array(np.asarray([0.0], dtype=np.float32), "zero"),
    ]
    graph = helper.make_graph(
        nodes,
        "faulty",
        inputs=[helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(weights)])],
        outputs=[helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1])],
        initializer=constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return TinyModel(
        data=model.SerializeToString(), features=len(weights), compute=lambda rows: rows @ weights + np.float32(2.0)
    )


FAULTY = faulty_model()


@dataclass(frozen=True)
class Fault:
    """A share of the requests on which the candidate fails."""

    percent: int

    def rows(self) -> list[list[float]]:
        """Make the rows: so many of each hundred are large, evenly spread, and no other one is."""
        spread = np.random.default_rng(7).normal(size=(ROWS, len(COEFFICIENTS))).round(4)
        for number in range(ROWS):
            if (number * self.percent) % 100 < self.percent:
                spread[number, 0] = LARGE
        return [[float(value) for value in row] for row in spread]


def load_plan(url: str, fault: Fault, *, rate: float) -> LoadPlan:
    """Plan the load: each answer is compared with what its model computes."""
    rows = fault.rows()
    oracle: dict[str, Sequence[Sequence[float]]] = {
        GOOD.sha256: GOOD.expected(rows),
        FAULTY.sha256: FAULTY.expected(rows),
    }
    # JSON only: the same requests in the same order whatever answers them.
    requests = make_requests(rows)[::2]
    return LoadPlan(url=url, requests=requests, oracle=oracle, rate=rate, duration_seconds=600, timeout_seconds=15)


def models() -> dict[str, Any]:
    """Build the ConfigMap with both models."""
    files = {"good.onnx": GOOD, "faulty.onnx": FAULTY}
    data = {name: base64.b64encode(model.data).decode() for name, model in files.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "binaryData": data}


def pod_template(model: str, *, revision: int, labels: dict[str, str]) -> dict[str, Any]:
    """Build the pods of a server of ours as somebody would write them who runs it with another tool."""
    environment = {
        "MODELENDPOINT_NAME": "churn",
        "MODELENDPOINT_NAMESPACE": NAMESPACE,
        "MODELENDPOINT_REVISION": str(revision),
        "MODELENDPOINT_MODEL_URI": f"configmap://{CONFIG_MAP}/{model}.onnx",
        "MODELENDPOINT_MODEL_DIR": "/models",
        "HOME": "/models",
        "TMPDIR": "/models",
    }
    container = {
        "name": "server",
        "image": "ghcr.io/modelendpoint/server:0.1.0",
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "management", "containerPort": 8081}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "management"}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/models"},
            {"name": "models", "mountPath": f"/mnt/configmap/{CONFIG_MAP}"},
        ],
    }
    volumes = [{"name": "scratch", "emptyDir": {}}, {"name": "models", "configMap": {"name": CONFIG_MAP}}]
    security = {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532}
    return {
        "metadata": {"labels": labels, "annotations": {"scrape": "8081/metrics"}},
        "spec": {"containers": [container], "volumes": volumes, "securityContext": security},
    }
