"""Every example does what its page says, under load where it updates something."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from demo import models
from modelendpoint.load_rig import LoadPlan
from support import load_run, onnx_models
from support.cluster import Cluster
from support.load_run import assert_split, under_load
from support.store import store_in

pytestmark = pytest.mark.usefixtures("operator")

EXAMPLES = Path(__file__).parents[2] / "examples"
SCORING = onnx_models.linear_model([0.5, -1.5, 2.0], intercept=1.0)
CHANGED = onnx_models.linear_model([-1.0, 0.25, 3.0], intercept=-2.0)
ROWS = onnx_models.some_rows(50, features=3)


def apply_example(cluster: Cluster, namespace: str, folder: str, **replaced: str) -> str:
    """Apply an example's YAML, with texts in it replaced as a person would; return the endpoint's name."""
    text = (EXAMPLES / folder / "endpoint.yaml").read_text()
    for before, after in replaced.items():
        text = text.replace(before, after)
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)
    return str(yaml.safe_load(text)["metadata"]["name"])


def wait_until_ready(cluster: Cluster, namespace: str, name: str) -> None:
    cluster.kubectl("wait", "-n", namespace, f"mep/{name}", "--for=condition=Ready", "--timeout=2m")


def a_plan(namespace: str, name: str, **changes: object) -> LoadPlan:
    fields = {
        "url": f"http://{name}.{namespace}.svc",
        "requests": load_run.make_requests(ROWS),
        "oracle": {model.sha256: model.expected(ROWS) for model in (SCORING, CHANGED)},
        "rate": 50,
        "duration_seconds": 300,
        "timeout_seconds": 15,
    }
    return LoadPlan(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def scoring_model(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The ConfigMap that the examples' pages tell to create."""
    file = EXAMPLES / "02-model-in-a-configmap" / "model.onnx"
    cluster.kubectl("create", "configmap", "-n", namespace, "scoring-model", f"--from-file={file}")
    changed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "changed-model"}}
    binary = onnx_models.as_config_map_data({"model.onnx": CHANGED})
    cluster.apply({**changed, "binaryData": binary}, namespace=namespace)
    yield


def test_the_quickstart_serves_a_model_from_a_store(cluster: Cluster, namespace: str) -> None:
    held_out, first, second = models.train()
    with store_in(namespace, cluster.kubectl, cluster.port_forward) as store:
        for version in (first, second):
            store.put(version.key, version.onnx)
    name = apply_example(cluster, namespace, "01-quickstart")
    wait_until_ready(cluster, namespace, name)
    plan = LoadPlan(
        url=f"http://{name}.{namespace}.svc",
        requests=load_run.make_requests(held_out.rows),
        oracle={version.sha256: models.run_onnx(version.onnx, held_out.rows) for version in (first, second)},
        rate=50,
        duration_seconds=300,
        timeout_seconds=15,
    )
    with under_load(cluster.kubectl, plan, namespace=namespace) as run:
        apply_example(cluster, namespace, "01-quickstart", **{"wine/1/": "wine/2/", '"1"': '"2"'})
        phase = "--for=jsonpath={.status.rollout.phase}=Paused"
        cluster.kubectl("wait", "-n", namespace, f"mep/{name}", phase, "--timeout=2m")
        cluster.kubectl("annotate", "-n", namespace, f"mep/{name}", "modelendpoint.dev/promote=2")
        wait_until_ready(cluster, namespace, name)
        result = run.stop().assert_none_failed()
    assert result.revisions["1"].sha256 == first.sha256
    assert result.revisions["2"].sha256 == second.sha256


@pytest.mark.usefixtures("scoring_model")
def test_a_model_in_a_configmap_answers_what_the_page_says(cluster: Cluster, namespace: str) -> None:
    name = apply_example(cluster, namespace, "02-model-in-a-configmap")
    wait_until_ready(cluster, namespace, name)
    page = load_run.make_requests([[1, 2, 3]])
    plan = a_plan(namespace, name, requests=page, oracle={SCORING.sha256: [[4.5]]}, count=20)
    with under_load(cluster.kubectl, plan, namespace=namespace) as run:
        assert_split(run.result().assert_none_failed().by_revision, {"1": 100})
    ready = cluster.get("deployment", f"{name}-r1", namespace=namespace)["status"]["readyReplicas"]
    assert ready == 2


@pytest.mark.usefixtures("scoring_model")
@pytest.mark.parametrize("folder", ["03-replace", "04-canary-by-time", "06-blue-green"])
def test_an_update_by_itself_loses_no_request(cluster: Cluster, namespace: str, folder: str) -> None:
    name = apply_example(cluster, namespace, folder)
    wait_until_ready(cluster, namespace, name)
    with under_load(cluster.kubectl, a_plan(namespace, name), namespace=namespace) as run:
        apply_example(cluster, namespace, folder, **{"scoring-model/": "changed-model/", '"1"': '"2"'})
        wait_until_ready(cluster, namespace, name)
        result = run.stop().assert_none_failed()
    assert result.revisions["2"].sha256 == CHANGED.sha256
    with under_load(cluster.kubectl, a_plan(namespace, name, count=50), namespace=namespace) as run:
        assert_split(run.result().assert_none_failed().by_revision, {"2": 100})
