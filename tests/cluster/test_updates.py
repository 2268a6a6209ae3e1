"""Updates on a real cluster under load: nothing fails, every answer is right, and the traffic goes where it should."""

import pytest

from support.cluster import Cluster
from support.endpoints import FIRST, SECOND, Endpoint
from support.load_run import assert_split, under_load

PAUSED_AT_10 = {"steps": [{"weight": 10, "pause": True}]}

pytestmark = pytest.mark.usefixtures("operator")


@pytest.fixture
def endpoint(cluster: Cluster, namespace: str) -> Endpoint:
    """An endpoint that serves version 1, and would roll out another one with a pause at 10 %."""
    return Endpoint(cluster, namespace).create_models().apply("1", rollout=PAUSED_AT_10).wait()


def test_a_canary_gets_its_share_then_everything_and_goes_back_without_a_failed_request(endpoint: Endpoint) -> None:
    with under_load(endpoint.cluster.kubectl, endpoint.load_plan(), namespace=endpoint.namespace) as run:
        endpoint.apply("2").wait_for_phase("Paused")
        plan = endpoint.load_plan(rate=200, count=2000)
        with under_load(endpoint.cluster.kubectl, plan, namespace=endpoint.namespace, name="split") as split:
            counts = split.result().assert_none_failed().by_revision
        assert_split(counts, {"1": 90, "2": 10})
        endpoint.annotate("promote", "2")
        endpoint.wait()
        assert endpoint.status["stable"]["sha256"] == SECOND.sha256
        endpoint.apply("1").wait()
        assert endpoint.status["stable"] | {"readyReplicas": 1} == {
            "revision": 1, "version": "1", "sha256": FIRST.sha256, "weight": 100, "replicas": 1, "readyReplicas": 1,
        }  # fmt: skip
        result = run.stop().assert_none_failed()
    assert set(result.by_revision) == {"1", "2"}
    assert {"RolloutStarted", "RolloutPaused", "Promoted"} <= set(endpoint.events())


def test_an_aborted_revision_gives_its_traffic_back_and_is_tried_again_only_on_demand(endpoint: Endpoint) -> None:
    with under_load(endpoint.cluster.kubectl, endpoint.load_plan(), namespace=endpoint.namespace) as run:
        endpoint.apply("2").wait_for_phase("Paused")
        endpoint.annotate("abort", "2")
        endpoint.wait("Stalled")
        endpoint.wait_until(lambda: endpoint.deployments() == {"churn-r1", "churn-router"})
        endpoint.apply("2", revisionHistoryLimit=9).wait("Stalled")
        endpoint.wait_until(lambda: endpoint.status["observedGeneration"] == endpoint.body["metadata"]["generation"])
        assert endpoint.condition("Ready")["reason"] == "Aborted"
        assert endpoint.condition("Available")["status"] == "True"
        endpoint.annotate("retry", "2")
        endpoint.wait_for_phase("Paused")
        result = run.stop().assert_none_failed()
    assert set(result.by_revision) == {"1", "2"}


def test_edits_in_mid_rollout_end_where_the_last_one_says(endpoint: Endpoint) -> None:
    half = {"steps": [{"weight": 50, "pause": True}]}
    with under_load(endpoint.cluster.kubectl, endpoint.load_plan(), namespace=endpoint.namespace) as run:
        endpoint.apply("2", rollout=half).wait_for_phase("Paused")
        endpoint.apply("3")
        endpoint.wait_until(lambda: endpoint.status["candidate"]["version"] == "3")
        endpoint.apply("2")
        endpoint.apply("1").wait()
        endpoint.wait_until(lambda: endpoint.deployments() == {"churn-r1", "churn-router"})
        run.stop().assert_none_failed()
    assert endpoint.status["stable"]["version"] == "1"


def test_replace_moves_all_traffic_at_once_and_scaling_loses_nothing(endpoint: Endpoint) -> None:
    with under_load(endpoint.cluster.kubectl, endpoint.load_plan(), namespace=endpoint.namespace) as run:
        endpoint.apply("2", rollout={"strategy": "Replace"}).wait()
        endpoint.cluster.kubectl("scale", "-n", endpoint.namespace, "mep/churn", "--replicas=3")
        endpoint.wait_until(lambda: endpoint.status["stable"].get("readyReplicas") == 3)
        endpoint.cluster.kubectl("scale", "-n", endpoint.namespace, "mep/churn", "--replicas=1")
        endpoint.wait_until(lambda: endpoint.status["replicas"] == 1)
        result = run.stop().assert_none_failed()
    assert set(result.by_revision) == {"1", "2"}


def test_a_suspended_endpoint_says_so_and_comes_back(endpoint: Endpoint) -> None:
    endpoint.apply(replicas=0)
    endpoint.wait_for_reason("Suspended")
    endpoint.wait_until(lambda: endpoint.status["replicas"] == 0)
    plan = endpoint.load_plan(rate=20, count=20)
    with under_load(endpoint.cluster.kubectl, plan, namespace=endpoint.namespace) as run:
        assert {failed.status for failed in run.result().first_failures} == {503}
    endpoint.apply(replicas=1).wait()
    with under_load(endpoint.cluster.kubectl, plan, namespace=endpoint.namespace) as run:
        run.result().assert_none_failed()
