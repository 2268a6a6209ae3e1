"""Plans, manifests and the judgement of splits; the pod itself is tried by the cluster tests."""

import json
import sys

import pytest
from scipy.stats import binom

from modelendpoint.load_rig import LoadPlan, Rig
from support import load_run
from support.load_run import LoadRun

ROWS = [[0.5, -1.25], [3.0, 1e-07]]


def a_plan(**changes: object) -> LoadPlan:
    fields = {"url": "http://churn.demo.svc", "requests": load_run.make_requests(ROWS), "oracle": {}, "rate": 10}
    return LoadPlan(**{**fields, **changes})  # type: ignore[arg-type]


def test_each_row_is_sent_as_json_and_as_csv() -> None:
    requests = load_run.make_requests(ROWS)
    assert [(request.row, request.content_type) for request in requests] == [
        (0, "application/json"),
        (0, "text/csv"),
        (1, "application/json"),
        (1, "text/csv"),
    ]
    assert json.loads(requests[2].body) == {"instances": [ROWS[1]]}
    assert [float(cell) for cell in requests[3].body.split(",")] == ROWS[1]


def test_the_pod_gets_the_rig_and_the_plan_and_no_rights() -> None:
    plan = a_plan()
    manifests = load_run.build_manifests(plan, namespace="demo", name="load", image="operator:1")
    config_map, pod = manifests["items"]
    assert LoadPlan.from_json(config_map["data"]["plan.json"]) == plan
    assert "class Rig" in config_map["data"]["load.py"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] is True


class RecordedKubectl:
    """Notes every call and answers for a pod that has ended."""

    def __init__(self, logs: str) -> None:
        self.calls: list[tuple[str, ...]] = []
        self._logs = logs

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        self.calls.append(arguments)
        if "get" in arguments:
            return "Succeeded"
        return self._logs if "logs" in arguments else ""


def a_run(logs: str) -> tuple[LoadRun, RecordedKubectl]:
    kubectl = RecordedKubectl(logs)
    return LoadRun(kubectl, a_plan(), namespace="demo", image="operator:1"), kubectl


def test_the_latest_progress_is_read_from_the_log() -> None:
    run, _ = a_run('{"progress": {"sent": 1}}\nnot of the rig\n{"progress": {"sent": 9}}\n')
    assert run.progress() == {"sent": 9}


def test_a_run_without_progress_has_sent_nothing() -> None:
    run, _ = a_run("")
    assert run.progress()["sent"] == 0


def test_a_pod_that_ended_without_a_result_is_an_error_that_names_it() -> None:
    run, _ = a_run('{"progress": {"sent": 1}}\n')
    with pytest.raises(AssertionError, match="Pod load in namespace demo"):
        run.result()


def test_the_pod_is_removed_when_the_block_fails() -> None:
    kubectl = RecordedKubectl("")
    with pytest.raises(ZeroDivisionError), load_run.under_load(kubectl, a_plan(), namespace="demo"):
        raise ZeroDivisionError
    assert "delete" in kubectl.calls[-1]


@pytest.mark.parametrize("total", [1, 37, 2000, 30000])
@pytest.mark.parametrize("weight", [0, 1, 10, 50, 99, 100])
def test_the_interval_is_that_of_the_binomial_distribution(total: int, weight: int) -> None:
    low, high = binom.interval(0.999, total, weight / 100)
    assert load_run.split_interval(total, weight) == (low if weight else 0, high)


@pytest.mark.parametrize(
    ("counts", "weights", "mistake"),
    [
        ({"1": 1800, "2": 200}, {"1": 90, "2": 10}, None),
        ({"1": 1845, "2": 155}, {"1": 90, "2": 10}, "Revision 1 with weight 90 answered 1845 of 2000"),
        ({"1": 1999, "2": 1}, {"1": 100}, "Revision 1 with weight 100 answered 1999"),
        ({"1": 2000}, {"1": 100, "2": 0}, None),
        ({"1": 2000}, {"1": 90, "2": 10}, "Revision 1"),
        ({}, {"1": 100}, "no split"),
        ({"1": 10}, {"1": 90}, "do not sum to 100"),
    ],
)
def test_a_split_fits_its_weights_or_says_which_revision_does_not(
    counts: dict[str, int], weights: dict[str, int], mistake: str | None
) -> None:
    if mistake is None:
        load_run.assert_split(counts, weights)
    else:
        with pytest.raises(AssertionError, match=mistake):
            load_run.assert_split(counts, weights)


def test_the_rig_imports_nothing_but_aiohttp_and_the_standard_library() -> None:
    assert Rig.__module__ == "modelendpoint.load_rig"
    source = load_run.build_manifests(a_plan(), namespace="n", name="x", image="i")["items"][0]["data"]["load.py"]
    imports = {
        line.split()[1].partition(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))
    }
    assert imports - set(sys.stdlib_module_names) == {"aiohttp"}
