"""The adapter of the cluster, against an API server over real HTTP."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.adapters.api_server import CONFIG_MAPS, LEASES, ApiServer
from modelendpoint_operator.adapters.checks import Address, CheckRunner
from modelendpoint_operator.adapters.cluster import KubernetesCluster, Probes
from modelendpoint_operator.adapters.doorbell import Doorbell
from modelendpoint_operator.adapters.envoy import RouterStats, RouterStatusReader
from modelendpoint_operator.adapters.leases import LeaseStore
from modelendpoint_operator.adapters.reports import ReportReader
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.gates import HttpGate
from modelendpoint_operator.api.status import ModelEndpointStatus, ScaleStatus
from modelendpoint_operator.errors import ClusterUnavailable, ForeignObject, WriteRefused
from modelendpoint_operator.observation import Check, Measurement, ObjectRef, PodReport
from modelendpoint_operator.plan import Apply, Delete, EventNote, Plan, Poke
from modelendpoint_operator.settings import Settings
from support.api_server import FakeApiServer, running

NOW = datetime(2026, 1, 1, 12, 0, 0, 250, tzinfo=UTC)
ENDPOINT_PATH = "/apis/modelendpoint.dev/v1alpha1/namespaces/shop/modelendpoints/churn"
CORE, APPS = "/api/v1/namespaces/shop", "/apis/apps/v1/namespaces/shop"
EVENTS_PATH = "/apis/events.k8s.io/v1/namespaces/shop/events"
OWNER = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "churn", "uid": "endpoint-uid"}


class AddressedReports(ReportReader):
    """Answers by address instead of over the network."""

    def __init__(self, reports: dict[str, PodReport]) -> None:
        super().__init__()
        self.reports = reports
        self.asked: list[str] = []

    def read(self, address: str) -> PodReport | None:
        self.asked.append(address)
        return self.reports.get(address)


class AddressedRouters(RouterStatusReader):
    """Answers by address instead of over the network."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def count_knocks(self, address: str) -> int | None:
        return 0

    def read(self, address: str) -> RouterStats | None:
        self.asked.append(address)
        return RouterStats(route_version="v1") if address != "10.0.0.99" else None


class RecordedChecks(CheckRunner):
    """Remembers what was asked, and answers nothing over the network."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.asked: list[tuple[Sequence[Check], Mapping[int, Address]]] = []

    def measure(
        self, endpoint: ModelEndpoint, checks: Sequence[Check], *, pods: Mapping[int, Address]
    ) -> dict[str, Measurement]:
        self.asked.append((checks, pods))
        return {check.name: Measurement(value=200) for check in checks}


@pytest.fixture
def server() -> FakeApiServer:
    return FakeApiServer()


@pytest.fixture
def api(server: FakeApiServer) -> Iterator[ApiServer]:
    with running(server) as api:
        yield api


@pytest.fixture
def reports() -> AddressedReports:
    return AddressedReports({"10.0.0.1": PodReport(state="Ready", sha256="ab")})


@pytest.fixture
def routers() -> AddressedRouters:
    return AddressedRouters()


@pytest.fixture
def checks() -> RecordedChecks:
    return RecordedChecks()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def rung() -> list[tuple[str, str]]:
    """The endpoints that the doorbell rang for."""
    return []


@pytest.fixture
def doorbell(routers: AddressedRouters, rung: list[tuple[str, str]], pool: ThreadPoolExecutor) -> Doorbell:
    return Doorbell(routers, lambda *subject: rung.append(subject), pool=pool)


@pytest.fixture
def cluster(
    api: ApiServer,
    reports: AddressedReports,
    routers: AddressedRouters,
    checks: RecordedChecks,
    doorbell: Doorbell,
    pool: ThreadPoolExecutor,
) -> KubernetesCluster:
    return KubernetesCluster(
        api,
        probes=Probes(routers=routers, reports=reports, checks=checks),
        doorbell=doorbell,
        pool=pool,
        reporter="pod-1",
    )


@pytest.fixture
def endpoint(server: FakeApiServer) -> ModelEndpoint:
    metadata = {"name": "churn", "namespace": "shop", "uid": "endpoint-uid", "generation": 3}
    spec = {"model": {"uri": "s3://models/churn.onnx"}}
    return ModelEndpoint.from_body(server.put(ENDPOINT_PATH, metadata=metadata, spec=spec))


def a_config_map(name: str = "churn-r1", **data: str) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "shop",
        "ownerReferences": [OWNER],
        "labels": {names.LABEL_ENDPOINT: "churn"},
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def a_pod(
    address: str | None, *, component: str = "model-server", ready: bool = True, revision: str = "1"
) -> dict[str, Any]:
    labels = {names.LABEL_ENDPOINT: "churn", names.LABEL_COMPONENT: component, names.LABEL_REVISION: revision}
    status: dict[str, Any] = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"labels": labels}, "status": status | ({"podIP": address} if address else {})}


def test_an_endpoint_is_found_unless_it_is_gone_or_going(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    found = cluster.find("shop", "churn")
    assert found is not None and found["metadata"]["uid"] == "endpoint-uid"
    assert cluster.find("shop", "other") is None

    server.objects[ENDPOINT_PATH]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert cluster.find("shop", "churn") is None


def test_the_routers_of_an_endpoint_are_listened_to_while_it_sleeps_and_is_there(
    cluster: KubernetesCluster,
    server: FakeApiServer,
    endpoint: ModelEndpoint,
    doorbell: Doorbell,
    rung: list[tuple[str, str]],
) -> None:
    server.put(f"{CORE}/pods/e", **a_pod("10.0.0.5", component="router"))

    def rings(*, replicas: int) -> bool:
        scale = ScaleStatus(replicas=replicas, since=NOW)
        cluster.observe(replace(endpoint, status=ModelEndpointStatus(scale=scale)), ())
        rung.clear()
        doorbell.look()
        return rung == [("shop", "churn")]

    assert rings(replicas=0)
    assert not rings(replicas=1)
    assert rings(replicas=0)
    del server.objects[ENDPOINT_PATH]
    cluster.find("shop", "churn")
    rung.clear()
    doorbell.look()
    assert rung == []


def test_only_the_endpoints_own_objects_are_seen(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    labels = {names.LABEL_ENDPOINT: "churn"}
    server.put(f"{CORE}/configmaps/churn-r1", **a_config_map())
    server.put(f"{CORE}/configmaps/foreign", metadata={"labels": labels})
    server.put(f"{CORE}/configmaps/anothers", metadata={"labels": labels, "ownerReferences": [{"uid": "other"}]})
    server.put(f"{CORE}/configmaps/unlabelled", metadata={"ownerReferences": [OWNER]})
    going = {**a_config_map("churn-r0")["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    server.put(f"{CORE}/configmaps/churn-r0", metadata=going)

    seen = cluster.observe(endpoint, ())
    assert list(seen.objects) == [ObjectRef(api_version="v1", kind="ConfigMap", name="churn-r1")]


def test_kinds_that_few_endpoints_have_are_looked_at_when_the_spec_asks_for_them_or_is_new(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    autoscalers = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
    metadata = {"labels": {names.LABEL_ENDPOINT: "churn"}, "ownerReferences": [OWNER]}
    server.put(f"{autoscalers}/churn", metadata=metadata)
    body = server.objects[ENDPOINT_PATH]

    def kinds_seen(*, observed: int, **spec: Any) -> set[str]:
        status = {"observedGeneration": observed}
        seen = cluster.observe(ModelEndpoint.from_body({**body, "spec": body["spec"] | spec, "status": status}), ())
        return {ref.kind for ref in seen.objects}

    by_cpu = {"maxReplicas": 3, "targetCPUUtilizationPercent": 50}
    assert kinds_seen(observed=2) == {"HorizontalPodAutoscaler"}  # what an earlier spec asked for has to go
    assert kinds_seen(observed=3) == set()
    assert kinds_seen(observed=3, autoscaling={"maxReplicas": 3, "targetRequestsPerSecond": 5}) == set()
    assert kinds_seen(observed=3, autoscaling=by_cpu) == {"HorizontalPodAutoscaler"}


def test_checks_are_measured_with_the_address_of_a_ready_pod_of_each_revision(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint, checks: RecordedChecks
) -> None:
    server.put(f"{CORE}/pods/a", **a_pod("10.0.0.1", revision="1"))
    server.put(f"{CORE}/pods/b", **a_pod("10.0.0.2", revision="2", ready=False))
    server.put(f"{CORE}/pods/c", **a_pod("10.0.0.3", revision="2"))
    server.put(f"{CORE}/pods/d", **a_pod(None, revision="3"))
    server.put(f"{CORE}/pods/e", **a_pod("10.0.0.5", component="router"))
    going = a_pod("10.0.0.6", revision="4")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    server.put(f"{CORE}/pods/f", **going)
    due = Check(name="http/first", gate=HttpGate(name="first", path="/"), candidate=2, stable=1, period=NOW)

    seen = cluster.observe(endpoint, [due])
    assert checks.asked == [([due], {1: ("10.0.0.1", 8080), 2: ("10.0.0.3", 8080)})]
    assert seen.measurements == {"http/first": Measurement(value=200)}


def test_pods_that_have_something_to_tell_are_asked(
    cluster: KubernetesCluster,
    server: FakeApiServer,
    endpoint: ModelEndpoint,
    reports: AddressedReports,
    routers: AddressedRouters,
) -> None:
    server.put(f"{CORE}/pods/churn-r1-a", **a_pod("10.0.0.1"))
    server.put(f"{CORE}/pods/churn-r1-b", **a_pod("10.0.0.2", ready=False))
    server.put(f"{CORE}/pods/churn-r1-c", **a_pod(None, ready=False))
    server.put(f"{CORE}/pods/churn-router-a", **a_pod("10.0.0.9", component="router"))
    server.put(f"{CORE}/pods/churn-router-b", **a_pod("10.0.0.99", component="router"))
    server.put(f"{CORE}/pods/churn-router-c", **a_pod("10.0.0.8", component="router", ready=False))

    seen = cluster.observe(endpoint, ())
    assert sorted(reports.asked) == ["10.0.0.1", "10.0.0.2"]
    assert sorted(routers.asked) == ["10.0.0.8", "10.0.0.9", "10.0.0.99"]
    assert [(pod.name, pod.ready, pod.report and pod.report.sha256) for pod in seen.pods] == [
        ("churn-r1-a", True, "ab"),
        ("churn-r1-b", False, None),
        ("churn-r1-c", False, None),
    ]
    assert [(router.name, router.route_version) for router in seen.routers] == [
        ("churn-router-a", "v1"),
        ("churn-router-b", None),
    ]
    assert [router.name for router in seen.starting_routers] == ["churn-router-c"]


def test_a_ready_pod_whose_digest_is_written_down_is_left_in_peace(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint, reports: AddressedReports
) -> None:
    metadata = {**a_config_map()["metadata"], "annotations": {names.ANNOTATION_SHA256: "ab" * 32}}
    data = {"model": {"uri": "s3://models/churn.onnx"}, "server": {}, "serverImage": "server:1"}
    server.put(f"{APPS}/controllerrevisions/churn-r1", metadata=metadata, revision=1, data=data)
    server.put(f"{CORE}/pods/churn-r1-a", **a_pod("10.0.0.1"))

    seen = cluster.observe(endpoint, ())
    assert reports.asked == []
    assert seen.revisions[1].sha256 == "ab" * 32


def test_an_object_that_is_new_is_created(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    cluster.apply(endpoint, Plan(applies=(Apply(manifest=a_config_map(a="1"), uid=None),)), now=NOW)

    assert server.objects[f"{CORE}/configmaps/churn-r1"]["data"] == {"a": "1"}
    request = server.requests[-1]
    assert (request.method, request.content_type) == ("PATCH", "application/apply-patch+yaml")
    assert request.query == {"fieldManager": "modelendpoint-operator", "force": "true", "fieldValidation": "Strict"}


def test_a_run_of_a_gate_is_created_and_never_patched_and_seen_with_what_it_found(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    labels = {names.LABEL_ENDPOINT: "churn", names.LABEL_GATE: "recorded"}
    metadata = {"name": "run-1", "namespace": "shop", "labels": labels, "ownerReferences": [OWNER]}
    run = {"apiVersion": names.API_VERSION, "kind": names.BATCH_KIND, "metadata": metadata, "spec": {"a": 1}}
    for _ in range(2):  # the second time it is there already
        cluster.apply(endpoint, Plan(applies=(Apply(manifest=run, uid=None),)), now=NOW)

    path = "/apis/modelendpoint.dev/v1alpha1/namespaces/shop/batchpredictions"
    assert set(server.writes()) == {("POST", "batchpredictions")}
    assert server.objects[f"{path}/run-1"]["spec"] == {"a": 1}

    server.objects[f"{path}/run-1"]["status"] = {"comparison": {"rows": 5, "disagreeing": 1}}
    seen = cluster.observe(endpoint, ()).replays["run-1"]
    assert seen.gate == "recorded" and seen.status.comparison is not None
    assert (seen.status.comparison.rows, seen.status.comparison.disagreeing, seen.ended) == (5, 1, False)


@pytest.mark.parametrize("owners", [None, [{"uid": "other"}]])
def test_a_foreign_object_of_that_name_is_never_touched(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint, owners: Any
) -> None:
    before = server.put(f"{CORE}/configmaps/churn-r1", metadata={"ownerReferences": owners}, data={"mine": "1"})
    with pytest.raises(ForeignObject, match=r"^ConfigMap churn-r1$"):
        cluster.apply(endpoint, Plan(applies=(Apply(manifest=a_config_map(), uid=None),)), now=NOW)

    assert server.objects[f"{CORE}/configmaps/churn-r1"] == before
    assert server.writes() == []


def test_an_object_of_ours_that_lost_its_labels_is_taken_up_again(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    server.put(f"{CORE}/configmaps/churn-r1", metadata={"ownerReferences": [OWNER]})
    cluster.apply(endpoint, Plan(applies=(Apply(manifest=a_config_map(), uid=None),)), now=NOW)

    assert server.objects[f"{CORE}/configmaps/churn-r1"]["metadata"]["labels"] == {names.LABEL_ENDPOINT: "churn"}


def test_only_the_object_that_was_seen_is_changed(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    another = server.put(f"{CORE}/configmaps/churn-r1", data={"mine": "1"})
    with pytest.raises(ClusterUnavailable, match="409"):
        cluster.apply(endpoint, Plan(applies=(Apply(manifest=a_config_map(), uid="uid-of-before"),)), now=NOW)
    assert server.objects[f"{CORE}/configmaps/churn-r1"] == another

    cluster.apply(
        endpoint, Plan(applies=(Apply(manifest=a_config_map(a="2"), uid=another["metadata"]["uid"]),)), now=NOW
    )
    assert server.objects[f"{CORE}/configmaps/churn-r1"]["data"] == {"a": "2"}


def test_only_the_object_that_was_seen_is_deleted(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    body = server.put(f"{CORE}/configmaps/churn-r1")
    ref = ObjectRef(api_version="v1", kind="ConfigMap", name="churn-r1")
    cluster.apply(endpoint, Plan(deletes=(Delete(ref=ref, uid="uid-of-before"),)), now=NOW)
    assert f"{CORE}/configmaps/churn-r1" in server.objects

    cluster.apply(endpoint, Plan(deletes=(Delete(ref=ref, uid=body["metadata"]["uid"]),)), now=NOW)
    assert f"{CORE}/configmaps/churn-r1" not in server.objects
    cluster.apply(endpoint, Plan(deletes=(Delete(ref=ref, uid=body["metadata"]["uid"]),)), now=NOW)


def test_a_poke_sets_one_annotation_and_forgives_a_pod_that_is_gone(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    server.put(f"{CORE}/pods/churn-router-a", metadata={"annotations": {"theirs": "1"}})
    poke = Poke(pod="churn-router-a", annotation=names.ANNOTATION_ROUTER_CONFIG, value="v2")
    gone = Poke(pod="gone", annotation=names.ANNOTATION_ROUTER_CONFIG, value="v2")
    cluster.apply(endpoint, Plan(pokes=(poke, gone)), now=NOW)

    annotations = server.objects[f"{CORE}/pods/churn-router-a"]["metadata"]["annotations"]
    assert annotations == {"theirs": "1", names.ANNOTATION_ROUTER_CONFIG: "v2"}


def test_an_event_is_written_once_however_often_it_is_told(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    note = EventNote(reason="Promoted", message="Revision 2 serves" + "!" * 2000)
    warning = EventNote(reason="Aborted", message="Revision 2 was aborted", warning=True)
    for _ in range(2):
        cluster.apply(endpoint, Plan(events=(note, warning)), now=NOW)
    first, second = (body for path, body in server.objects.items() if path.startswith(EVENTS_PATH))

    assert (first["type"], first["reason"], len(first["note"])) == ("Normal", "Promoted", 1024)
    assert (second["type"], second["note"]) == ("Warning", "Revision 2 was aborted")
    assert first["eventTime"] == "2026-01-01T12:00:00.000250Z"
    assert first["regarding"]["uid"] == "endpoint-uid"
    assert first["reportingInstance"] == "pod-1"


def test_the_status_is_written_last_without_what_is_empty(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    plan = Plan(
        applies=(Apply(manifest=a_config_map(), uid=None),),
        events=(EventNote(reason="Promoted", message="Revision 1 serves"),),
        status=ModelEndpointStatus(observed_generation=3, url="http://churn.shop.svc"),
    )
    cluster.apply(endpoint, plan, now=NOW)

    assert [part for _, part in server.writes()] == ["churn-r1", "events", "status"]
    assert server.requests[-1].body == {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"namespace": "shop", "name": "churn", "uid": "endpoint-uid"},
        "status": {
            "observedGeneration": 3,
            "url": "http://churn.shop.svc",
            "replicas": 0,
        },
    }


def test_nothing_comes_after_a_write_that_failed(
    cluster: KubernetesCluster, server: FakeApiServer, endpoint: ModelEndpoint
) -> None:
    server.faults = [("configmaps/churn-r1", 500, "etcd is gone")]
    plan = Plan(applies=(Apply(manifest=a_config_map(), uid=None),), status=ModelEndpointStatus(observed_generation=3))
    with pytest.raises(ClusterUnavailable, match="ConfigMap churn-r1: 500 etcd is gone"):
        cluster.apply(endpoint, plan, now=NOW)

    assert server.writes() == []


@pytest.mark.parametrize("code", [400, 403, 422])
def test_a_refusal_is_told_with_the_api_servers_words(api: ApiServer, server: FakeApiServer, code: int) -> None:
    server.faults = [("configmaps", code, "exceeded quota: objects")]
    with pytest.raises(WriteRefused) as raised:
        api.apply(CONFIG_MAPS, a_config_map())

    assert (raised.value.subject, raised.value.message) == ("ConfigMap churn-r1", "exceeded quota: objects")


@pytest.mark.parametrize("code", [401, 408, 409, 429, 500, 503, 504])
def test_trouble_that_passes_is_tried_again(api: ApiServer, server: FakeApiServer, code: int) -> None:
    server.faults = [("configmaps", code, "later")]
    with pytest.raises(ClusterUnavailable, match=str(code)):
        api.apply(CONFIG_MAPS, a_config_map())


def test_an_answer_that_is_no_json_is_trouble_and_no_bug(api: ApiServer, server: FakeApiServer) -> None:
    server.answer = lambda request: (502, "<html>Bad Gateway</html>")  # type: ignore[method-assign]
    with pytest.raises(ClusterUnavailable, match="Bad Gateway"):
        api.list(CONFIG_MAPS, "shop")


def test_an_api_server_that_is_not_there_is_unavailable(server: FakeApiServer) -> None:
    with running(server) as api:
        pass
    with pytest.raises(ClusterUnavailable):
        api.get(CONFIG_MAPS, "shop", "churn-r1")


def test_an_api_server_that_does_not_answer_is_unavailable(
    api: ApiServer, server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelendpoint_operator.adapters.api_server.TIMEOUT_SECONDS", (0.1, 0.1))
    answer, over = server.answer, threading.Event()
    server.answer = lambda request: answer(request) if over.wait(10) else (500, {})  # type: ignore[method-assign]
    try:
        with pytest.raises(ClusterUnavailable, match="timed out"):
            api.apply(CONFIG_MAPS, a_config_map())
    finally:
        over.set()


def test_items_of_a_list_know_their_kind(api: ApiServer, server: FakeApiServer) -> None:
    server.put(f"{CORE}/configmaps/a")

    (item,) = api.list(CONFIG_MAPS, "shop")
    assert (item["apiVersion"], item["kind"]) == ("v1", "ConfigMap")


def test_a_lease_is_never_written_over_somebody_elses_change(api: ApiServer, server: FakeApiServer) -> None:
    store = LeaseStore(api, namespace="shop", name="operator")
    assert store.read() is None
    assert store.create({"holderIdentity": "first"})
    assert not store.create({"holderIdentity": "second"})

    read = store.read()
    assert read is not None
    assert store.replace(read, {"holderIdentity": "second"})
    assert not store.replace(read, {"holderIdentity": "third"})
    stored = api.get(LEASES, "shop", "operator")
    assert stored is not None and stored["spec"] == {"holderIdentity": "second"}
