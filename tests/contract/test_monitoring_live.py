"""A real Prometheus scrapes a real server, a real router and the operator by the chart's monitors.

Every expression of both dashboards and every recording rule must have an answer. The endpoint is in the middle of a rollout.
"""

import contextlib
import http.client
import json
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards import ENDPOINT, FLEET
from modelendpoint_operator.adapters.envoy import RouterStatusReader
from modelendpoint_operator.handlers.keys import Key
from modelendpoint_operator.health import HealthServer
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.observation import Leg
from modelendpoint_operator.reconciler import Reconciler
from modelendpoint_operator.telemetry import Telemetry
from modelendpoint_operator.workqueue import WorkQueue
from support.emulators import find_go_tool, free_port, running
from support.helm import NAMESPACE
from support.onnx_models import linear_model
from support.promql import Asked, asked_by, rules, scrape_of
from support.router_rig import an_endpoint
from support.routers import Host, Router, wait_until
from support.server_process import JSON, ROW, Server, started
from support.stories import BY_TIME, a_serving_world

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(1900)]

ENDPOINT_LABEL = "__meta_kubernetes_pod_label_modelendpoint_dev_endpoint"
POD = {"namespace": "shop", ENDPOINT_LABEL: "churn", "container": "main"}
WITHIN_SECONDS = 60.0


@contextlib.contextmanager
def a_router(folder: Path, servers: Mapping[int, Server]) -> Iterator[Router]:
    """Run the endpoint's router in front of real servers: the stable revision and its candidate."""
    folder.mkdir()
    router = Router(folder)
    hosts = {revision: [Host("127.0.0.1", server.port, server.management)] for revision, server in servers.items()}
    router.write(
        build_documents(an_endpoint(), [Leg(revision=1, weight=60), Leg(revision=2, weight=40)], [1, 2]), hosts
    )
    router.start()
    reader = RouterStatusReader(port=router.status_port, timeout_seconds=10)

    def all_are_healthy() -> bool:
        status = reader.read("127.0.0.1")
        return status is not None and all(status.clusters[revision].healthy_hosts for revision in servers)

    try:
        wait_until(all_are_healthy, seconds=30)
        yield router
    finally:
        router.stop()


@contextlib.contextmanager
def an_operator() -> Iterator[tuple[int, Callable[[], None]]]:
    """Serve the metrics of an operator with an endpoint in the middle of a rollout; hand out its port, and a pass."""
    world = a_serving_world(rollout={**BY_TIME, "gates": {"errorRate": {}}})
    telemetry, queue = Telemetry(), WorkQueue[Key]()
    world.reconciler = Reconciler(world, world.settings, clock=lambda: world.now, audience=telemetry.fleet)
    telemetry.leader.set(1)
    telemetry.watch_queue(queue.backlog)
    world.use_model("2")
    for _ in world.history(turns=20):
        pass

    def work() -> None:
        with telemetry.duration.time():
            plan = world.reconciler.reconcile("shop", "churn")
        if plan is not None:
            telemetry.count(plan)

    work()
    telemetry.failed(KeyError("a bug"))
    server = HealthServer(0, is_healthy=lambda: True, registry=telemetry.registry)
    server.start()
    try:
        yield server.port, work
    finally:
        server.stop()


@contextlib.contextmanager
def callers(port: int, work: Callable[[], None]) -> Iterator[None]:
    """Send requests on and on, one in five of them bad; the operator takes a pass at times."""
    ended = threading.Event()

    def call() -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            number = 0
            while not ended.wait(0.01):
                number += 1
                connection.request("POST", "/predict", b"no JSON" if number % 5 == 0 else ROW, JSON)
                connection.getresponse().read()
                if number % 50 == 0:
                    work()

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def configuration(folder: Path, *, servers: Mapping[int, Server], router: Router, operator: int) -> Path:
    """Write down what the Prometheus operator would make of the chart, with targets on this machine."""

    def job(scrape: dict[str, Any], targets: Sequence[tuple[int, Mapping[str, str]]]) -> dict[str, Any]:
        static = [{"targets": [f"127.0.0.1:{port}"], "labels": dict(labels)} for port, labels in targets]
        return {**scrape, "static_configs": static}

    pods = [(server.management, {**POD, "pod": f"churn-r{revision}-x"}) for revision, server in servers.items()]
    jobs = [
        job(scrape_of("PodMonitor", "modelendpoint-servers"), pods),
        job(scrape_of("PodMonitor", "modelendpoint-routers"), [(router.status_port, {**POD, "pod": "churn-router-x"})]),
        job(
            scrape_of("ServiceMonitor", "modelendpoint-operator"),
            [(operator, {"namespace": NAMESPACE, "pod": "operator-x", "endpoint": "http"})],
        ),
    ]
    groups = [{"name": group["name"], "rules": group["rules"]} for group in rules()["groups"]]
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    document = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"},
        "scrape_configs": jobs,
        "rule_files": [str(folder / "rules.yml")],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    return folder / "prometheus.yml"


class Prometheus:
    """A running one."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self._base}/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def series(self, expr: str) -> list[dict[str, str]]:
        """Return the series of the answer whose value is a number."""
        with contextlib.suppress(OSError):
            found = self.ask("query", query=expr)["result"]
            return [series["metric"] for series in found if series["value"][1] != "NaN"]
        return []


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("monitored")
    with contextlib.ExitStack() as stack:
        servers = {}
        for revision in (1, 2):
            (folder / str(revision)).mkdir()
            servers[revision] = stack.enter_context(
                started(linear_model([1.0, 2.0]), folder / str(revision), revision=str(revision), batch_max_size="8")
            )
        router = stack.enter_context(a_router(folder / "router", servers))
        operator, work = stack.enter_context(an_operator())
        stack.enter_context(callers(router.traffic_port, work))
        port = free_port()
        command = [
            str(find_go_tool("prometheus")),
            f"--config.file={configuration(folder, servers=servers, router=router, operator=operator)}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        stack.enter_context(running(command, port, log=folder / "log"))
        yield Prometheus(port)


def unanswered(prometheus: Prometheus, asked: Sequence[Asked]) -> list[Asked]:
    """Ask until everything has an answer, or time is up; return what has none."""
    deadline = time.monotonic() + WITHIN_SECONDS
    left = list(asked)
    while left and time.monotonic() < deadline:
        left = [one for one in left if not prometheus.series(one.expr)]
        if left:
            time.sleep(0.5)
    return left


def test_every_panel_of_the_endpoints_dashboard_has_an_answer(prometheus: Prometheus) -> None:
    asked = asked_by(ENDPOINT, interval="15s")
    assert len(asked) > 50
    assert unanswered(prometheus, asked) == []


def test_every_panel_of_the_fleets_dashboard_has_an_answer(prometheus: Prometheus) -> None:
    assert unanswered(prometheus, asked_by(FLEET, interval="15s")) == []


def test_every_recording_rule_has_a_result_and_no_rule_fails(prometheus: Prometheus) -> None:
    recorded = [rule["record"] for group in rules()["groups"] for rule in group["rules"] if "record" in rule]
    assert unanswered(prometheus, [Asked(name, name) for name in recorded]) == []
    found = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in found} == {"ok"}


def test_series_of_one_endpoint_have_the_same_labels_whoever_has_them(prometheus: Prometheus) -> None:
    for metric in ("modelserver_ready", "envoy_cluster_upstream_rq_xx", "modelendpoint_revision_info"):
        assert unanswered(prometheus, [Asked(metric, metric)]) == []
        for labels in prometheus.series(metric):
            assert (labels["namespace"], labels["endpoint"]) == ("shop", "churn"), labels
            assert labels["revision"] in ("1", "2")
            assert not [name for name in labels if name.startswith("exported_")]


def test_of_a_router_only_what_somebody_asks_for_is_kept(prometheus: Prometheus) -> None:
    (kept,) = prometheus.ask("query", query='count({__name__=~"envoy_.+"})')["result"]
    assert 50 < int(kept["value"][1]) < 200
