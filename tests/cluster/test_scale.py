"""Scaling, evictions and routes from outside on a real cluster: nothing fails, and nobody who scales is fought."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from modelendpoint_operator import names
from support.cluster import Cluster
from support.endpoints import Endpoint
from support.gateway_api import crd_file
from support.load_run import under_load

BY_REQUESTS = {"maxReplicas": 3, "targetRequestsPerSecond": 6, "scaleDownAfterSeconds": 0}
BY_CPU = {"minReplicas": 2, "maxReplicas": 3, "targetCPUUtilizationPercent": 80}

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def endpoint(cluster: Cluster, namespace: str) -> Endpoint:
    return Endpoint(cluster, namespace).create_models()


def ready_pods(endpoint: Endpoint) -> int:
    return int(endpoint.status["stable"].get("readyReplicas", 0))


def numbers(endpoint: Endpoint) -> dict[str, int]:
    """How many pods the spec asks for, were chosen, the requests need, and are there."""
    spec, status = endpoint.body["spec"], endpoint.status
    scale = status["scale"]
    chosen = {"spec": spec["replicas"], "chosen": scale["replicas"], "requests": scale["forRequests"]}
    return chosen | {"pods": status["replicas"]}


def pods(endpoint: Endpoint, component: str) -> list[str]:
    selector = f"{names.LABEL_ENDPOINT}={endpoint.name},{names.LABEL_COMPONENT}={component}"
    found = endpoint.cluster.get("pods", namespace=endpoint.namespace, selector=selector)
    return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]


def evict(endpoint: Endpoint, pod: str) -> str:
    """Ask for a pod's eviction as ``kubectl drain`` does, and return the answer."""
    metadata = {"name": pod, "namespace": endpoint.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{endpoint.namespace}/pods/{pod}/eviction"
    return endpoint.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction), check=False)


def test_pods_come_and_go_with_the_requests_with_people_and_with_drains(endpoint: Endpoint) -> None:
    kubectl, namespace = endpoint.cluster.kubectl, endpoint.namespace
    endpoint.apply("1", autoscaling=BY_REQUESTS)
    endpoint.wait()
    with under_load(kubectl, endpoint.load_plan(rate=4), namespace=namespace) as calm:
        # So many that the look in which they begin needs all pods already: there is one every 15 s.
        with under_load(kubectl, endpoint.load_plan(rate=30), namespace=namespace, name="rush") as rush:
            endpoint.wait_until(lambda: ready_pods(endpoint) == 3, seconds=90)
            for component in (names.COMPONENT_MODEL_SERVER, names.COMPONENT_ROUTER):
                first, second, *_ = pods(endpoint, component)
                assert "Success" in evict(endpoint, first)
                assert "disruption budget" in evict(endpoint, second)
            rush.stop().assert_none_failed()
        kubectl("scale", "-n", namespace, f"mep/{endpoint.name}", "--replicas=2")
        # It needs one pod for the requests, and leaves the second to the person.
        endpoint.wait_until(lambda: numbers(endpoint) == {"spec": 2, "chosen": 2, "requests": 1, "pods": 2}, seconds=90)
        calm.stop().assert_none_failed()

    assert "Scaled" in endpoint.events()


def test_an_endpoint_without_requests_has_no_pods_and_the_next_ones_wait_for_one(endpoint: Endpoint) -> None:
    endpoint.apply("1", autoscaling={"minReplicas": 0, "maxReplicas": 1, "idleSeconds": 5})
    endpoint.wait_for_reason("Idle")
    endpoint.wait_until(lambda: not pods(endpoint, names.COMPONENT_MODEL_SERVER))
    assert endpoint.condition("Available")["reason"] == "Idle"
    # Open loop: requests come on, whether those before were answered or not.
    plan = replace(endpoint.load_plan(rate=8, count=160), timeout_seconds=60)
    with under_load(endpoint.cluster.kubectl, plan, namespace=endpoint.namespace) as load:
        load.result().assert_none_failed()
    endpoint.wait_for_reason("Idle", seconds=40)
    endpoint.wait_until(lambda: not pods(endpoint, names.COMPONENT_MODEL_SERVER))

    assert {"Idle", "Waking"} <= set(endpoint.events())


def test_an_autoscaler_by_cpu_scales_the_endpoint_and_says_what_it_lacks(endpoint: Endpoint) -> None:
    endpoint.apply("1", autoscaling=BY_CPU, replicas=None)

    endpoint.wait_until(lambda: endpoint.body["spec"]["replicas"] == 2)  # by the HorizontalPodAutoscaler, not by us
    message = endpoint.wait_until(lambda: endpoint.status.get("scale", {}).get("message"))
    assert "unable to get metrics" in message


@pytest.fixture
def without_gateway_api(cluster: Cluster) -> Iterator[str]:
    """The file that brings HTTPRoutes; there are none before, and none after."""
    crd = str(crd_file("httproutes"))
    cluster.kubectl("delete", "--ignore-not-found", "-f", crd)
    yield crd
    cluster.kubectl("delete", "--ignore-not-found", "-f", crd)


def test_a_route_from_outside_is_written_as_soon_as_the_cluster_knows_such_routes(
    endpoint: Endpoint, without_gateway_api: str
) -> None:
    gateway = {"parentRefs": [{"name": "public", "namespace": "infra"}], "hostnames": ["churn.example.com"]}
    ingress = {"hostnames": ["churn.example.com"], "tlsSecretRef": {"name": "churn-tls"}}
    endpoint.apply("1", routing={"replicas": 1, "gateway": gateway, "ingress": ingress})
    endpoint.wait_until(lambda: endpoint.condition("Exposed")["reason"] == "NoGatewayApi")
    endpoint.cluster.kubectl("apply", "--server-side", "-f", without_gateway_api)

    endpoint.wait_until(lambda: endpoint.condition("Exposed")["reason"] == "Waiting")
    route = endpoint.cluster.get("httproutes", endpoint.name, namespace=endpoint.namespace)["spec"]
    assert route["rules"][0]["backendRefs"][0].items() >= {"kind": "Service", "name": "churn", "port": 80}.items()
    assert route["rules"][0]["timeouts"] == {"request": "65s"}
    endpoint.apply(routing={"replicas": 1})
    gone = ("get", "httproutes,ingresses", "-n", endpoint.namespace, "-o", "name")
    endpoint.wait_until(lambda: endpoint.cluster.kubectl(*gone) == "")
