"""The generated documents in the real Envoy, on loopback, before real HTTP servers."""

import http.client
import json
import math
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.adapters.envoy import ClusterStats, RouterStats, RouterStatusReader
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.envoy import build_documents
from modelendpoint_operator.manifests.router import drain_command
from modelendpoint_operator.manifests.routes import build_routes, route_version
from modelendpoint_operator.observation import Leg
from support.dns import dns_of, with_resolver
from support.routers import (
    Exchange,
    Host,
    ModelServer,
    Router,
    black_hole,
    envoy_binary,
    model_servers,
    wait_until,
)

PREDICT = "/v1/models/churn:predict"

Answer = tuple[int, dict[str, str], bytes]


def an_endpoint(*, name: str = "churn", timeout_seconds: int = 60) -> ModelEndpoint:
    return ModelEndpoint.from_body(
        {
            "metadata": {"name": name, "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"model": {"uri": "s3://models/churn.onnx"}, "routing": {"timeoutSeconds": timeout_seconds}},
        }
    )


def legs(**weights: int) -> list[Leg]:
    return [Leg(revision=int(name.removeprefix("r")), weight=weight) for name, weight in weights.items()]


def discovery(resource_type: str, **resource: Any) -> str:
    return json.dumps(
        {
            "version_info": "x",
            "resources": [{"@type": f"type.googleapis.com/envoy.config.{resource_type}", **resource}],
        }
    )


class Rig:
    """A router with its endpoint, and a client of it."""

    def __init__(self, folder: Path) -> None:
        self.router = Router(folder)
        self._reader = RouterStatusReader(port=self.router.status_port, timeout_seconds=10)

    def route(self, shares: Sequence[Leg], *servers: ModelServer, endpoint: ModelEndpoint | None = None) -> None:
        """Write all documents; start Envoy with the first, wait until it uses the others."""
        endpoint = endpoint or an_endpoint()
        hosts: dict[int, list[Host]] = {}
        for server in servers:
            hosts.setdefault(server.revision, []).append(server.host)
        documents = build_documents(endpoint, shares, list(hosts))
        self.router.write(documents, hosts)
        if not self.router.is_running:
            self.router.start()
        wait_until(lambda: self.status().route_version == route_version(documents[names.ROUTES_FILE]))

    def status(self) -> RouterStats:
        status = self._reader.read("127.0.0.1")
        assert status is not None
        return status

    def counted(self, revision: int) -> ClusterStats:
        return self.status().clusters[revision]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.router.traffic_port, timeout=10)

    def predict(self, body: bytes = b"{}", *, path: str = PREDICT, **headers: str) -> Answer:
        connection = self.connect()
        try:
            return send(connection, body, path=path, **headers)
        finally:
            connection.close()

    def raw(self, text: str) -> int:
        """Send bytes as they are and read the status of the answer."""
        with socket.create_connection(("127.0.0.1", self.router.traffic_port), timeout=10) as connection:
            connection.sendall(text.encode())
            response = http.client.HTTPResponse(connection)
            response.begin()
            response.close()
            return response.status

    def ask_status(self, method: str, path: str) -> int:
        return self._status_of(self.router.status_port, method, path)

    def ask_admin(self, method: str, path: str) -> int:
        return self._status_of(self.router.admin_port, method, path)

    def _status_of(self, port: int, method: str, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()


def send(connection: http.client.HTTPConnection, body: bytes = b"{}", *, path: str = PREDICT, **headers: str) -> Answer:
    connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def send_at_once(rig: Rig, requests: int, *, clients: int) -> Counter[int]:
    """Send requests from several clients, each on a connection that it keeps, and count the statuses."""

    def client(share: int) -> list[int]:
        connection = rig.connect()
        try:
            return [send(connection)[0] for _ in range(share)]
        finally:
            connection.close()

    with ThreadPoolExecutor(clients) as pool:
        return Counter(status for statuses in pool.map(client, [requests // clients] * clients) for status in statuses)


def after(seconds: float) -> Any:
    def behaviour(exchange: Exchange) -> None:
        time.sleep(seconds)
        exchange.answer()

    return behaviour


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.router.stop()


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, ModelServer]]:
    """A router for the tests that leave nothing behind in it."""
    rig = Rig(tmp_path_factory.mktemp("router"))
    with model_servers(ModelServer(7)) as (server,):
        rig.route(legs(r7=100), server)
        yield rig, server
    rig.router.stop()


@pytest.fixture
def stable() -> Iterator[ModelServer]:
    with model_servers(ModelServer(7)) as (server,):
        yield server


@pytest.fixture
def candidate() -> Iterator[ModelServer]:
    with model_servers(ModelServer(8)) as (server,):
        yield server


def test_answers_are_counted_by_the_time_that_the_model_server_took(rig: Rig, stable: ModelServer) -> None:
    rig.route(legs(r7=100), stable)
    for _ in range(10):
        rig.predict()
    stable.behaviour = after(0.25)
    for _ in range(5):
        rig.predict()

    # Envoy gathers histograms from its threads when it is asked, and shows them when it is asked the next time.
    wait_until(lambda: sum(rig.counted(7).latency.values()) == 15)
    latency = rig.counted(7).latency
    slow = {ends: answers for ends, answers in latency.items() if ends[0] >= 200}
    assert sum(slow.values()) == 5
    for lower, upper in slow:
        assert lower % 10 == 0 and upper == lower + 10, "Envoy counts in steps of two digits"


@pytest.mark.parametrize("name", ["a", "churn", "a-r", "x" * 40, "r7-r8-x"])
def test_envoy_finds_the_bootstrap_valid(name: str, tmp_path: Path) -> None:
    Router(tmp_path).write(build_documents(an_endpoint(name=name), legs(r8=10, r7=90), [7, 8]), {})

    done = subprocess.run(
        [envoy_binary(), "--mode", "validate", "--log-level", "warning", "-c", tmp_path / names.BOOTSTRAP_FILE],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_traffic_is_split_by_weight(rig: Rig, stable: ModelServer, candidate: ModelServer) -> None:
    rig.route(legs(r8=10, r7=90), stable, candidate)

    def candidates_share_is_right() -> bool:
        candidate.requests.clear()
        assert send_at_once(rig, 1000, clients=2) == {200: 1000}
        return abs(len(candidate.requests) - 100) <= 3.291 * math.sqrt(1000 * 0.1 * 0.9)

    # One try in a thousand falls outside the 99.9 % interval by chance; two in a row do so once in a million.
    assert candidates_share_is_right() or candidates_share_is_right()


def test_new_weights_are_taken_up_and_read_back_while_connections_stay(
    rig: Rig, stable: ModelServer, candidate: ModelServer
) -> None:
    rig.route(legs(r8=0, r7=100), stable, candidate)
    connection = rig.connect()
    assert send(connection)[1]["x-model-revision"] == "7"
    client_port = connection.sock.getsockname()

    rig.route(legs(r8=100, r7=0), stable, candidate)

    assert send(connection)[1]["x-model-revision"] == "8"
    assert connection.sock.getsockname() == client_port
    connection.close()
    assert rig.status().rejected_updates == 0


def test_a_cluster_that_comes_or_goes_does_not_disturb_the_other(
    rig: Rig, stable: ModelServer, candidate: ModelServer
) -> None:
    rig.route(legs(r7=100), stable)
    stable.behaviour = after(0.5)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(rig.predict)
        wait_until(lambda: len(stable.requests) == 1)
        rig.route(legs(r7=100), stable, candidate)
        wait_until(lambda: rig.counted(8).healthy_hosts == 1)
        rig.route(legs(r7=99), stable)
        wait_until(lambda: 8 not in rig.status().clusters)
        assert not running.done()
        assert running.result()[0] == 200


@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param(names.ROUTES_FILE, "{", id="routes that are no JSON"),
        pytest.param(
            names.ROUTES_FILE,
            '{"version_info": "x", "resources": [{"@type": "type.googleapis.com/unknown"}]}',
            id="routes of an unknown type",
        ),
        pytest.param(names.CLUSTERS_FILE, discovery("cluster.v3.Cluster", name=""), id="an invalid cluster"),
        pytest.param(names.LISTENERS_FILE, discovery("listener.v3.Listener", name="traffic"), id="an invalid listener"),
    ],
)
def test_a_refused_document_is_seen_and_the_last_good_one_serves_on(
    file: str, text: str, rig: Rig, stable: ModelServer
) -> None:
    rig.route(legs(r7=100), stable)
    good = rig.status()

    rig.router.write_texts({file: text})

    wait_until(lambda: rig.status().rejected_updates > 0)
    seen = rig.status()
    assert (seen.route_version, seen.cluster_version, seen.listener_version) == (
        good.route_version,
        good.cluster_version,
        good.listener_version,
    )
    assert rig.predict()[0] == 200


def test_an_endpoint_without_a_ready_revision_says_so(rig: Rig) -> None:
    rig.route([])

    status, headers, body = rig.predict()

    assert (status, headers["retry-after"], headers["content-type"]) == (503, "5", "application/json")
    assert json.loads(body)["code"] == "NoRevisionReady"
    assert set(json.loads(body)) == {"code", "error"}


def test_a_revision_without_pods_is_told_apart_from_a_missing_one(rig: Rig) -> None:
    rig.router.write(build_documents(an_endpoint(), legs(r7=100), [7]), {})
    rig.router.start()

    status, headers, body = rig.predict()

    assert (status, headers["retry-after"], json.loads(body)["code"]) == (503, "1", "NoPodReady")
    assert rig.counted(7) == ClusterStats(answers=1, answers_5xx=1, without_host=1)


def test_a_server_that_closes_a_kept_connection_costs_no_request(rig: Rig, stable: ModelServer) -> None:
    def close_unsaid(exchange: Exchange) -> None:
        exchange.answer()
        # Not so often that all connections that a request is tried on could have been closed just then.
        exchange.close_connection = len(stable.requests) % 20 == 0

    stable.behaviour = close_unsaid
    rig.route(legs(r7=100), stable)

    assert send_at_once(rig, 600, clients=3) == {200: 600}


def test_requests_of_a_pod_that_dies_are_answered_by_another(rig: Rig) -> None:
    with model_servers(ModelServer(7, after(0.02)), ModelServer(7, after(0.02))) as (dying, other):
        rig.route(legs(r7=100), dying, other)
        killer = threading.Timer(0.5, dying.die)
        killer.start()

        statuses = send_at_once(rig, 1500, clients=15)

        killer.join()
        assert dying.requests
        assert statuses == {200: 1500}
        assert rig.counted(7).retries > 0


def test_what_a_server_answers_is_never_retried_and_never_ejects_its_pod(rig: Rig, stable: ModelServer) -> None:
    stable.behaviour = lambda exchange: exchange.answer(503, b'{"error": "the model says no", "code": "ModelFailed"}')
    rig.route(legs(r7=100), stable)

    answers = [rig.predict() for _ in range(30)]

    assert {(status, body) for status, _, body in answers} == {
        (503, b'{"error": "the model says no", "code": "ModelFailed"}')
    }
    assert len(stable.requests) == 30
    wait_until(lambda: sum(rig.counted(7).latency.values()) == 30)
    counted = rig.counted(7)
    assert replace(counted, latency={}) == ClusterStats(hosts=1, healthy_hosts=1, answers=30, answers_5xx=30)


@pytest.mark.parametrize(("pods", "ejected"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_dead_pods_are_left_out_until_half_of_them(pods: int, ejected: int, rig: Rig) -> None:
    with model_servers(ModelServer(7), *(ModelServer(7) for _ in range(pods))) as (ready, *servers):
        for server in servers:
            # Whoever asks is told that it is ready, while connections for requests fail.
            server.management_port = ready.server_port
        rig.route(legs(r7=100), *servers)
        for server in servers:
            server.die()

        for _ in range(40):
            assert rig.predict()[0] == 503

        seen = rig.counted(7)
        assert (seen.hosts, seen.healthy_hosts, seen.ejected_hosts) == (pods, pods - ejected, ejected)


def test_an_answer_that_takes_too_long_is_given_up(rig: Rig, stable: ModelServer) -> None:
    stable.behaviour = after(1.5)
    rig.route(legs(r7=100), stable, endpoint=an_endpoint(timeout_seconds=1))

    status, _, body = rig.predict()

    assert (status, json.loads(body)["code"]) == (504, "Timeout")
    assert "spec.routing.timeoutSeconds" in json.loads(body)["error"]
    assert rig.counted(7).timeouts == 1


def test_large_bodies_pass_in_both_directions(steady: tuple[Rig, ModelServer]) -> None:
    rig, server = steady
    server.requests.clear()
    body = bytes(range(256)) * 4 * 32 * 1024

    status, _, answer = rig.predict(body)

    assert (status, len(answer), answer == body) == (200, 32 * 1024 * 1024, True)


def test_the_clients_request_id_reaches_the_server_and_comes_back(rig: Rig, stable: ModelServer) -> None:
    stable.behaviour = lambda exchange: exchange.answer(200, exchange.headers["x-request-id"].encode())
    rig.route(legs(r7=100), stable)
    for given in ("order-66/a", "11111111-2222-4333-8444-555555555555"):
        _, headers, body = rig.predict(x_request_id=given)
        assert (headers["x-request-id"], body.decode()) == (given, given)

    _, headers, body = rig.predict()
    assert headers["x-request-id"] == body.decode() != ""


def test_clients_cannot_steer_envoy_by_headers(rig: Rig, stable: ModelServer) -> None:
    stable.behaviour = after(0.2)
    rig.route(legs(r7=100), stable)

    status, headers, _ = rig.predict(
        x_envoy_upstream_rq_timeout_ms="50", x_envoy_retry_on="5xx", x_envoy_max_retries="9", x_envoy_internal="true"
    )

    assert status == 200
    _, seen, _ = stable.requests[0]
    assert {name for name in seen if name.startswith("x-envoy")} == {"x-envoy-external-address"}
    assert not [name for name in headers if name.startswith("x-envoy")]


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked",
        "POST / HTTP/1.1\r\nhost: a\r\nx_model_revision: 7",
        "POST / HTTP/1.1\r\nhost: a\r\nx: a\0b",
        "POST /v1%2fmodels HTTP/1.1\r\nhost: a",
        "POST / HTTP/1.1",
        "POST / HTTP/9.1\r\nhost: a",
        "POST / HTTP/1.1\r\nhost: a\r\nx: " + "a" * 70_000,
        "POST / HTTP/1.1\r\nhost: a\r\n" + "\r\n".join(f"x{i}: 1" for i in range(101)),
    ],
    ids=lambda head: head[:70].replace("\r\n", "|"),
)
def test_ambiguous_or_oversized_requests_never_reach_a_server(head: str, steady: tuple[Rig, ModelServer]) -> None:
    rig, server = steady
    server.requests.clear()

    assert rig.raw(head + "\r\nconnection: close\r\n\r\n0\r\n\r\n") in (400, 426, 431, 501)
    assert server.requests == []


@pytest.mark.parametrize(
    ("head", "header", "value"),
    [
        ("POST / HTTP/1.1\r\nhost: a\r\nhost: b", "host", "a,b"),
        ("POST / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded: 2", "x", "1 folded: 2"),
        ("POST / HTTP/1.1\r\nhost: a\r\nconnection: x-model-revision\r\nx-model-revision: 7", "host", "a"),
    ],
    ids=["two hosts", "a folded header", "a header of the connection"],
)
def test_odd_requests_are_unambiguous_when_they_reach_a_server(
    head: str, header: str, value: str, steady: tuple[Rig, ModelServer]
) -> None:
    rig, server = steady
    server.requests.clear()

    rig.raw(head + "\r\nconnection: close\r\n\r\n")

    assert [seen[header] for _, seen, _ in server.requests] == [value]
    assert "x-model-revision" not in server.requests[0][1]


def test_paths_are_normal_before_they_reach_a_server(steady: tuple[Rig, ModelServer]) -> None:
    rig, server = steady
    server.requests.clear()

    rig.raw("GET /a/../v1//models/./churn HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")

    assert [path for path, _, _ in server.requests] == ["/v1/models/churn"]


def test_the_status_port_gives_status_and_nothing_else(steady: tuple[Rig, ModelServer]) -> None:
    rig, server = steady
    server.requests.clear()

    for path in ("/ready", "/stats", "/stats?format=json", "/stats/prometheus"):
        assert rig.ask_status("GET", path) == 200
    for method, path in (
        ("POST", "/quitquitquit"),
        ("POST", "/healthcheck/fail"),
        ("POST", "/drain_listeners"),
        ("POST", "/stats"),
        ("POST", "/ready"),
        ("GET", "/config_dump"),
        ("GET", "/stats/../config_dump"),
        ("GET", "//config_dump"),
        ("GET", "/stats%2f..%2fconfig_dump"),
        ("GET", "/clusters"),
        ("GET", "/"),
        ("POST", "/reset_counters"),
        ("GET", "/stats/recentlookups"),
    ):
        assert rig.ask_status(method, path) in (400, 404), f"{method} {path}"
    assert rig.ask_status("GET", "/ready") == 200


def test_even_inside_the_pod_the_admin_interface_only_reads_and_drains(rig: Rig, stable: ModelServer) -> None:
    rig.route(legs(r7=100), stable)

    for method, path in (("POST", "/quitquitquit"), ("GET", "/config_dump"), ("POST", "/runtime_modify?a=b")):
        assert rig.ask_admin(method, path) == 403
    assert rig.ask_admin("POST", "/healthcheck/fail") == 200


def test_no_setting_is_deprecated_and_envoy_has_nothing_to_complain_of(rig: Rig, stable: ModelServer) -> None:
    rig.route(legs(r7=100), stable)
    rig.predict()

    connection = http.client.HTTPConnection("127.0.0.1", rig.router.status_port, timeout=10)
    connection.request("GET", "/stats?filter=deprecated_feature_use")
    assert connection.getresponse().read() == b"runtime.deprecated_feature_use: 0\n"
    connection.close()
    assert rig.router.log == ""


def test_prometheus_gets_latencies_by_revision_in_useful_buckets(rig: Rig, stable: ModelServer) -> None:
    rig.route(legs(r7=100), stable)
    rig.predict()

    def exposition() -> list[str]:
        connection = http.client.HTTPConnection("127.0.0.1", rig.router.status_port, timeout=10)
        connection.request("GET", "/stats/prometheus")
        text = connection.getresponse().read().decode()
        connection.close()
        return text.splitlines()

    bucket = 'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="churn-r7",le="%s"}'
    wait_until(lambda: f"{bucket % '3600000'} 1" in exposition())
    assert not [line for line in exposition() if "admin" in line and "cluster_name" in line]


def test_draining_loses_no_request_of_kept_or_new_connections(rig: Rig, stable: ModelServer) -> None:
    rig.route(legs(r7=100), stable)
    kept, slow = rig.connect(), rig.connect()
    assert "connection" not in send(kept)[1]
    stable.behaviour = after(1.0)
    command = drain_command(drain_seconds=0, admin_port=rig.router.admin_port)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(send, slow)
        wait_until(lambda: len(stable.requests) == 2)

        with subprocess.Popen(command) as hook:
            wait_until(lambda: rig.ask_status("GET", "/ready") == 503)
            assert rig.ask_status("GET", "/stats?filter=server.live") == 200
            stable.behaviour = after(0)
            assert send(kept)[::2] == (200, b"{}")
            assert rig.predict()[1]["connection"] == "close"
            assert hook.poll() is None, "the hook waits for the request that still runs"
            assert running.result()[0] == 200
            assert hook.wait(timeout=5) == 0
    for connection in (kept, slow):
        assert connection.sock is None, "Envoy said that it will close"


def test_the_drain_hook_ends_when_envoy_is_gone() -> None:
    done = subprocess.run(drain_command(drain_seconds=0, admin_port=1), check=False, timeout=5, capture_output=True)

    assert done.returncode == 0


def test_routes_of_equal_content_have_equal_versions() -> None:
    endpoint = an_endpoint()

    assert build_routes(endpoint, legs(r8=10, r7=90)) == build_routes(endpoint, legs(r8=10, r7=90))
    assert route_version(build_routes(endpoint, legs(r8=10, r7=90))) != route_version(
        build_routes(endpoint, legs(r8=11, r7=89))
    )


def test_pods_come_with_dns_and_stay_without_it_as_long_as_they_are_ready(rig: Rig, stable: ModelServer) -> None:
    name = names.revision_host("churn", 7, namespace="shop", domain=names.CLUSTER_DOMAIN)
    with (
        dns_of(name) as dns,
        model_servers(ModelServer(7, address="127.0.0.2", port=stable.server_port)) as (other,),
    ):
        documents = with_resolver(build_documents(an_endpoint(), legs(r7=100), [7]), dns)
        rig.router.write(documents, {7: [stable.host._replace(address=name)]})
        rig.router.start()
        assert rig.predict()[0] == 503

        dns.tell("127.0.0.1")
        wait_until(lambda: rig.counted(7).healthy_hosts == 1)
        assert rig.predict()[0] == 200

        dns.tell("127.0.0.1", "127.0.0.2")
        wait_until(lambda: rig.counted(7).healthy_hosts == 2)

        def fall_out(answer: Callable[[], None], *, left: int) -> None:
            """Let DNS answer like this, and see that the ready pods serve on."""
            answer()
            dns.queries = 0
            wait_until(lambda: dns.queries >= 3)
            assert (rig.counted(7).hosts, rig.counted(7).healthy_hosts) == (left, left)
            assert {rig.predict()[0] for _ in range(10)} == {200}

        # As it is when the control plane has lost the pods' node, or one of them was told to end.
        fall_out(dns.tell, left=2)
        fall_out(lambda: dns.tell("127.0.0.1"), left=2)
        fall_out(dns.fail, left=2)
        fall_out(dns.fall_silent, left=2)

        dns.tell("127.0.0.1")
        other.is_ready = False
        wait_until(lambda: (rig.counted(7).hosts, rig.counted(7).healthy_hosts) == (1, 1))
        other.requests.clear()
        assert {rig.predict()[0] for _ in range(10)} == {200}
        assert other.requests == []


def test_a_pod_that_is_not_ready_gets_no_request_until_it_is(rig: Rig) -> None:
    with model_servers(ModelServer(7), ModelServer(7)) as (ready, other):
        other.is_ready = False
        rig.route(legs(r7=100), ready, other)
        wait_until(lambda: rig.counted(7).healthy_hosts == 1)
        assert {rig.predict()[0] for _ in range(20)} == {200}
        assert other.requests == []

        other.is_ready = True
        wait_until(lambda: rig.counted(7).healthy_hosts == 2)
        assert {rig.predict()[0] for _ in range(20)} == {200}
        assert other.requests

        ready.is_ready = other.is_ready = False
        wait_until(lambda: rig.counted(7).healthy_hosts == 0)
        assert json.loads(rig.predict()[2])["code"] == "NoPodReady"


@pytest.mark.parametrize("identity", ["shop/churn-r8", "stock/churn-r7", "shop/churn-r70", ""])
def test_a_stranger_at_a_pods_address_gets_no_request(identity: str, rig: Rig, stable: ModelServer) -> None:
    rig.route(legs(r7=100), stable)
    assert rig.predict()[0] == 200

    stable.identity = identity

    wait_until(lambda: rig.counted(7).healthy_hosts == 0)
    stable.requests.clear()
    assert rig.predict()[0] == 503
    assert stable.requests == []


def test_a_pod_that_is_silent_is_out_after_three_checks_and_costs_no_request(rig: Rig, stable: ModelServer) -> None:
    with model_servers(ModelServer(7)) as (lost,):
        host = lost.host
        documents = build_documents(an_endpoint(), legs(r7=100), [7])
        (cluster,) = documents[names.CLUSTERS_FILE]["resources"]
        # Shorter than for a pod, but for that the same.
        cluster["health_checks"][0]["timeout"] = cluster["connect_timeout"] = "0.3s"
        rig.router.write(documents, {7: [stable.host, host]})
        rig.router.start()
        wait_until(lambda: rig.counted(7).healthy_hosts == 2)

        lost.die()
        with black_hole(host.address, host.port):
            while rig.counted(7).healthy_hosts == 2 or rig.counted(7).ejected_hosts:
                assert rig.predict()[0] == 200

    assert rig.counted(7).failed_connections > 0


def test_a_router_that_starts_while_a_pod_is_silent_waits_for_one_check(rig: Rig, stable: ModelServer) -> None:
    name = names.revision_host("churn", 7, namespace="shop", domain=names.CLUSTER_DOMAIN)
    with dns_of(name) as dns, black_hole("127.0.0.2", stable.server_port):
        dns.tell("127.0.0.1", "127.0.0.2")
        documents = with_resolver(build_documents(an_endpoint(), legs(r7=100), [7]), dns)
        (cluster,) = documents[names.CLUSTERS_FILE]["resources"]
        cluster["health_checks"][0]["timeout"] = "1s"
        rig.router.write(documents, {7: [stable.host._replace(address=name)]})
        rig.router.start()

        def answers() -> int:
            try:
                return rig.predict()[0]
            except ConnectionRefusedError:
                return 0

        wait_until(lambda: answers() == 200, seconds=5)
        assert {answers() for _ in range(20)} == {200}
        assert (rig.counted(7).hosts, rig.counted(7).healthy_hosts) == (2, 1)


def test_a_candidate_without_requests_is_asked_as_often(rig: Rig, stable: ModelServer, candidate: ModelServer) -> None:
    candidate.is_ready = False
    rig.route(legs(r8=0, r7=100), stable, candidate)
    wait_until(lambda: 8 in rig.status().clusters and rig.counted(8).hosts == 1)
    assert rig.counted(8).healthy_hosts == 0

    candidate.is_ready = True

    wait_until(lambda: rig.counted(8).healthy_hosts == 1, seconds=5)
