"""The example with a replay gate, on a real cluster: two models predict for recorded rows before one of them gets traffic."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelendpoint_operator import names
from support.cluster import Cluster
from support.endpoints import FIRST, ROWS, SECOND, Endpoint
from support.load_run import under_load
from support.onnx_models import as_config_map_data, linear_model
from support.store import Store, store_in

pytestmark = pytest.mark.usefixtures("operator")

EXAMPLE = Path(__file__).parents[2] / "examples" / "09-replay"
NEARLY_FIRST = linear_model([0.5, -1.5, 2.0], intercept=1.0001)


@pytest.fixture
def store(cluster: Cluster, namespace: str) -> Iterator[Store]:
    """The store, the model and the rows that the example's page tells to create, and two models to update to."""
    models = {"model.onnx": FIRST, "other.onnx": SECOND, "alike.onnx": NEARLY_FIRST}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "scoring-model"}}
    cluster.apply({**config_map, "binaryData": as_config_map_data(models)}, namespace=namespace)
    cluster.kubectl("create", "configmap", "-n", namespace, "recorded-rows", f"--from-file={EXAMPLE / 'rows.csv'}")
    with store_in(namespace, cluster.kubectl, cluster.port_forward) as store:
        yield store


def test_a_candidate_that_disagrees_gets_no_request_and_one_that_agrees_takes_over(
    cluster: Cluster, namespace: str, store: Store
) -> None:
    endpoint = Endpoint(cluster, namespace, name="scoring-replay")

    def use(file: str, version: str) -> None:
        text = (EXAMPLE / "endpoint.yaml").read_text()
        text = text.replace("scoring-model/model.onnx", f"scoring-model/{file}").replace('"1"', f'"{version}"')
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)

    use("model.onnx", "1")
    endpoint.wait()
    plan = endpoint.load_plan(rate=20)
    plan = replace(plan, oracle={**plan.oracle, NEARLY_FIRST.sha256: NEARLY_FIRST.expected(ROWS)})
    with under_load(cluster.kubectl, plan, namespace=namespace) as run:
        use("other.onnx", "2")
        told = endpoint.wait_for_reason("GateFailed", seconds=120)
        assert "candidate and stable disagree about 8 of 8 recorded rows" in told["message"]
        selector = f"{names.LABEL_ENDPOINT}=scoring-replay,{names.LABEL_GATE}=recorded"
        (found,) = cluster.get("bp", namespace=namespace, selector=selector)
        folder = f"replays/{found['metadata']['name']}"
        table = store.get(f"{folder}/disagreements/part-00000.csv")
        assert table.count(b"\n") == 9, "a header and 8 rows"

        use("alike.onnx", "3")
        endpoint.wait_until(lambda: endpoint.status["stable"]["revision"] == 3, 120)
        endpoint.wait()
        result = run.stop()
    assert set(result.by_revision) == {"1", "3"}, "revision 2 never got a request"
    assert (result.by_status.keys(), result.failed) == ({"200"}, 0), result.summary()
    assert "GateSkipped" in endpoint.events()
