"""Models that can't be served never get a request; the status says what is wrong and what to do."""

import pytest

from support.cluster import Cluster
from support.endpoints import FIRST, SECOND, Endpoint, pinned
from support.load_run import under_load

pytestmark = pytest.mark.usefixtures("operator")

BAD = {
    "missing": ({"uri": "configmap://models/missing.onnx"}, "ModelNotFound", "configmap://models/missing.onnx"),
    "corrupt": ({"uri": "configmap://models/corrupt.onnx"}, "ModelInvalid", "configmap://models/corrupt.onnx"),
    "other bytes": (pinned("2", FIRST.sha256), "DigestMismatch", SECOND.sha256),
}


@pytest.fixture
def endpoint(cluster: Cluster, namespace: str) -> Endpoint:
    """An endpoint with models, not applied yet."""
    return Endpoint(cluster, namespace).create_models()


@pytest.mark.parametrize("case", BAD)
def test_a_bad_model_is_reported_and_the_one_before_serves_on(endpoint: Endpoint, case: str) -> None:
    model, reason, named = BAD[case]
    endpoint.apply("1").wait()
    with under_load(endpoint.cluster.kubectl, endpoint.load_plan(), namespace=endpoint.namespace) as run:
        endpoint.apply(model=model)
        told = endpoint.wait_for_reason(reason)
        assert named in told["message"]
        assert endpoint.condition("Stalled")["status"] == "True"
        assert endpoint.condition("Available")["status"] == "True"
        endpoint.apply("1").wait()
        result = run.stop().assert_none_failed()
    assert set(result.by_revision) == {"1"}
    assert reason in endpoint.events()


def test_a_first_model_that_comes_late_heals_the_endpoint(cluster: Cluster, namespace: str) -> None:
    endpoint = Endpoint(cluster, namespace).apply("1")
    endpoint.wait_for_reason("ModelNotFound")
    assert endpoint.condition("Available")["status"] == "False"
    endpoint.create_models().wait()


def test_later_pods_of_a_revision_load_the_bytes_of_the_first_or_nothing(endpoint: Endpoint) -> None:
    endpoint.apply("1").wait()
    endpoint.cluster.kubectl("patch", "-n", endpoint.namespace, "configmap/models", "--type=json", "--patch", _swap())
    endpoint.apply(replicas=2)
    endpoint.wait_for_reason("DigestMismatch")
    assert endpoint.condition("Available")["status"] == "True"
    plan = endpoint.load_plan(rate=50, count=200)
    with under_load(endpoint.cluster.kubectl, plan, namespace=endpoint.namespace) as run:
        assert set(run.result().assert_none_failed().by_revision) == {"1"}


def _swap() -> str:
    """Put other bytes at the place of version 1."""
    return '[{"op": "copy", "from": "/binaryData/2.onnx", "path": "/binaryData/1.onnx"}]'
