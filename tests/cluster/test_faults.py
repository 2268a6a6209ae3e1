"""Things that go wrong around an endpoint: the operator dies, objects are deleted or edited, names are taken."""

import json

import pytest

from modelendpoint_operator import names
from support.cluster import Cluster
from support.endpoints import Endpoint
from support.installation import HOME, wait_for_operator
from support.load_run import under_load

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def endpoint(cluster: Cluster, namespace: str) -> Endpoint:
    """An endpoint that serves version 1."""
    return Endpoint(cluster, namespace).create_models().apply("1").wait()


@pytest.mark.alone
def test_an_operator_that_is_killed_in_mid_rollout_goes_on_where_it_was(endpoint: Endpoint) -> None:
    steps = [{"weight": 20, "holdSeconds": 5}, {"weight": 60, "holdSeconds": 5}]
    kubectl = endpoint.cluster.kubectl
    with under_load(kubectl, endpoint.load_plan(), namespace=endpoint.namespace) as run:
        endpoint.apply("2", rollout={"steps": steps})
        for phase in ("Deploying", "Holding"):
            endpoint.wait_for_phase(phase)
            kubectl(
                "delete", "pod", "-n", HOME, "-l", "app.kubernetes.io/component=operator", "--grace-period=0", "--force"
            )
        wait_for_operator(endpoint.cluster)
        endpoint.wait()
        result = run.stop().assert_none_failed()
    assert set(result.by_revision) == {"1", "2"}
    assert endpoint.status["stable"]["version"] == "2"


@pytest.mark.alone
def test_with_the_operator_down_requests_are_answered_and_deletion_ends(endpoint: Endpoint) -> None:
    kubectl = endpoint.cluster.kubectl
    kubectl("scale", "-n", HOME, "deployment", "-l", "app.kubernetes.io/component=operator", "--replicas=0")
    try:
        with under_load(kubectl, endpoint.load_plan(count=500, rate=100), namespace=endpoint.namespace) as run:
            run.result().assert_none_failed()
        kubectl("delete", "-n", endpoint.namespace, "mep/churn", "--timeout=10s")
        endpoint.wait_until(lambda: not [child for child in endpoint.children() if child["kind"] != "Pod"])
        assert "finalizers" not in endpoint.spec
    finally:
        kubectl("scale", "-n", HOME, "deployment", "-l", "app.kubernetes.io/component=operator", "--replicas=1")
        wait_for_operator(endpoint.cluster)


def test_objects_that_somebody_deletes_or_edits_are_put_right(endpoint: Endpoint) -> None:
    kubectl, where = endpoint.cluster.kubectl, ("-n", endpoint.namespace)
    wanted = _specs(endpoint)
    assert len(wanted) == 7
    for kind, name in wanted:
        kubectl("delete", *where, f"{kind}/{name}", "--wait=false")
        endpoint.wait_until(lambda: _specs(endpoint).keys() == wanted.keys(), 20)
    edits = {
        "deployment/churn-r1": {
            "spec": {"template": {"spec": {"containers": [{"name": "server", "image": "other:1"}]}}}
        },
        "deployment/churn-router": {"spec": {"replicas": 5}},
        "service/churn": {"spec": {"selector": {names.LABEL_COMPONENT: "nothing"}}},
        "configmap/churn-router": {"data": {names.ROUTES_FILE: "{}"}},
        "configmap/churn-r1": {"data": {names.DIGEST_KEY: "0" * 64}},
    }
    for target, patch in edits.items():
        kubectl("patch", *where, target, "--patch", json.dumps(patch))
    endpoint.wait_until(lambda: _specs(endpoint) == wanted, 20)
    endpoint.wait()
    with under_load(kubectl, endpoint.load_plan(rate=50, count=100), namespace=endpoint.namespace) as run:
        run.result().assert_none_failed()


def test_an_object_of_somebody_else_is_reported_and_not_touched(cluster: Cluster, namespace: str) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "churn"},
        "spec": {"ports": [{"port": 9, "name": "discard"}], "selector": {"app": "theirs"}},
    }
    cluster.apply(foreign, namespace=namespace)
    before = cluster.get("service", "churn", namespace=namespace)
    endpoint = Endpoint(cluster, namespace).create_models().apply("1")
    told = endpoint.wait_for_reason("NameConflict")
    assert "Service churn" in told["message"]
    assert cluster.get("service", "churn", namespace=namespace) == before
    cluster.kubectl("delete", "-n", namespace, "service/churn")
    endpoint.wait()


def test_nothing_is_written_while_nothing_happens(endpoint: Endpoint) -> None:
    endpoint.wait_until(lambda: endpoint.condition("Ready")["reason"] == "Serving")
    before = _versions(endpoint)
    endpoint.annotate("unknown", "1")  # A reason to look again that changes nothing.
    with under_load(
        endpoint.cluster.kubectl, endpoint.load_plan(rate=20, count=200), namespace=endpoint.namespace
    ) as run:
        run.result().assert_none_failed()
    assert _versions(endpoint) == before
    body = endpoint.body
    assert "finalizers" not in body["metadata"]
    assert not [name for name in body["metadata"]["annotations"] if "kopf" in name]


def _specs(endpoint: Endpoint) -> dict[tuple[str, str], object]:
    """What the operator wants of each object, without what the API server adds over time."""
    contents = {}
    for child in endpoint.children():
        if child["kind"] == "Pod":
            continue
        hash_of_manifest = child["metadata"].get("annotations", {}).get(names.ANNOTATION_APPLIED_HASH)
        spec = child.get("spec", {})
        content = (
            hash_of_manifest,
            child.get("data"),
            spec.get("replicas"),
            spec.get("selector"),
            [container["image"] for container in spec.get("template", {}).get("spec", {}).get("containers", [])],
        )
        contents[child["kind"].lower(), child["metadata"]["name"]] = content
    return contents


def _versions(endpoint: Endpoint) -> dict[str, str]:
    return {
        f"{child['kind']}/{child['metadata']['name']}": child["metadata"]["resourceVersion"]
        for child in endpoint.children()
    }
