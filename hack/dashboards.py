"""The Grafana dashboards, written down as rows of panels; `make generate` turns them into the chart's JSON files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Query:
    """What to ask Prometheus, and how to call each series of the answer."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel; its description says what a person does with it."""

    title: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    """timeseries, stat or table."""
    unit: str = "short"
    width: int = 8
    height: int = 7
    stacked: bool = False
    description: str = ""
    lowest: float | None = 0


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels below one title."""

    title: str
    panels: tuple[Panel, ...]


def ask(expr: str, legend: str = "") -> Query:
    """Write down a query."""
    return Query(expr=expr, legend=legend)


def plot(title: str, *queries: Query, unit: str = "short", **options: Any) -> Panel:
    """Write down a graph over time."""
    return Panel(title=title, queries=queries, unit=unit, **options)


def stat(title: str, expr: str, *, unit: str = "short", width: int = 4, description: str = "") -> Panel:
    """Write down one number."""
    return Panel(
        title=title, queries=(ask(expr),), kind="stat", unit=unit, width=width, height=4, description=description
    )


def table(title: str, expr: str, *, unit: str = "short", width: int = 12, description: str = "") -> Panel:
    """Write down a table of series with the value that they have now."""
    return Panel(title=title, queries=(ask(expr),), kind="table", unit=unit, width=width, description=description)


# One endpoint.

_ONE = 'namespace="$namespace", endpoint="$endpoint"'
_CALLERS = f'{_ONE}, envoy_http_conn_manager_prefix="endpoint"'
_WHO = (
    f"* on (revision) group_left (role, variant) "
    f"max by (revision, role, variant) (modelendpoint_revision_info{{{_ONE}}})"
)
_NAMED = "r{{revision}} {{role}} {{variant}}"


def _rate(metric: str, labels: str = _ONE) -> str:
    return f"rate({metric}{{{labels}}}[$__rate_interval])"


def _quantile(share: float, metric: str, by: str = "", *, labels: str = _ONE, scale: str = "") -> str:
    groups = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({groups}) ({_rate(f'{metric}_bucket', labels)})){scale}"


def _failed(labels: str, code: int = 5) -> str:
    return f'{labels}, envoy_response_code_class="{code}"'


_ANSWERS = "envoy_http_downstream_rq_xx"
_OF_REVISIONS = "envoy_cluster_upstream_rq_xx"

ENDPOINT = (
    Row(
        title="Now",
        panels=(
            stat("Available", f'max(modelendpoint_condition{{{_ONE}, type="Available"}})', width=3),
            stat("Ready", f'max(modelendpoint_condition{{{_ONE}, type="Ready"}})', width=3),
            stat("Stalled", f'max(modelendpoint_condition{{{_ONE}, type="Stalled"}})', width=3),
            stat("Requests", f"sum({_rate(_ANSWERS, _CALLERS)})", unit="reqps", width=3),
            stat(
                "Answered 5xx",
                f"sum({_rate(_ANSWERS, _failed(_CALLERS))}) / sum({_rate(_ANSWERS, _CALLERS)})",
                unit="percentunit",
                width=4,
            ),
            stat(
                "99 % take less than",
                _quantile(0.99, "envoy_http_downstream_rq_time", labels=_CALLERS),
                unit="ms",
                width=4,
            ),
            stat(
                "Model has served for",
                f"time() - max(modelendpoint_promoted_timestamp_seconds{{{_ONE}}})",
                unit="s",
                width=4,
            ),
            table(
                "Revisions",
                f"modelendpoint_revision_info{{{_ONE}}}",
                description="The revisions that have pods, and the model that each serves.",
            ),
            table("Conditions", f"modelendpoint_condition{{{_ONE}}}", description="1 is True; the reason says why."),
        ),
    ),
    Row(
        title="What callers see",
        panels=(
            plot(
                "Requests",
                ask(
                    f"sum by (envoy_response_code_class) ({_rate(_ANSWERS, _CALLERS)})",
                    "{{envoy_response_code_class}}xx",
                ),
                unit="reqps",
                stacked=True,
                description="As the routers count them: also those that no server got.",
            ),
            plot(
                "Answered 4xx or 5xx",
                *(
                    ask(
                        f"sum({_rate(_ANSWERS, _failed(_CALLERS, kind))}) / sum({_rate(_ANSWERS, _CALLERS)})",
                        f"{kind}xx",
                    )
                    for kind in (4, 5)
                ),
                unit="percentunit",
            ),
            plot(
                "Time to the answer",
                *(
                    ask(_quantile(share, "envoy_http_downstream_rq_time", labels=_CALLERS), f"{share:.0%}")
                    for share in (0.5, 0.95, 0.99)
                ),
                unit="ms",
            ),
        ),
    ),
    Row(
        title="By revision and variant",
        panels=(
            plot(
                "Requests",
                ask(f"sum by (revision) ({_rate(_OF_REVISIONS)}) {_WHO}", _NAMED),
                unit="reqps",
                stacked=True,
            ),
            plot(
                "Answered 5xx",
                ask(
                    # Of a revision that never failed there is no series for failures.
                    f"(sum by (revision) ({_rate(_OF_REVISIONS, _failed(_ONE))})"
                    f" or 0 * sum by (revision) ({_rate(_OF_REVISIONS)}))"
                    f" / sum by (revision) ({_rate(_OF_REVISIONS)}) {_WHO}",
                    _NAMED,
                ),
                unit="percentunit",
            ),
            plot(
                "95 % take less than",
                ask(f"{_quantile(0.95, 'envoy_cluster_upstream_rq_time', 'revision')} {_WHO}", _NAMED),
                unit="ms",
                description="Time in the model server, as the routers measure it.",
            ),
            plot(
                "Weight",
                ask(f"max by (revision, role, variant) (modelendpoint_traffic_weight{{{_ONE}}})", _NAMED),
                unit="percent",
                description="Percent that the routers give each.",
            ),
            plot(
                "Pods that are ready",
                ask(f"max by (revision, role, variant) (modelendpoint_replicas_ready{{{_ONE}}})", _NAMED),
                ask(f"max by (revision) (modelendpoint_replicas{{{_ONE}}})", "r{{revision}} wanted"),
            ),
            plot(
                "Requests by protocol, variant and code",
                ask(
                    f"sum by (revision, variant, protocol, code) ({_rate('modelserver_requests_total')})",
                    "r{{revision}} {{variant}} {{protocol}} {{code}}",
                ),
                unit="reqps",
            ),
        ),
    ),
    Row(
        title="Inside the servers",
        panels=(
            plot(
                "Wait for a turn, 95 %",
                ask(_quantile(0.95, "modelserver_queue_duration_seconds", "revision"), "r{{revision}}"),
                unit="s",
                description="Grows when pods are too few or too small.",
            ),
            plot(
                "Run of the model",
                *(
                    ask(
                        _quantile(share, "modelserver_inference_duration_seconds", "revision"),
                        f"r{{{{revision}}}} {share:.0%}",
                    )
                    for share in (0.5, 0.95)
                ),
                unit="s",
            ),
            plot(
                "Rows in a run",
                ask(
                    f"sum by (revision) ({_rate('modelserver_batch_size_sum')})"
                    f" / sum by (revision) ({_rate('modelserver_batch_size_count')})",
                    "r{{revision}} mean",
                ),
                ask(_quantile(0.95, "modelserver_batch_size", "revision"), "r{{revision}} 95%"),
            ),
            plot("Rows", ask(f"sum by (revision) ({_rate('modelserver_input_rows_total')})", "r{{revision}}")),
            plot(
                "Places taken",
                ask(
                    f"modelserver_requests_running{{{_ONE}}} / modelserver_requests_running_limit{{{_ONE}}}", "{{pod}}"
                ),
                unit="percentunit",
            ),
            plot(
                "Queue taken",
                ask(
                    f"modelserver_requests_waiting{{{_ONE}}} / modelserver_requests_waiting_limit{{{_ONE}}}", "{{pod}}"
                ),
                unit="percentunit",
                description="At 100 % more requests are turned away (Overloaded).",
            ),
            plot(
                "Processor",
                ask(f"{_rate('modelserver_cpu_seconds_total')} / modelserver_cpu_cores{{{_ONE}}}", "{{pod}}"),
                unit="percentunit",
            ),
            plot(
                "Memory",
                ask(f"modelserver_memory_bytes{{{_ONE}}} / modelserver_memory_limit_bytes{{{_ONE}}}", "{{pod}}"),
                unit="percentunit",
                description="At 100 % requests fail (InferenceFailed).",
            ),
            plot(
                "Time from start to ready",
                ask(f"modelserver_model_load_duration_seconds{{{_ONE}}}", "{{pod}}"),
                unit="s",
            ),
            plot(
                "Outputs that are NaN or infinite",
                ask(
                    f"sum by (revision, output) ({_rate('modelserver_non_finite_outputs_total')})",
                    "r{{revision}} {{output}}",
                ),
                width=12,
            ),
            plot(
                "Answers in a row with the same first value",
                ask(
                    f"max by (revision, output) (modelserver_unchanged_outputs{{{_ONE}}})",
                    "r{{revision}} {{output}}",
                ),
                width=12,
                description="Grows without end where a model is stuck.",
            ),
        ),
    ),
    Row(
        title="Rollout",
        panels=(
            plot(
                "Time in this phase",
                ask(f"time() - max by (phase) (modelendpoint_rollout_phase_timestamp_seconds{{{_ONE}}})", "{{phase}}"),
                unit="s",
            ),
            table("Gates", f"max by (gate, verdict) (modelendpoint_gate_verdict{{{_ONE}}})", width=8),
            plot(
                "Step, from 0",
                ask(f"max(modelendpoint_rollout_step{{{_ONE}}})", "step"),
            ),
            plot(
                "Ended",
                ask(
                    f"sum by (result) (increase(modelendpoint_rollouts_total{{{_ONE}}}[$__rate_interval]))",
                    "{{result}}",
                ),
                width=12,
            ),
            plot(
                "Routers use what was written",
                ask(f"max(modelendpoint_routes_live{{{_ONE}}})", "live"),
                width=12,
            ),
        ),
    ),
    Row(
        title="Routers",
        panels=(
            plot(
                "Pods that requests go to",
                ask(f"min by (revision) (envoy_cluster_membership_healthy{{{_ONE}}})", "r{{revision}}"),
                ask(f"max by (revision) (envoy_cluster_membership_total{{{_ONE}}})", "r{{revision}} known"),
            ),
            plot(
                "Second tries, timeouts, failed connections",
                ask(f"sum by (revision) ({_rate('envoy_cluster_upstream_rq_retry')})", "r{{revision}} second tries"),
                ask(f"sum by (revision) ({_rate('envoy_cluster_upstream_rq_timeout')})", "r{{revision}} timeouts"),
                ask(
                    f"sum by (revision) ({_rate('envoy_cluster_upstream_cx_connect_fail')})",
                    "r{{revision}} failed connections",
                ),
            ),
            plot(
                "Pods left out",
                ask(f"max by (revision) (envoy_cluster_outlier_detection_ejections_active{{{_ONE}}})", "r{{revision}}"),
            ),
            plot(
                "Requests and connections open",
                ask(f"sum(envoy_http_downstream_rq_active{{{_CALLERS}}})", "requests"),
                ask(f"sum(envoy_http_downstream_cx_active{{{_CALLERS}}})", "connections"),
            ),
            plot(
                "Memory and connections, of the limit",
                ask(f"max(envoy_overload_envoy_resource_monitors_fixed_heap_pressure{{{_ONE}}}) / 100", "memory"),
                ask(
                    f"max(envoy_overload_envoy_resource_monitors_global_downstream_max_connections_pressure{{{_ONE}}}) / 100",
                    "connections",
                ),
                unit="percentunit",
            ),
            plot(
                "Configuration refused",
                ask(f"sum(increase(envoy_http_rds_update_rejected{{{_ONE}}}[$__rate_interval]))", "routes"),
                ask(
                    f"sum(increase(envoy_cluster_manager_cds_update_rejected{{{_ONE}}}[$__rate_interval]))", "clusters"
                ),
                ask(
                    f"sum(increase(envoy_listener_manager_lds_update_rejected{{{_ONE}}}[$__rate_interval]))",
                    "listeners",
                ),
            ),
        ),
    ),
)


# All endpoints, and the operator.

_ALL = 'namespace=~"$namespace"'
_ALL_CALLERS = f'{_ALL}, envoy_http_conn_manager_prefix="endpoint"'
_ENDPOINT = "{{namespace}}/{{endpoint}}"


def _top(expr: str) -> Query:
    return ask(f"topk(20, {expr})", _ENDPOINT)


FLEET = (
    Row(
        title="Now",
        panels=(
            stat("Endpoints", f"count(max by (namespace, endpoint) (modelendpoint_info{{{_ALL}}}))"),
            stat("Ready", f'sum(max by (namespace, endpoint) (modelendpoint_condition{{{_ALL}, type="Ready"}}))'),
            stat("Stalled", f'sum(max by (namespace, endpoint) (modelendpoint_condition{{{_ALL}, type="Stalled"}}))'),
            stat(
                "Rollouts under way",
                f"count(max by (namespace, endpoint) (modelendpoint_rollout_step{{{_ALL}}})) or vector(0)",
            ),
            stat("Requests", f"sum({_rate(_ANSWERS, _ALL_CALLERS)})", unit="reqps"),
            stat(
                "Answered 5xx",
                f"sum({_rate(_ANSWERS, _failed(_ALL_CALLERS))}) / sum({_rate(_ANSWERS, _ALL_CALLERS)})",
                unit="percentunit",
            ),
            table("Not Ready, and why", f'modelendpoint_condition{{{_ALL}, type="Ready"}} == 0'),
            table(
                "Rollouts under way: seconds in the phase",
                f"time() - max by (namespace, endpoint, phase) (modelendpoint_rollout_phase_timestamp_seconds{{{_ALL}}})",
                unit="s",
            ),
        ),
    ),
    Row(
        title="Endpoints",
        panels=(
            plot("Requests", _top(f"sum by (namespace, endpoint) ({_rate(_ANSWERS, _ALL_CALLERS)})"), unit="reqps"),
            plot(
                "Answered 5xx",
                _top(
                    f"sum by (namespace, endpoint) ({_rate(_ANSWERS, _failed(_ALL_CALLERS))})"
                    f" / sum by (namespace, endpoint) ({_rate(_ANSWERS, _ALL_CALLERS)})"
                ),
                unit="percentunit",
            ),
            plot(
                "99 % take less than",
                _top(_quantile(0.99, "envoy_http_downstream_rq_time", "namespace, endpoint", labels=_ALL_CALLERS)),
                unit="ms",
            ),
            plot(
                "Memory of the fullest server",
                _top(
                    "max by (namespace, endpoint) "
                    f"(modelserver_memory_bytes{{{_ALL}}} / modelserver_memory_limit_bytes{{{_ALL}}})"
                ),
                unit="percentunit",
            ),
            plot(
                "Processor of the busiest server",
                _top(
                    "max by (namespace, endpoint) "
                    f"({_rate('modelserver_cpu_seconds_total', _ALL)} / modelserver_cpu_cores{{{_ALL}}})"
                ),
                unit="percentunit",
            ),
            plot(
                "Age of the model",
                _top(f"time() - max by (namespace, endpoint) (modelendpoint_promoted_timestamp_seconds{{{_ALL}}})"),
                unit="s",
            ),
            plot(
                "Rollouts that ended",
                ask(
                    f"sum by (result) (increase(modelendpoint_rollouts_total{{{_ALL}}}[$__rate_interval]))",
                    "{{result}}",
                ),
            ),
            plot(
                "Pods that are missing",
                _top(
                    f"sum by (namespace, endpoint) (modelendpoint_replicas{{{_ALL}}})"
                    f" - sum by (namespace, endpoint) (modelendpoint_replicas_ready{{{_ALL}}})"
                ),
            ),
            plot(
                "Routers out of sync", _top(f"1 - max by (namespace, endpoint) (modelendpoint_routes_live{{{_ALL}}})")
            ),
        ),
    ),
    Row(
        title="Batch predictions",
        panels=(
            plot(
                "Runs that ended",
                ask("sum by (result) (increase(modelendpoint_batch_runs_total[$__rate_interval]))", "{{result}}"),
            ),
            plot(
                "Rows of completed runs",
                ask("sum by (outcome) (rate(modelendpoint_batch_rows_total[$__rate_interval]))", "{{outcome}}"),
            ),
            plot(
                "Runs that did not start",
                ask("sum(increase(modelendpoint_batch_missed_runs_total[$__rate_interval]))", "missed"),
            ),
        ),
    ),
    Row(
        title="Operator",
        panels=(
            plot("Leads", ask("max by (pod) (modelendpoint_leader)", "{{pod}}")),
            plot(
                "Objects that wait",
                ask("max(modelendpoint_workqueue_depth)", "objects"),
                ask("max(modelendpoint_workqueue_late_seconds)", "seconds that the first has waited"),
            ),
            plot(
                "Time of a pass",
                *(
                    ask(
                        f"histogram_quantile({share:g}, sum by (le) "
                        "(rate(modelendpoint_reconcile_duration_seconds_bucket[$__rate_interval])))",
                        f"{share:.0%}",
                    )
                    for share in (0.5, 0.99)
                ),
                unit="s",
            ),
            plot(
                "Passes and failures",
                ask("sum(rate(modelendpoint_reconcile_duration_seconds_count[$__rate_interval]))", "passes"),
                ask("sum by (kind) (rate(modelendpoint_reconcile_errors_total[$__rate_interval]))", "{{kind}}"),
                unit="ops",
            ),
            plot(
                "Writes",
                ask("sum by (verb) (rate(modelendpoint_writes_total[$__rate_interval]))", "{{verb}}"),
                unit="ops",
            ),
            plot(
                "Memory and processor",
                ask("process_resident_memory_bytes * on (job, instance) modelendpoint_leader", "bytes"),
                ask(
                    "rate(process_cpu_seconds_total[$__rate_interval]) * on (job, instance) modelendpoint_leader",
                    "cores",
                ),
            ),
        ),
    ),
)


# Into Grafana's JSON.


def render_dashboards() -> dict[str, str]:
    """Write both dashboards, by the name of the file."""
    namespaces = "label_values(modelendpoint_info, namespace)"
    endpoints = 'label_values(modelendpoint_info{namespace="$namespace"}, endpoint)'
    return {
        "endpoint.json": _dashboard(
            "endpoint",
            "ModelEndpoint / Endpoint",
            ENDPOINT,
            (_variable("namespace", namespaces), _variable("endpoint", endpoints)),
        ),
        "fleet.json": _dashboard(
            "fleet", "ModelEndpoint / Fleet", FLEET, (_variable("namespace", namespaces, several=True),)
        ),
    }


def _dashboard(name: str, title: str, rows: Sequence[Row], variables: Sequence[Json]) -> str:
    document = {
        "uid": f"modelendpoint-{name}",
        "title": title,
        "tags": ["modelendpoint"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["modelendpoint"], "title": "ModelEndpoint", "keepTime": True}],
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}, *variables]},
        "panels": list(_placed(rows)),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _variable(name: str, query: str, *, several: bool = False) -> Json:
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": several,
        "includeAll": several,
        **({"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}} if several else {}),
    }


def _placed(rows: Sequence[Row]) -> Iterator[Json]:
    """Lay panels out from left to right, a new line where one does not fit any more."""
    number, top = 0, 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            number += 1
            position = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield {"id": number, "gridPos": position, **_panel(panel)}
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _panel(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": [_target(panel, query, letter) for query, letter in zip(panel.queries, "ABCDEF", strict=False)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        **({"transformations": _TABLE} if panel.kind == "table" else {}),
    }


_WHENCE = ("Time", "__name__", "job", "instance", "container", "pod", "service")
_TABLE = [{"id": "organize", "options": {"excludeByName": dict.fromkeys(_WHENCE, True)}}]
"""Columns that say where the operator's figures came from, and not what they are about."""


def _target(panel: Panel, query: Query, letter: str) -> Json:
    now = panel.kind != "timeseries"
    return {
        "refId": letter,
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": now,
        "range": not now,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _defaults(panel: Panel) -> Json:
    defaults: Json = {"unit": panel.unit}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        defaults |= {
            "min": panel.lowest,
            "custom": {"fillOpacity": 20 if panel.stacked else 0, "showPoints": "never", "stacking": stacking},
        }
    return defaults


def _options(panel: Panel) -> Json:
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "none"}
    if panel.kind == "table":
        return {"showHeader": True}
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
