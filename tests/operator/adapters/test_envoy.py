"""Reading a router's status."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_operator.adapters.envoy import MAX_BYTES, ClusterStats, RouterStats, RouterStatusReader, parse_stats

SEEN = {
    "stats": [
        {"name": "http.endpoint.rds.endpoint.version_text", "value": "885d95aca19b"},
        {"name": "cluster_manager.cds.version_text", "value": "275fb5306cfd"},
        {"name": "listener_manager.lds.version_text", "value": "df6dcf3aed11"},
        {"name": "http.endpoint.rds.endpoint.update_rejected", "value": 2},
        {"name": "http.endpoint.rds.endpoint.update_failure", "value": 1},
        {"name": "listener_manager.lds.update_rejected", "value": 4},
        {"name": "cluster.churn-r7.membership_total", "value": 3},
        {"name": "cluster.churn-r7.membership_healthy", "value": 2},
        {"name": "cluster.churn-r7.outlier_detection.ejections_active", "value": 1},
        {"name": "cluster.churn-r7.upstream_rq_completed", "value": 900},
        {"name": "cluster.churn-r7.upstream_rq_4xx", "value": 7},
        {"name": "cluster.churn-r7.upstream_rq_5xx", "value": 5},
        {"name": "cluster.churn-r7.upstream_rq_timeout", "value": 4},
        {"name": "cluster.churn-r7.upstream_rq_retry", "value": 3},
        {"name": "cluster.churn-r7.upstream_cx_connect_fail", "value": 2},
        {"name": "cluster.churn-r7.upstream_cx_none_healthy", "value": 1},
        {"name": "cluster.churn-r7.upstream_rq_pending_overflow", "value": 2},
        {"name": "cluster.churn-r7.upstream_rq_active_overflow", "value": 1},
        {"name": "cluster.churn-r7.upstream_rq_total", "value": 77},
        {"name": "cluster.churn-r10.membership_total", "value": 0},
        {"name": "cluster.admin.membership_total", "value": 1},
        {
            "histograms": {
                "supported_percentiles": [50],
                "details": [
                    {
                        "name": "cluster.churn-r7.upstream_rq_time",
                        "totals": [
                            {"lower_bound": 0, "width": 0, "count": 400},
                            {"lower_bound": 2, "width": 0.1, "count": 300},
                            {"lower_bound": 17, "width": 1, "count": 150},
                            {"lower_bound": 120, "width": 10, "count": 50},
                        ],
                        "intervals": [{"lower_bound": 0, "width": 0, "count": 1}],
                        "percentiles": [{"cumulative": 3, "interval": None}],
                    },
                    {
                        "name": "cluster.churn-r7.upstream_cx_length_ms",
                        "totals": [{"lower_bound": 1, "width": 1, "count": 1}],
                    },
                ],
            }
        },
    ]
}


def test_versions_refusals_and_counters_are_read() -> None:
    assert parse_stats(SEEN) == RouterStats(
        route_version="885d95aca19b",
        listener_version="df6dcf3aed11",
        cluster_version="275fb5306cfd",
        rejected_updates=7,
        clusters={
            7: ClusterStats(
                hosts=3,
                healthy_hosts=2,
                ejected_hosts=1,
                answers=900,
                answers_4xx=7,
                answers_5xx=5,
                timeouts=4,
                retries=3,
                failed_connections=2,
                without_host=1,
                dropped=3,
                latency={(0, 1): 400, (2, 3): 300, (17, 18): 150, (120, 130): 50},
            ),
            10: ClusterStats(),
        },
    )


def test_a_router_that_can_hold_requests_says_how_often_one_asked_for_a_pod() -> None:
    knocks = {"stats": [{"name": "cluster.hold.upstream_rq_total", "value": 7}]}

    assert parse_stats(knocks).knocks == 7
    assert parse_stats(SEEN).knocks is None


@pytest.mark.parametrize(("certificates", "troubles"), [(0, {"tls": "invalid"}), (1, {}), (3, {})])
def test_a_router_that_never_had_a_certificate_is_in_trouble(certificates: int, troubles: dict[str, str]) -> None:
    name = "listener.0.0.0.0_8443.server_ssl_socket_factory.ssl_context_update_by_sds"

    assert parse_stats({"stats": [{"name": name, "value": certificates}]}).troubles == troubles


def test_an_envoy_without_routes_has_no_version() -> None:
    assert parse_stats({"stats": []}) == RouterStats()
    empty = {"stats": [{"name": "http.endpoint.rds.endpoint.version_text", "value": ""}]}
    assert parse_stats(empty).route_version is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.sampled_from(["stats", "name", "value"]) | st.text(), part),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(json_values)
def test_anything_else_is_a_value_error_at_worst(document: Any) -> None:
    with suppress(ValueError):
        assert isinstance(parse_stats(document), RouterStats)


@contextmanager
def a_router(status: int, body: bytes) -> Iterator[tuple[RouterStatusReader, list[str]]]:
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield RouterStatusReader(port=server.server_port), paths
        server.shutdown()
        thread.join()


def test_one_request_asks_for_no_more_than_is_read() -> None:
    with a_router(200, json.dumps(SEEN).encode()) as (reader, paths):
        assert reader.read("127.0.0.1") == parse_stats(SEEN)

    (path,) = paths
    assert path.startswith("/stats?format=json&histogram_buckets=detailed&filter=%5E")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b"{}"),
        (302, b""),
        (200, b"<html>"),
        (200, b'{"stats": 1}'),
        (200, b'{"stats": [' + b" " * MAX_BYTES + b"]}"),
        (200, b"\xff\xfe"),
    ],
    ids=["an error", "a redirect", "no JSON", "other JSON", "too much", "no text"],
)
def test_a_pod_that_does_not_answer_like_a_router_is_unknown(status: int, body: bytes) -> None:
    with a_router(status, body) as (reader, _):
        assert reader.read("127.0.0.1") is None


def test_a_pod_that_does_not_answer_is_unknown() -> None:
    with a_router(200, b"") as (reader, _):
        pass

    assert reader.read("127.0.0.1") is None
