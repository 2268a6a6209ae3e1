"""Captures on a real cluster, with an S3 store: turned on and off under load while the servers run, and all that was sent."""

import io
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import obstore
import pyarrow.parquet
import pytest
import yaml
from obstore.store import S3Store

from support.cluster import REPOSITORY, Cluster
from support.endpoints import FIRST, Endpoint
from support.store import BUCKET, REGION, SECRET, Store, store_in

CAPTURE = yaml.safe_load((REPOSITORY / "examples/08-capture/endpoint.yaml").read_text())["spec"]["monitoring"][
    "capture"
]

pytestmark = pytest.mark.usefixtures("operator")


@contextmanager
def asked_all_the_time(port: int) -> Iterator[dict[str, float]]:
    """Predict one row after the other; the block sees the answers by the ids of their requests."""
    answers: dict[str, float] = {}
    stop = threading.Event()

    def ask() -> None:
        number = 0
        while not stop.wait(0.05):
            body = b'{"instances": [[%d, 1, 2]]}' % number
            headers = {"Content-Type": "application/json", "x-request-id": f"id-{number}"}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, headers)
            with urllib.request.urlopen(request, timeout=10) as got:
                assert got.headers["x-request-id"] == f"id-{number}"
                answers[f"id-{number}"] = json.load(got)["predictions"][0][0]
            number += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def captured(store: Store) -> dict[str, float]:
    """Read all captures: the scores by the ids of their requests."""
    client = S3Store(
        BUCKET,
        endpoint=f"http://127.0.0.1:{store.port}",
        access_key_id=store.access_key,
        secret_access_key=store.secret_key,
        region=REGION,
        client_options={"allow_http": True},
    )
    paths = [str(found["path"]) for page in obstore.list(client, "captures") for found in page]
    tables = [pyarrow.parquet.read_table(io.BytesIO(obstore.get(client, path).bytes().to_bytes())) for path in paths]
    rows = [row for table in tables for row in table.to_pylist()]
    assert {row["_sha256"] for row in rows} <= {FIRST.sha256}
    found = {row["_request_id"]: row["score"] for row in rows}
    assert len(found) == len(rows), "none is there twice"
    return found


def test_requests_are_captured_while_the_servers_run_on(cluster: Cluster, namespace: str) -> None:
    with store_in(namespace, cluster.kubectl, cluster.port_forward) as store:
        endpoint = Endpoint(cluster, namespace).create_models().apply("1").wait()
        servers = {pod["metadata"]["uid"] for pod in pods(endpoint)}
        capture = {**CAPTURE, "maxSeconds": 5}
        assert (capture["uri"], capture["credentialsSecretRef"]) == (
            f"s3://{BUCKET}/captures/scoring",
            {"name": SECRET},
        )
        with cluster.port_forward(namespace, "churn", 80) as port, asked_all_the_time(port) as answers:
            endpoint.apply(monitoring={"capture": capture}).wait("Monitored")
            endpoint.wait_until(lambda: captured(store))
            told = endpoint.wait_until(lambda: endpoint.status["monitoring"].get("captured") and endpoint.status)
            assert told["monitoring"]["sampled"] >= told["monitoring"]["captured"]
            assert told["monitoring"]["dropped"] == 0
            assert told["stable"]["revision"] == 1

            del endpoint.spec["monitoring"]
            endpoint.apply()
            endpoint.wait_until(lambda: not pods(endpoint, "monitor"))
            assert endpoint.deployments() == {"churn-r1", "churn-router"}
        found = captured(store)
        assert len(found) >= 20
        assert found == {key: pytest.approx(answers[key], rel=1e-5) for key in found}
        assert {pod["metadata"]["uid"] for pod in pods(endpoint)} == servers, "no server was restarted"
        assert endpoint.status["stable"]["revision"] == 1


def pods(endpoint: Endpoint, component: str = "model-server") -> list[dict[str, dict[str, str]]]:
    selector = f"modelendpoint.dev/endpoint=churn,app.kubernetes.io/component={component}"
    return list(endpoint.cluster.get("pod", namespace=endpoint.namespace, selector=selector))
