"""The chart's expressions: those of its dashboards and of its rules, with variables filled in, and what they ask for."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import promql_parser

from dashboards import ENDPOINT, FLEET, Panel, Row
from support.helm import NAMESPACE, Manifest, of_kind, render_chart

MONITORED = render_chart(
    {part: {"enabled": True} for part in ("serviceMonitor", "podMonitor", "prometheusRule", "grafanaDashboard")}
)
_VARIABLES = {"$__rate_interval": "1m", "$namespace": "shop", "$endpoint": "churn"}


class Asked(NamedTuple):
    """An expression, and who asks it."""

    where: str
    expr: str


def rules() -> Manifest:
    """Return the groups of the chart's rules, as Prometheus reads them from a file."""
    (rule,) = of_kind(MONITORED, "PrometheusRule")
    spec: Manifest = rule["spec"]
    return spec


def alerts() -> list[Manifest]:
    """Return the rules that alert."""
    return [rule for group in rules()["groups"] for rule in group["rules"] if "alert" in rule]


def asked_by_rules() -> list[Asked]:
    """List what the rules ask."""
    found = [rule for group in rules()["groups"] for rule in group["rules"]]
    return [Asked(rule.get("alert") or rule["record"], rule["expr"]) for rule in found]


def asked_by(dashboard: tuple[Row, ...], *, interval: str = "1m") -> list[Asked]:
    """List what the panels of a dashboard ask, as Grafana would."""
    return [
        Asked(f"{row.title} / {panel.title}", _filled(query.expr, interval))
        for row, panel in _panels(dashboard)
        for query in panel.queries
    ]


def asked_by_dashboards() -> list[Asked]:
    """List what both dashboards ask."""
    return [*asked_by(ENDPOINT), *asked_by(FLEET)]


def metrics_of(expr: str) -> set[str]:
    """Name the metrics that an expression looks at; raise ``ValueError`` where it is no PromQL."""
    found = set()

    def look(part: Any) -> None:
        if isinstance(part, promql_parser.VectorSelector):
            found.add(part.name)

    promql_parser.walk(promql_parser.parse(expr), pre_visit=look)
    return found


def scrape_of(kind: str, name: str) -> Manifest:
    """Turn the one endpoint of a monitor of the chart into a job of Prometheus, without its targets."""
    (monitor,) = (one for one in of_kind(MONITORED, kind) if one["metadata"]["name"] == name)
    spec = monitor["spec"]
    (endpoint,) = spec["endpoints"] if kind == "ServiceMonitor" else spec["podMetricsEndpoints"]
    return {
        "job_name": f"{NAMESPACE}/{name}" if kind == "PodMonitor" else name,
        "metrics_path": endpoint["path"],
        "honor_labels": endpoint["honorLabels"],
        "relabel_configs": [_snake(step) for step in endpoint["relabelings"]],
        "metric_relabel_configs": [_snake(step) for step in endpoint.get("metricRelabelings", [])],
    }


def _panels(dashboard: tuple[Row, ...]) -> Iterator[tuple[Row, Panel]]:
    return ((row, panel) for row in dashboard for panel in row.panels)


def _filled(expr: str, interval: str) -> str:
    for name, value in (_VARIABLES | {"$__rate_interval": interval}).items():
        expr = expr.replace(name, value)
    return expr


def _snake(step: Manifest) -> Manifest:
    return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name): value for name, value in step.items()}
