"""Variants on a real cluster under load: they get their shares, change without a failed request, and go."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import Cluster
from support.endpoints import SECOND, Endpoint
from support.load_run import assert_split, split_interval, under_load

EXAMPLE = Path(__file__).parents[2] / "examples/07-variants"

pytestmark = pytest.mark.usefixtures("operator")


def variant(version: str, name: str = "b", **fields: Any) -> dict[str, Any]:
    return {"name": name, "model": {"uri": f"configmap://models/{version}.onnx", "version": version}, **fields}


def test_three_arms_get_their_shares_change_and_go_without_a_failed_request(cluster: Cluster, namespace: str) -> None:
    endpoint = Endpoint(cluster, namespace).create_models().apply("1", rollout={"strategy": "Replace"}).wait()
    with under_load(cluster.kubectl, endpoint.load_plan(), namespace=namespace) as run:
        other = variant("3", "c", weight=10)
        endpoint.apply(variants=[variant("2", weight=30), other]).wait()
        plan = endpoint.load_plan(rate=100, count=1500)
        with under_load(cluster.kubectl, plan, namespace=namespace, name="split") as split:
            counts = split.result().assert_none_failed().by_revision
        assert_split(counts, {"1": 60, "2": 30, "3": 10})
        assert endpoint.status["variants"][0]["sha256"] == SECOND.sha256

        endpoint.apply(variants=[variant("corrupt", weight=30), other]).wait("Stalled")
        told = endpoint.status["variants"][0]
        assert (told["revision"], told["nextRevision"], told["weight"]) == (2, 4, 30)
        assert endpoint.condition("Available")["status"] == "True"

        endpoint.apply(variants=[variant("3", weight=30)]).wait()
        assert [told["revision"] for told in endpoint.status["variants"]] == [5]
        endpoint.apply("2").wait()
        assert endpoint.status["stable"]["revision"] == 6
        endpoint.apply(variants=[]).wait()
        endpoint.wait_until(lambda: endpoint.deployments() == {"churn-r6", "churn-router"})
        result = run.stop().assert_none_failed()
    assert set(result.by_revision) == {"1", "2", "3", "5", "6"}
    assert {"VariantStarted", "VariantServes", "VariantRemoved", "ModelInvalid"} <= set(endpoint.events())


def test_shadows_that_fail_or_are_slow_never_hurt_a_client_and_their_results_are_told(
    cluster: Cluster, namespace: str
) -> None:
    # A copy takes the slow one some hundred milliseconds of the little CPU that it has.
    little = {"resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"cpu": "200m", "memory": "512Mi"}}}
    failing = variant("fails-100", "failing", percent=40)
    slow = variant("slow", "slow", percent=100, server=little)
    endpoint = Endpoint(cluster, namespace).create_models()
    endpoint.apply("1", rollout={"strategy": "Replace"}, shadows=[failing, slow]).wait()
    endpoint.wait_until(lambda: all("results" in told for told in endpoint.status["shadows"]))

    plan = endpoint.load_plan(rate=100, count=1000)
    with under_load(cluster.kubectl, plan, namespace=namespace) as run:
        assert run.result().assert_none_failed().by_revision == {"1": 1000}

    def results(shadow: int) -> dict[str, Any]:
        return dict(endpoint.status["shadows"][shadow]["results"])

    endpoint.wait_until(lambda: results(0)["stable"]["answers"] == 1000)
    told = results(0)
    low, high = split_interval(1000, 40)
    assert low <= told["own"]["answers"] <= high, f"40 % of 1,000 requests are {low} to {high} copies"
    assert told["own"]["errorPercent"] == 100
    assert told["errors"]["lower"] > 90
    assert results(1)["own"]["answers"] < 1000, "it was too slow for all of them"
    assert "failing: " in cluster.kubectl("get", "mep", "-n", namespace, endpoint.name, "-o", "wide")


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
