"""The chart's dashboards and alerts: they parse, ask only for metrics that our code has, and lead to a runbook."""

import json
import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from prometheus_client import Metric

from modelendpoint_operator import names
from modelendpoint_operator.telemetry import Telemetry
from modelendpoint_server.settings import Settings
from modelendpoint_server.worker import build_service
from support.helm import CHART, Manifest, of_kind, render_chart
from support.promql import MONITORED, Asked, alerts, asked_by_dashboards, asked_by_rules, metrics_of, rules
from support.router_rig import RouterRig, an_endpoint
from support.routers import ModelServer, model_servers

ASKED = [*asked_by_rules(), *asked_by_dashboards()]
RUNBOOKS = CHART.parents[1] / "docs/runbooks"
DASHBOARDS = {path.name: json.loads(path.read_text()) for path in sorted((CHART / "files/dashboards").glob("*.json"))}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",), "info": ("_info",)}


def names_of(families: Iterable[Metric]) -> set[str]:
    return {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Name every metric that a server, the operator and a router have: those that are kept of the last."""
    environment = {"MODELENDPOINT_MODEL_URI": "file:///nothing", "MODELENDPOINT_NAME": "churn"}
    service = build_service(Settings.from_environment(environment), cores=1, memory=2**30)
    # What the server says of its model, it says when there is one.
    service.metrics.set_model({"model": "churn"}, load_seconds=1)
    return (
        names_of(service.metrics.registry.collect())
        | names_of(Telemetry().registry.collect())
        | set(kept(envoys_metrics(tmp_path_factory.mktemp("router"))))
    )


def envoys_metrics(folder: Path) -> set[str]:
    """Ask a real router that has answered something."""
    rig = RouterRig(folder)
    with model_servers(ModelServer(7)) as servers:
        try:
            rig.serve(an_endpoint(), {7: 100}, servers)
            rig.ask()
            # Histograms are gathered when somebody asks, and shown to the next one.
            for _ in range(2):
                with urllib.request.urlopen(f"http://127.0.0.1:{rig.router.status_port}/stats/prometheus") as answer:
                    text = answer.read().decode()
        finally:
            rig.router.stop()
    return set(re.findall(r"^(\w+)\{", text, re.MULTILINE))


def kept(metrics: Iterable[str]) -> list[str]:
    (monitor,) = (one for one in of_kind(MONITORED, "PodMonitor") if one["metadata"]["name"].endswith("-routers"))
    step = monitor["spec"]["podMetricsEndpoints"][0]["metricRelabelings"][0]
    assert (step["action"], step["sourceLabels"]) == ("keep", ["__name__"])
    return [metric for metric in metrics if re.fullmatch(step["regex"], metric)]


def test_every_expression_is_promql_and_asks_only_for_what_is_exported(exported: set[str]) -> None:
    recorded = {rule["record"] for group in rules()["groups"] for rule in group["rules"] if "record" in rule}
    unknown = {asked.where: metrics_of(asked.expr) - exported - recorded for asked in ASKED}
    assert {where: metrics for where, metrics in unknown.items() if metrics} == {}
    assert len(exported) > 60


def test_every_metric_of_the_servers_and_of_the_operator_is_documented(exported: set[str]) -> None:
    pages = [(CHART.parents[1] / "docs" / page).read_text() for page in ("monitoring.md", "server-api.md")]
    documented = set(re.findall(r"`(\w+)", "".join(pages)))
    ours = {
        re.sub("_(bucket|count|sum)$", "", name) for name in exported if name.startswith(("modelendpoint_", "models"))
    }
    assert ours - documented == set()


def test_the_variables_of_the_dashboards_ask_for_what_is_exported(exported: set[str]) -> None:
    queries = [
        variable["query"]["query"]
        for dashboard in DASHBOARDS.values()
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    assert len(queries) == 3
    for query in queries:
        (metric,) = re.findall(r"^label_values\((\w+)", query)
        assert metric in exported


@pytest.mark.parametrize("wrong", ["sum(", "rate(up)[", "sum by namespace (up)"])
def test_what_is_no_promql_is_found(wrong: str) -> None:
    with pytest.raises(ValueError):
        metrics_of(wrong)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: f"{alert['alert']}-{alert['labels'].get('window', '')}")
def test_an_alert_says_what_it_is_how_bad_and_what_to_do_next(alert: Manifest) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert re.search(r"kubectl \w+", alert["annotations"]["description"])
    assert alert["annotations"]["summary"]
    assert "$(" not in json.dumps(alert)
    base = "https://github.com/modelendpoint/modelendpoint/blob/main/docs/runbooks"
    assert alert["annotations"]["runbook_url"] == f"{base}/{alert['alert']}.md"


def test_there_is_a_runbook_for_each_alert_and_no_other() -> None:
    named = {alert["alert"] for alert in alerts()}
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == named | {"README"}
    for name in named:
        text = (RUNBOOKS / f"{name}.md").read_text()
        assert text.startswith(f"# {name}\n")
        assert re.search(r"^```console\n\$ kubectl", text, re.MULTILINE)
        assert f"]({name}.md)" in (RUNBOOKS / "README.md").read_text()


def test_the_objectives_of_the_values_reach_the_rules() -> None:
    values = {"enabled": True, "availabilityPercent": 99.5, "latencyPercent": 95, "latencyMilliseconds": 250}
    text = json.dumps(of_kind(render_chart({"prometheusRule": values}), "PrometheusRule"))
    assert "(1 - 99.5 / 100)" in text and "(1 - 95 / 100)" in text and 'le=~\\"250([.]0)?\\"' in text
    assert "99.9" not in text and "500(" not in text


def test_nothing_of_it_is_there_unless_it_is_asked_for() -> None:
    kinds = {manifest["kind"] for manifest in render_chart()}
    assert not kinds & {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ConfigMap"}


def test_the_monitors_find_the_pods_that_the_operator_makes() -> None:
    monitors = {one["metadata"]["name"]: one["spec"] for one in of_kind(MONITORED, "PodMonitor")}
    found = {
        name: (spec["selector"]["matchExpressions"][0]["values"], spec["podMetricsEndpoints"][0]["port"])
        for name, spec in monitors.items()
    }
    assert found == {
        "modelendpoint-servers": (
            [names.COMPONENT_MODEL_SERVER, names.COMPONENT_BATCH, names.COMPONENT_MONITOR],
            "management",
        ),
        "modelendpoint-routers": ([names.COMPONENT_ROUTER], "status"),
    }
    for spec in monitors.values():
        assert spec["selector"]["matchLabels"] == {names.LABEL_MANAGED_BY: names.FIELD_MANAGER}
        assert spec["namespaceSelector"] == {"any": True}
    (elsewhere, _) = of_kind(render_chart({"podMonitor": {"enabled": True}, "watchNamespaces": ["a"]}), "PodMonitor")
    assert elsewhere["spec"]["namespaceSelector"] == {"matchNames": ["a"]}


def test_the_pods_of_an_endpoint_have_the_labels_and_ports_that_the_monitors_look_for() -> None:
    expected = CHART.parents[1] / "tests/operator/manifests/cases/variants/expected.yaml"
    pods = [
        manifest["spec"]["template"]
        for manifest in yaml.safe_load_all(expected.read_text())
        if manifest.get("kind") == "Deployment"
    ]
    for monitor in of_kind(MONITORED, "PodMonitor"):
        selector, (endpoint,) = monitor["spec"]["selector"], monitor["spec"]["podMetricsEndpoints"]
        components = selector["matchExpressions"][0]["values"]
        found = [
            pod
            for pod in pods
            if selector["matchLabels"].items() <= pod["metadata"]["labels"].items()
            and pod["metadata"]["labels"][names.LABEL_COMPONENT] in components
        ]
        assert found
        for pod in found:
            assert endpoint["port"] in [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
            assert pod["metadata"]["labels"][names.LABEL_ENDPOINT]
    # As Prometheus writes the labels that the monitors take over.
    for label in (names.LABEL_ENDPOINT, names.LABEL_ARM):
        assert any(re.sub("[./]", "_", label) in str(monitor) for monitor in of_kind(MONITORED, "PodMonitor"))


def test_the_dashboards_are_what_grafanas_sidecar_takes() -> None:
    maps = of_kind(MONITORED, "ConfigMap")
    assert [list(one["data"]) for one in maps] == [["modelendpoint-endpoint.json"], ["modelendpoint-fleet.json"]]
    for one, dashboard in zip(maps, DASHBOARDS.values(), strict=True):
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(next(iter(one["data"].values()))) == dashboard


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_the_panels_of_a_dashboard_have_ids_of_their_own_and_lie_side_by_side(dashboard: Manifest) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert all(panel["targets"] for panel in panels if panel["type"] != "row")


def test_both_dashboards_and_the_rules_ask_enough() -> None:
    assert len(ASKED) > 100 and all(isinstance(asked, Asked) for asked in ASKED)
