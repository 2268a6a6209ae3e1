"""What one node hides: pods lie on several nodes, a node is drained under load, a node loses power."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from localcluster.folders import Cache
from localcluster.kind_cluster import KindCluster
from localcluster.kinds import open_cluster
from support.cluster import Cluster, run_hack_cluster
from support.endpoints import Endpoint
from support.load_run import under_load

NAME = os.environ.get("TEST_CLUSTER", "test")
NOTICED_SECONDS = 90
"""Until the cluster takes a silent node's pods out of Services: 50 s by default, and a busy machine's share."""

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.alone]


@pytest.fixture
def other_node(cluster: Cluster) -> Iterator[str]:
    """A node that the cluster can do without for a while; it is as before afterwards."""
    nodes = {node["metadata"]["name"]: node["metadata"]["labels"] for node in cluster.get("node")}
    others = [name for name, labels in nodes.items() if "node-role.kubernetes.io/control-plane" not in labels]
    if len(nodes) < 2 or not others:
        pytest.skip(f"needs a second node; this cluster has {len(nodes)} (CLUSTER=kind makes two)")
    yield others[0]
    cluster.kubectl("uncordon", others[0])


@pytest.fixture
def endpoint(cluster: Cluster, namespace: str, other_node: str) -> Endpoint:
    """An endpoint with two pods that serve version 1."""
    return Endpoint(cluster, namespace).create_models().apply("1", replicas=2).wait()


def nodes_of(endpoint: Endpoint, component: str) -> list[str]:
    """List the nodes of the pods that are ready, a node as often as it has one."""
    selector = f"app.kubernetes.io/component={component},modelendpoint.dev/endpoint={endpoint.name}"
    pods = endpoint.cluster.get("pod", namespace=endpoint.namespace, selector=selector)
    ready = [pod for pod in pods if {"type": "Ready", "status": "True"} in conditions(pod)]
    return sorted(pod["spec"]["nodeName"] for pod in ready if "deletionTimestamp" not in pod["metadata"])


def conditions(thing: dict[str, Any]) -> list[dict[str, str]]:
    found = thing["status"].get("conditions", [])
    return [{"type": condition["type"], "status": condition["status"]} for condition in found]


def is_ready(cluster: Cluster, node: str) -> bool:
    return {"type": "Ready", "status": "True"} in conditions(cluster.get("node", node))


def test_pods_of_a_revision_and_routers_lie_on_different_nodes(endpoint: Endpoint) -> None:
    assert len(set(nodes_of(endpoint, "model-server"))) == 2
    assert len(set(nodes_of(endpoint, "router"))) == 2


def test_a_node_is_drained_under_load_without_a_failed_request(endpoint: Endpoint, other_node: str) -> None:
    kubectl = endpoint.cluster.kubectl
    kubectl("cordon", other_node)  # the load is not to be drained
    with under_load(kubectl, endpoint.load_plan(), namespace=endpoint.namespace) as run:
        options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=150s")
        kubectl("drain", other_node, *options)
        assert other_node not in nodes_of(endpoint, "model-server") + nodes_of(endpoint, "router")
        endpoint.wait_until(lambda: len(nodes_of(endpoint, "model-server")) == 2)
        result = run.stop().assert_none_failed()
    assert sum(result.by_revision.values()) > 200


def test_after_a_node_has_lost_power_the_others_answer_everything(endpoint: Endpoint, other_node: str) -> None:
    """What was under way to the dead node is lost until the cluster notices; from then on nothing may fail."""
    cluster, kubectl = endpoint.cluster, endpoint.cluster.kubectl
    if not isinstance(open_cluster(Cache.from_environment(os.environ), NAME, None), KindCluster):
        pytest.skip("only nodes of a kind cluster of ours may be stopped")
    kubectl("cordon", other_node)
    run_hack_cluster("stop-node", other_node, "--name", NAME)
    try:
        endpoint.wait_until(lambda: not is_ready(cluster, other_node), NOTICED_SECONDS)
        endpoint.wait_until(lambda: other_node not in nodes_of(endpoint, "router"), NOTICED_SECONDS)
        plan = endpoint.load_plan(rate=50, count=500)
        with under_load(kubectl, plan, namespace=endpoint.namespace) as run:
            assert run.result().assert_none_failed().by_revision == {"1": 500}
    finally:
        run_hack_cluster("start-node", other_node, "--name", NAME)
    endpoint.wait_until(lambda: is_ready(cluster, other_node), NOTICED_SECONDS)
    endpoint.wait_until(lambda: len(nodes_of(endpoint, "model-server")) == 2, NOTICED_SECONDS)
