"""From what the API server and the pods say to our own types."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelendpoint_operator import names
from modelendpoint_operator.adapters.envoy import ClusterStats, RouterStats
from modelendpoint_operator.adapters.reduction import parse_report, reduce_observation, serves
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.manifests.router import build_router
from modelendpoint_operator.observation import Counters, Leg, Observation, PodReport
from modelendpoint_operator.settings import Settings

TEMPLATE = {"model": {"uri": "s3://models/churn.onnx", "version": "1"}, "server": {}, "serverImage": "server:1"}
LABELS = {names.LABEL_COMPONENT: "model-server", names.LABEL_REVISION: "7"}

READY = {
    "phase": "Running",
    "podIP": "10.0.0.1",
    "conditions": [
        {"type": "PodReadyToStartContainers", "status": "True"},
        {"type": "Initialized", "status": "True"},
        {"type": "Ready", "status": "True"},
        {"type": "ContainersReady", "status": "True"},
        {"type": "PodScheduled", "status": "True"},
    ],
    "containerStatuses": [{"name": "server", "ready": True, "restartCount": 0, "state": {"running": {}}}],
}


def a_pod(name: str = "churn-r7-x", *, labels: Any = None, going: bool = False, **status: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": LABELS if labels is None else labels}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": status or READY}


def a_router(name: str = "churn-router-x", *, going: bool = False, **status: Any) -> dict[str, Any]:
    return a_pod(name, labels={names.LABEL_COMPONENT: "router"}, going=going, **status)


def observe(*objects: dict[str, Any], pods: Any = (), routers: Any = None, reports: Any = None) -> Observation:
    return reduce_observation(objects, pods, routers=routers or {}, reports=reports or {})


def a_revision(number: int, *, data: Any = None, **annotations: str) -> dict[str, Any]:
    metadata = {"name": f"churn-r{number}", "annotations": annotations, "labels": {names.LABEL_REVISION: str(number)}}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "revision": number,
        "data": TEMPLATE if data is None else data,
    }


def a_deployment(number: int, *, template: Any = None, **spec: Any) -> dict[str, Any]:
    annotations = {names.ANNOTATION_TEMPLATE: json.dumps(template)} if template else {}
    metadata = {"name": f"churn-r{number}", "labels": {names.LABEL_REVISION: str(number)}, "annotations": annotations}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


# Pods.


def test_a_ready_pod_is_seen_with_its_report() -> None:
    report = PodReport(state="Ready", sha256="ab")
    (pod,) = observe(pods=[a_pod()], reports={"churn-r7-x": report}).pods

    assert (pod.name, pod.revision, pod.ready, pod.terminating) == ("churn-r7-x", 7, True, False)
    assert (pod.trouble, pod.report) == (None, report)


def test_a_pod_that_ends_is_counted_no_more() -> None:
    seen = observe(pods=[a_pod("a"), a_pod("b", going=True)], reports={"b": PodReport(state="Failed")})

    assert seen.ready_pods(7) == 1
    assert list(seen.reports(7)) == []


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {names.LABEL_COMPONENT: "model-server"},
        {**LABELS, names.LABEL_REVISION: "seven"},
        {names.LABEL_REVISION: "7"},
    ],
)
def test_pods_with_other_labels_are_none_of_ours(labels: dict[str, str]) -> None:
    assert observe(pods=[a_pod(labels=labels)]).pods == ()


TROUBLES: list[tuple[dict[str, Any], str | None]] = [
    ({"phase": "Pending"}, None),
    ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, None),
    ({"containerStatuses": [{"state": {"running": {}}}]}, None),
    ({"containerStatuses": [{"state": {"waiting": {}}}]}, None),
    (
        {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]},
        "ImagePullBackOff: no such image",
    ),
    (
        {
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
            ]
        },
        "Unschedulable: 0/3 nodes",
    ),
    (
        {
            "containerStatuses": [
                {
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
                }
            ]
        },
        "CrashLoopBackOff: back-off 40s (ended before: OOMKilled, exit code 137)",
    ),
]


@pytest.mark.parametrize(("status", "trouble"), TROUBLES)
def test_what_keeps_a_pod_from_running_is_told(status: dict[str, Any], trouble: str | None) -> None:
    (pod,) = observe(pods=[a_pod(**status)]).pods

    assert pod.trouble == trouble
    assert not pod.ready


# Reports.


@pytest.mark.parametrize("document", [None, [], "Ready", {}, {"state": None}, {"state": 5}])
def test_an_answer_of_somebody_else_is_no_report(document: object) -> None:
    assert parse_report(document) is None


def test_a_report_may_lack_a_model() -> None:
    told = {"state": "Failed", "reason": "ModelNotFound", "message": "Nothing is there.", "model": None}

    assert parse_report(told) == PodReport(state="Failed", reason="ModelNotFound", message="Nothing is there.")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, JSON)
def test_no_document_breaks_the_reading_of_a_report(document: Any, model: Any) -> None:
    parse_report(document)
    report = parse_report({"state": "Ready", "model": model, "reason": document, "message": document})
    assert report is not None
    for part in (report.sha256, report.reason, report.message):
        assert part is None or isinstance(part, str)


# Routers.


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (a_router(), True),
        (a_router(phase="Running", conditions=[{"type": "Ready", "status": "False"}]), False),
        (a_router(phase="Pending"), False),
        (a_router(going=True, phase="Running", conditions=[{"type": "Ready", "status": "False"}]), True),
        (a_router(going=True, phase="Succeeded"), False),
        (a_router(going=True, phase="Failed"), False),
    ],
    ids=["ready", "not ready", "pending", "ending", "ended", "failed"],
)
def test_a_router_serves_while_it_is_ready_and_until_it_has_ended(pod: dict[str, Any], expected: bool) -> None:
    assert serves(pod) is expected
    assert bool(observe(pods=[pod]).routers) is expected


def test_a_router_that_starts_is_heard_and_not_used() -> None:
    starting = a_router(phase="Running", conditions=[{"type": "Ready", "status": "False"}])
    stats = RouterStats(troubles={"tls": "missing"})

    seen = observe(pods=[starting], routers={"churn-router-x": stats})

    assert seen.routers == ()
    assert [router.troubles for router in seen.starting_routers] == [{"tls": "missing"}]
    others = [a_router(), a_router(going=True, phase="Running"), a_router(phase="Pending")]
    assert observe(pods=others).starting_routers == ()


def test_a_router_that_did_not_answer_has_no_versions() -> None:
    (router,) = observe(pods=[a_router()], routers={"churn-router-x": None}).routers

    assert (router.route_version, router.cluster_version, router.healthy) == (None, None, {})


def test_a_routers_view_is_taken_over() -> None:
    stats = RouterStats(
        route_version="r1",
        cluster_version="c1",
        listener_version="l1",
        clusters={
            7: ClusterStats(
                hosts=3, healthy_hosts=2, answers=90, answers_4xx=4, answers_5xx=5, dropped=2, latency={(2.0, 3.0): 90}
            )
        },
    )
    (router,) = observe(pods=[a_router()], routers={"churn-router-x": stats}).routers

    assert (router.route_version, router.cluster_version, router.listener_version) == ("r1", "c1", "l1")
    assert router.healthy == {7: 2}
    counters = Counters(answers=90, client_errors=4, server_errors=5, dropped=2, latency={(2.0, 3.0): 90})
    assert router.counted == {7: counters}


def with_routers(
    *versions: str | None,
    going: str | None = None,
    written: str = "v1",
    healthy: int = 2,
    others: Sequence[dict[str, Any]] = (),
) -> Observation:
    names_ = [f"router-{index}" for index in range(len(versions))]
    stats = {
        name: RouterStats(route_version=version, clusters={7: ClusterStats(hosts=healthy, healthy_hosts=healthy)})
        for name, version in zip(names_, versions, strict=True)
    }
    pods = [a_router(name, going=name == going, **READY) for name in names_]
    seen = observe(pods=[*pods, a_pod("a"), a_pod("b"), *others], routers=stats)
    routes = observe(router_config((8, 10), (7, 90))).routes
    assert routes is not None
    return Observation(
        pods=seen.pods,
        routers=seen.routers,
        routes=type(routes)(version=written, legs=routes.legs, clusters=routes.clusters),
    )


def router_config(*shares: tuple[int, int], holding: Mapping[int, bool] | None = None) -> dict[str, Any]:
    body = {
        "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1},
        "spec": {"model": {"uri": "s3://models/churn.onnx"}},
    }
    legs = [Leg(revision=revision, weight=weight) for revision, weight in shares]
    endpoint = ModelEndpoint.from_body(body)
    documents = build_documents(endpoint, legs, (7, 8), holding=holding or {})
    return build_router(endpoint, documents, settings=Settings())[0]


def test_the_written_routes_are_read_as_they_were_written() -> None:
    routes = observe(router_config((8, 10), (7, 90))).routes

    assert routes is not None
    assert routes.legs == (Leg(revision=8, weight=10), Leg(revision=7, weight=90))
    assert routes.clusters == {7, 8}


def test_written_routes_tell_whose_requests_are_held_and_who_sleeps() -> None:
    routes = observe(router_config((7, 100), holding={7: True, 8: False})).routes

    assert routes is not None
    assert (routes.clusters, routes.holding, routes.sleeping) == ({7, 8}, {7, 8}, {7})


def test_routes_without_any_share_are_read_too() -> None:
    routes = observe(router_config()).routes

    assert routes is not None and routes.legs == ()


@pytest.mark.parametrize(
    "text", ["", "no json", "{}", "[]", "null", '{"resources": []}', '{"resources": [{"virtual_hosts": 1}]}']
)
def test_routes_that_somebody_made_unreadable_are_none(text: str) -> None:
    config = router_config((7, 100))

    assert observe({**config, "data": {**config["data"], names.ROUTES_FILE: text}}).routes is None
    if text != '{"resources": []}':  # there may be no clusters
        assert observe({**config, "data": {**config["data"], names.CLUSTERS_FILE: text}}).routes is None


def test_the_shares_are_certain_when_every_router_uses_what_is_written() -> None:
    assert with_routers("v1", "v1").live_legs == (Leg(revision=8, weight=10), Leg(revision=7, weight=90))
    assert with_routers("v1", "v0").live_legs is None
    assert with_routers("v1", None).live_legs is None
    assert with_routers("v1", "v0", going="router-1").live_legs is None, "a router that ends still serves"
    assert with_routers().live_legs is None
    assert Observation().live_legs is None


def test_pods_are_routable_as_far_as_every_router_sees_them() -> None:
    assert with_routers("v1", "v1", healthy=5).routable_pods(7) == 2
    assert with_routers("v1", "v1", healthy=1).routable_pods(7) == 1
    assert with_routers("v1", "v1", healthy=0).routable_pods(7) == 0
    assert with_routers().routable_pods(7) == 0
    assert with_routers("v1").routable_pods(8) == 0


def test_pods_that_end_carry_no_weight_for_those_that_the_routers_do_not_see_yet() -> None:
    """They get requests until they say that they are not ready, and may be gone before the others are seen."""
    ending = a_pod("ending", going=True)
    assert with_routers("v1", healthy=1, others=[ending]).routable_pods(7) == 0
    assert with_routers("v1", healthy=2, others=[ending]).routable_pods(7) == 1
    assert with_routers("v1", healthy=3, others=[ending]).routable_pods(7) == 2
    assert with_routers("v1", healthy=0, others=[ending]).routable_pods(7) == 0

    silent = a_pod("silent", going=True, phase="Running", conditions=[{"type": "Ready", "status": "False"}])
    assert with_routers("v1", healthy=2, others=[silent]).routable_pods(7) == 2


# Revisions.


def test_a_record_has_its_template_and_the_digest_that_was_learned() -> None:
    seen = observe(a_revision(7, **{names.ANNOTATION_SHA256: "ab" * 32}), a_revision(8))

    assert seen.revisions[7].template.model.version == "1"
    assert (seen.revisions[7].sha256, seen.revisions[8].sha256) == ("ab" * 32, None)


def test_a_record_that_was_deleted_is_read_from_its_deployment() -> None:
    seen = observe(a_deployment(7, template=TEMPLATE))

    assert seen.revisions[7].template.model.uri == "s3://models/churn.onnx"


def test_the_record_itself_counts_more_than_its_deployment() -> None:
    changed = {**TEMPLATE, "serverImage": "server:changed"}
    for objects in (
        [a_deployment(7, template=changed), a_revision(7)],
        [a_revision(7), a_deployment(7, template=changed)],
    ):
        assert observe(*objects).revisions[7].template.server_image == "server:1"


def test_a_record_of_another_form_is_left_out() -> None:
    assert observe(a_revision(7, data={"spec": "of something else"})).revisions == {}
    assert observe(a_deployment(7)).revisions == {}


@pytest.mark.parametrize("text", ["no json", "[]", "null", "5"])
def test_an_annotation_that_somebody_broke_breaks_nothing(text: str) -> None:
    deployment = a_deployment(7, replicas=2)
    deployment["metadata"]["annotations"][names.ANNOTATION_TEMPLATE] = text

    assert observe(deployment).revisions == {}
    assert observe(deployment, a_revision(7)).revisions.keys() == {7}


def test_workloads_and_what_else_there_is_of_revisions() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "labels": {names.LABEL_REVISION: "6"}}}
    router = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "r", "labels": {}}, "spec": {}}
    bare = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "b"}, "spec": {}}
    seen = observe(a_deployment(7, replicas=0), a_deployment(8), service, router, bare, a_revision(5))

    assert seen.workloads() == {7: 0, 8: 1}
    assert seen.populated() == {6, 7, 8}
