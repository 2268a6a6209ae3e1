"""The operator as an installation: two pods of which one works, and one that keeps to its namespaces."""

from collections.abc import Iterator

import pytest

from support.cluster import Cluster
from support.endpoints import Endpoint
from support.installation import HOME, install
from support.load_run import under_load

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.alone]

LEASE = "modelendpoint-operator"


@pytest.fixture
def as_before(cluster: Cluster) -> Iterator[None]:
    """Install the operator anew afterwards, as the other tests know it."""
    yield
    install(cluster)


@pytest.mark.usefixtures("as_before")
def test_the_second_operator_takes_over_when_the_first_is_killed(cluster: Cluster, namespace: str) -> None:
    install(cluster, "--set", "replicaCount=2")
    endpoint = Endpoint(cluster, namespace).create_models().apply("1").wait()
    steps = [{"weight": 20, "holdSeconds": 2}, {"weight": 60, "holdSeconds": 2}]
    first = _holder(cluster)
    with under_load(cluster.kubectl, endpoint.load_plan(), namespace=namespace) as run:
        endpoint.apply("2", rollout={"steps": steps}).wait_for_phase("Deploying")
        cluster.kubectl("delete", "pod", "-n", HOME, first, "--grace-period=0", "--force")
        endpoint.wait_until(lambda: _holder(cluster) not in ("", first), 30)
        endpoint.wait()
        run.stop().assert_none_failed()
    second = _holder(cluster)
    cluster.kubectl("delete", "pod", "-n", HOME, second, "--wait=false")
    endpoint.wait_until(lambda: _holder(cluster) not in ("", second), 15)


@pytest.mark.usefixtures("as_before")
def test_an_operator_for_one_namespace_leaves_the_others_alone(cluster: Cluster, namespace: str) -> None:
    install(cluster, "--set", f"watchNamespaces={{{namespace}}}")
    elsewhere = Endpoint(cluster, "default", name="left-alone").apply("1")
    try:
        Endpoint(cluster, namespace).create_models().apply("1").wait()
        assert elsewhere.status == {"observedGeneration": -1}
        assert elsewhere.children() == []
    finally:
        cluster.kubectl("delete", "-n", "default", "mep/left-alone")


def _holder(cluster: Cluster) -> str:
    lease = cluster.get("lease", LEASE, namespace=HOME)
    return str(lease["spec"].get("holderIdentity", ""))
