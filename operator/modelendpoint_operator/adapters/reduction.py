"""Reduces what the API server, the routers and the servers say to our own types. Reads nothing itself."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.adapters.drift_report import parse_drift_report
from modelendpoint_operator.adapters.envoy import ClusterStats, RouterStats
from modelendpoint_operator.api.batch_status import BatchPredictionStatus
from modelendpoint_operator.api.revision import RevisionTemplate
from modelendpoint_operator.observation import (
    Counters,
    Leg,
    Measurement,
    MonitorReport,
    MonitorSeen,
    ObjectRef,
    Observation,
    PodReport,
    PodSeen,
    ReplaySeen,
    RevisionRecord,
    RouterSeen,
    RoutesSeen,
)

Body = Mapping[str, Any]

_NUMBER = re.compile(r"-r([0-9]+)$")


def reduce_observation(
    objects: Iterable[Body],
    pods: Iterable[Body],
    *,
    routers: Mapping[str, RouterStats | None],
    reports: Mapping[str, PodReport],
    measurements: Mapping[str, Measurement] | None = None,
    unknown_kinds: frozenset[str] = frozenset(),
) -> Observation:
    """Put one pass together; ``routers`` and ``reports`` are by name of the pod, ``measurements`` by gate."""
    by_ref = {ObjectRef.of(body): body for body in objects}
    bodies = list(pods)
    return Observation(
        objects=by_ref,
        revisions=_revisions(by_ref.values()),
        pods=tuple(_pod(body, reports.get(body["metadata"]["name"])) for body in bodies if is_server(body)),
        routers=tuple(
            _router(body, routers.get(body["metadata"]["name"])) for body in bodies if is_router(body) and serves(body)
        ),
        starting_routers=tuple(
            _router(body, routers.get(body["metadata"]["name"])) for body in bodies if is_router(body) and starts(body)
        ),
        routes=_routes(by_ref.values()),
        measurements=measurements or {},
        replays=_replays(by_ref.values()),
        unknown_kinds=unknown_kinds,
    )


def is_server(pod: Body) -> bool:
    """Say whether a pod runs a model server."""
    labels = pod["metadata"]["labels"]
    numbered = str(labels.get(names.LABEL_REVISION, "")).isdecimal()
    return numbered and labels.get(names.LABEL_COMPONENT) == names.COMPONENT_MODEL_SERVER


def is_router(pod: Body) -> bool:
    """Say whether a pod is a router."""
    return bool(pod["metadata"]["labels"].get(names.LABEL_COMPONENT) == names.COMPONENT_ROUTER)


def is_monitor(pod: Body) -> bool:
    """Say whether a pod is a monitor."""
    return bool(pod["metadata"]["labels"].get(names.LABEL_COMPONENT) == names.COMPONENT_MONITOR)


def is_ready(pod: Body) -> bool:
    """Say whether a pod's readiness probe succeeds."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(told["type"] == "Ready" and told["status"] == "True" for told in conditions)


def is_terminating(pod: Body) -> bool:
    """Say whether a pod was told to end."""
    return "deletionTimestamp" in pod["metadata"]


def starts(pod: Body) -> bool:
    """Say whether a pod runs and is not ready, so that nobody is sent to it."""
    return pod.get("status", {}).get("phase") == "Running" and not is_ready(pod) and not is_terminating(pod)


def serves(pod: Body) -> bool:
    """Say whether clients may still reach a pod: it is ready, or it ends but has not ended."""
    phase = pod.get("status", {}).get("phase")
    return phase == "Running" and (is_ready(pod) or is_terminating(pod))


def parse_report(document: object) -> PodReport | None:
    """Read a server's report; None when it is none."""
    if not isinstance(document, Mapping) or not isinstance(document.get("state"), str):
        return None
    model = document.get("model")
    return PodReport(
        state=document["state"],
        sha256=_text(model.get("sha256")) if isinstance(model, Mapping) else None,
        reason=_text(document.get("reason")),
        message=_text(document.get("message")),
    )


def parse_monitor_report(document: object) -> MonitorReport | None:
    """Read a monitor's report; None when it is none."""
    try:
        assert isinstance(document, Mapping)
        servers, capture = document["servers"], document["capture"] or {}
        return MonitorReport(
            sampled=int(servers["sampled"]),
            received=int(document["received"]),
            captured=int(capture.get("captured", 0)),
            dropped=int(servers["dropped"]) + int(document["dropped"]) + int(capture.get("dropped", 0)),
            reason=_text(capture.get("reason")),
            message=_text(capture.get("message")),
            drift=parse_drift_report(document),
        )
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError):
        return None


def reduce_monitor(pods: Iterable[Body], documents: Mapping[str, object]) -> MonitorSeen | None:
    """Choose the pod that takes the samples, of several the one that is ready, and read its report."""
    staying = [body for body in pods if is_monitor(body) and not is_terminating(body)]
    if not staying:
        return None
    body = max(staying, key=lambda pod: (is_ready(pod), str(pod["metadata"].get("creationTimestamp", ""))))
    name = body["metadata"]["name"]
    report = parse_monitor_report(documents.get(name))
    return MonitorSeen(name=name, ready=is_ready(body), trouble=trouble_of(body), report=report)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _revisions(bodies: Iterable[Body]) -> dict[int, RevisionRecord]:
    """Read the records; one that somebody deleted is read from its Deployment."""
    records: dict[int, RevisionRecord] = {}
    by_kind = sorted(bodies, key=lambda body: str(body["kind"]), reverse=True)
    for body in by_kind:
        number = str(body["metadata"].get("labels", {}).get(names.LABEL_REVISION, ""))
        if body["kind"] == "Deployment" and number.isdecimal():
            text = body["metadata"].get("annotations", {}).get(names.ANNOTATION_TEMPLATE, "{}")
            _add(records, int(number), text, sha256=None)
        if body["kind"] == "ControllerRevision":
            sha256 = body["metadata"].get("annotations", {}).get(names.ANNOTATION_SHA256)
            _add(records, body["revision"], body["data"], sha256=sha256)
    return records


def _add(records: dict[int, RevisionRecord], number: int, data: Body | str, *, sha256: str | None) -> None:
    """Add a record; one that somebody made unreadable is none."""
    try:
        template = RevisionTemplate.model_validate(json.loads(data) if isinstance(data, str) else data)
    except ValueError:
        return
    records[number] = RevisionRecord(number=number, template=template, sha256=sha256)


def _pod(body: Body, report: PodReport | None) -> PodSeen:
    return PodSeen(
        name=body["metadata"]["name"],
        revision=int(body["metadata"]["labels"][names.LABEL_REVISION]),
        ready=is_ready(body),
        terminating=is_terminating(body),
        arm=body["metadata"]["labels"].get(names.LABEL_ARM),
        poked=body["metadata"].get("annotations", {}).get(names.ANNOTATION_MODEL_WANTED),
        monitoring=body["metadata"].get("annotations", {}).get(names.ANNOTATION_MONITORING),
        trouble=trouble_of(body),
        report=report,
    )


def trouble_of(body: Body) -> str | None:
    """Say why a pod does not run, if Kubernetes knows more than that it has not started yet."""
    status = body.get("status", {})
    for told in status.get("conditions") or []:
        if told["type"] == "PodScheduled" and told["status"] == "False":
            return f"{told.get('reason', 'Unschedulable')}: {told.get('message', '')}"
    for container in status.get("containerStatuses") or []:
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            last = container.get("lastState", {}).get("terminated", {})
            ended = f" (ended before: {last['reason']}, exit code {last['exitCode']})" if last else ""
            return f"{waiting['reason']}: {waiting.get('message', '')}{ended}"
    return None


def _router(body: Body, stats: RouterStats | None) -> RouterSeen:
    stats = stats or RouterStats()
    return RouterSeen(
        name=body["metadata"]["name"],
        terminating=is_terminating(body),
        config=body["metadata"].get("annotations", {}).get(names.ANNOTATION_ROUTER_CONFIG),
        route_version=stats.route_version,
        cluster_version=stats.cluster_version,
        listener_version=stats.listener_version,
        bootstrap=body["metadata"].get("annotations", {}).get(names.ANNOTATION_ROUTER_BOOTSTRAP),
        troubles=stats.troubles,
        healthy={revision: cluster.healthy_hosts for revision, cluster in stats.clusters.items()},
        counted={revision: _counters(cluster) for revision, cluster in stats.clusters.items()},
        knocks=stats.knocks,
    )


def _counters(cluster: ClusterStats) -> Counters:
    return Counters(
        answers=cluster.answers,
        client_errors=cluster.answers_4xx,
        server_errors=cluster.answers_5xx,
        dropped=cluster.dropped,
        latency=cluster.latency,
    )


def _replays(bodies: Iterable[Body]) -> dict[str, ReplaySeen]:
    """Read the runs of replay gates."""
    return {
        body["metadata"]["name"]: ReplaySeen(
            gate=body["metadata"].get("labels", {}).get(names.LABEL_GATE, ""),
            status=BatchPredictionStatus.model_validate(body.get("status") or {}),
        )
        for body in bodies
        if body["kind"] == names.BATCH_KIND
    }


def _routes(bodies: Iterable[Body]) -> RoutesSeen | None:
    """Read the routes that are written. None when there are none, or somebody made them unreadable."""
    data = next(
        (
            body["data"]
            for body in bodies
            if body["kind"] == "ConfigMap" and names.ROUTES_FILE in (body.get("data") or {})
        ),
        None,
    )
    if data is None:
        return None
    try:
        routes, clusters = json.loads(data[names.ROUTES_FILE]), json.loads(data[names.CLUSTERS_FILE])
        written = routes["resources"][0]["metadata"]["filter_metadata"][names.ROUTE_METADATA]["legs"]
        return RoutesSeen(
            version=routes["version_info"],
            legs=tuple(Leg(**leg) for leg in written),
            clusters=frozenset(_number(cluster) for cluster in clusters["resources"] if not _holds(cluster)),
            cluster_version=clusters["version_info"],
            holding=frozenset(_number(cluster) for cluster in clusters["resources"] if _holds(cluster)),
            sleeping=frozenset(
                _number(cluster) for cluster in clusters["resources"] if cluster.get("type") == "STATIC"
            ),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def _holds(cluster: Body) -> bool:
    return str(cluster["name"]).endswith(names.HELD_SUFFIX)


def _number(cluster: Body) -> int:
    match = _NUMBER.search(cluster["name"].removesuffix(names.HELD_SUFFIX))
    if match is None:
        raise ValueError(f"{cluster['name']} is no revision's cluster")
    return int(match[1])
