"""Variants on a real cluster under load: they get their shares, change without a failed request, and go."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import Cluster
from support.endpoints import SECOND, Endpoint
from support.load_run import assert_split, under_load

EXAMPLE = Path(__file__).parents[2] / "examples/07-variants"

pytestmark = pytest.mark.usefixtures("operator")


def variant(version: str, **fields: Any) -> dict[str, Any]:
    return {"name": "b", "model": {"uri": f"configmap://models/{version}.onnx", "version": version}, **fields}


def test_a_variant_gets_its_share_changes_and_goes_without_a_failed_request(cluster: Cluster, namespace: str) -> None:
    endpoint = Endpoint(cluster, namespace).create_models().apply("1", rollout={"strategy": "Replace"}).wait()
    with under_load(cluster.kubectl, endpoint.load_plan(), namespace=namespace) as run:
        endpoint.apply(variants=[variant("2", weight=30)]).wait()
        plan = endpoint.load_plan(rate=200, count=2000)
        with under_load(cluster.kubectl, plan, namespace=namespace, name="split") as split:
            counts = split.result().assert_none_failed().by_revision
        assert_split(counts, {"1": 70, "2": 30})
        assert endpoint.status["variants"][0]["sha256"] == SECOND.sha256

        endpoint.apply(variants=[variant("corrupt", weight=30)]).wait("Stalled")
        told = endpoint.status["variants"][0]
        assert (told["revision"], told["nextRevision"], told["weight"]) == (2, 3, 30)
        assert endpoint.condition("Available")["status"] == "True"

        endpoint.apply(variants=[variant("3", weight=30)]).wait()
        assert endpoint.status["variants"][0]["revision"] == 4
        endpoint.apply("2").wait()
        assert endpoint.status["stable"]["revision"] == 5
        endpoint.apply(variants=[]).wait()
        endpoint.wait_until(lambda: endpoint.deployments() == {"churn-r5", "churn-router"})
        result = run.stop().assert_none_failed()
    assert set(result.by_revision) == {"1", "2", "4", "5"}
    assert {"VariantStarted", "VariantServes", "VariantRemoved", "ModelInvalid"} <= set(endpoint.events())


def test_the_example_serves_two_models(cluster: Cluster, namespace: str) -> None:
    for name, file in {
        "scoring-model": EXAMPLE.parent / "02-model-in-a-configmap/model.onnx",
        "challenger-model": EXAMPLE / "model.onnx",
    }.items():
        cluster.kubectl("create", "configmap", "-n", namespace, name, f"--from-file=model.onnx={file}")
    text = (EXAMPLE / "endpoint.yaml").read_text()
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)
    name = yaml.safe_load(text)["metadata"]["name"]
    cluster.kubectl("wait", "-n", namespace, f"mep/{name}", "--for=condition=Ready", "--timeout=2m")

    status = cluster.get("mep", name, namespace=namespace)["status"]
    assert status["stable"]["weight"] == 100
    assert [(told["name"], told["weight"]) for told in status["variants"]] == [("challenger", 25)]
