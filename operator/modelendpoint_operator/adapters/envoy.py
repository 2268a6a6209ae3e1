"""Reads a router pod's status from Envoy: the versions that it uses, what it refused, and its counters by revision.

Judging them must not be here.
"""

import http.client
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel

from modelendpoint_operator import names

_ROUTES = f"http.{names.STAT_PREFIX}.rds.{names.ROUTE_CONFIG_NAME}"
_LISTENERS = "listener_manager.lds"
_CLUSTERS = "cluster_manager.cds"

_CERTIFICATES = "server_ssl_socket_factory.ssl_context_update_by_sds"
"""Envoy's counter of certificates that it has taken up."""

_COUNTERS = {
    "membership_total": "hosts",
    "membership_healthy": "healthy_hosts",
    "upstream_rq_completed": "answers",
    "upstream_rq_4xx": "answers_4xx",
    "upstream_rq_5xx": "answers_5xx",
    "upstream_rq_timeout": "timeouts",
    "upstream_rq_retry": "retries",
    "upstream_cx_connect_fail": "failed_connections",
    "upstream_rq_pending_overflow": "dropped",
    "upstream_rq_active_overflow": "dropped",
    "upstream_cx_none_healthy": "without_host",
    "outlier_detection.ejections_active": "ejected_hosts",
}
"""Envoy's counters of a cluster, and the fields of ``ClusterStats`` that hold them, or their sum."""

_TIME = "upstream_rq_time"
"""Envoy's histogram of the whole milliseconds that answers took."""

_KNOCKS = f"cluster.{names.HOLD}.upstream_rq_total"
"""Envoy's counter of requests that were told to ask again, because they wait for a pod."""

_CLUSTER_STAT = re.compile(r"^cluster\..+-r(?P<revision>[0-9]+)\.(?P<counter>[a-z0-9_.]+)$")
_FILTER = "|".join(
    [
        rf"^{re.escape(_KNOCKS)}$",
        rf"^({_ROUTES}|{_LISTENERS}|{_CLUSTERS})\.(version_text|update_rejected|update_failure)$",
        rf"^cluster\..+-r[0-9]+\.({'|'.join(_COUNTERS)}|{_TIME})$",
        rf"\.{_CERTIFICATES}$",
    ]
)
_PATH = "/stats?" + urlencode({"format": "json", "histogram_buckets": "detailed", "filter": _FILTER})
_KNOCKS_PATH = "/stats?" + urlencode({"format": "json", "filter": rf"^{re.escape(_KNOCKS)}$"})

MAX_BYTES = 1024 * 1024
"""An answer beyond this is nothing that our router would say."""


@dataclass(frozen=True, kw_only=True)
class ClusterStats:
    """What one router pod counted for one revision since the pod started. Counters only grow until it restarts."""

    hosts: int = 0
    """Pods that DNS tells of, and those that it did tell of and that still say they are ready."""
    healthy_hosts: int = 0
    """Pods that requests are sent to."""
    ejected_hosts: int = 0
    """Pods left out for a while because connections to them failed."""
    answers: int = 0
    """Requests that were answered, by a model server or by Envoy in its place. A retried one counts once."""
    answers_4xx: int = 0
    answers_5xx: int = 0
    timeouts: int = 0
    """Requests that the model server did not answer within the endpoint's time limit."""
    retries: int = 0
    failed_connections: int = 0
    without_host: int = 0
    """Requests for which there was no pod at all."""
    dropped: int = 0
    """Requests that were not sent because too many were under way. Envoy counts them as answered by 503, too."""
    latency: Mapping[tuple[float, float], int] = field(default_factory=dict)
    """How many answers took how long: from a number of milliseconds on, below another one. Envoy gathers them when it
    is asked, and shows them when it is asked the next time: they are as old as the last look."""


@dataclass(frozen=True, kw_only=True)
class RouterStats:
    """What one router pod tells about itself. A version is None until Envoy has taken up the first document."""

    route_version: str | None = None
    listener_version: str | None = None
    cluster_version: str | None = None
    rejected_updates: int = 0
    """Documents that Envoy refused since its start; it goes on with the last good one."""
    troubles: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with the files that it has of users' objects, by the name of the mount."""
    clusters: Mapping[int, ClusterStats] = field(default_factory=dict)
    """By revision."""
    knocks: int | None = None
    """Times that a request which waits for a pod asked for one, since the router's start. None for one that can't hold any."""


class _Bin(BaseModel):
    lower_bound: float
    width: float
    count: int

    @property
    def ends(self) -> tuple[float, float]:
        # Envoy cuts a time to whole milliseconds before it counts it: what is counted as 2 was below 3.
        return (self.lower_bound, self.lower_bound + max(self.width, 1.0))


class _Histogram(BaseModel):
    name: str
    totals: list[_Bin] = []


class _Histograms(BaseModel):
    details: list[_Histogram] = []


class _Stat(BaseModel):
    name: str = ""
    value: int | str = 0
    histograms: _Histograms = _Histograms()
    """All of them stand in one item of the list, which has no name."""


class _Stats(BaseModel):
    stats: list[_Stat]


class RouterStatusReader:
    """Asks router pods for their status."""

    def __init__(self, *, port: int = names.ROUTER_STATUS_PORT, timeout_seconds: float = 2.0) -> None:
        self._port = port
        self._timeout_seconds = timeout_seconds

    def read(self, address: str) -> RouterStats | None:
        """Ask the router pod at an IP address. None when it did not answer, or not like one of our routers."""
        return self._ask(address, _PATH)

    def count_knocks(self, address: str) -> int | None:
        """Ask how often requests asked for a pod, and for nothing else, which costs the router little."""
        told = self._ask(address, _KNOCKS_PATH)
        return None if told is None else told.knocks

    def _ask(self, address: str, path: str) -> RouterStats | None:
        connection = http.client.HTTPConnection(address, self._port, timeout=self._timeout_seconds)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read(MAX_BYTES + 1)
            if response.status != http.HTTPStatus.OK or len(body) > MAX_BYTES:
                return None
            stats = parse_stats(json.loads(body))
            troubles = parse_troubles(response.getheader(names.HEADER_ROUTER_TROUBLE, ""))
            return replace(stats, troubles={**stats.troubles, **troubles})
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()


def parse_stats(document: object) -> RouterStats:
    """Reduce Envoy's ``/stats?format=json`` to our own types. Raises ``ValueError`` for what is not that."""
    told = _Stats.model_validate(document).stats
    stats = {stat.name: stat.value for stat in told if stat.name}
    return RouterStats(
        route_version=_version(stats, _ROUTES),
        listener_version=_version(stats, _LISTENERS),
        cluster_version=_version(stats, _CLUSTERS),
        rejected_updates=sum(_rejected(stats, source) for source in (_ROUTES, _LISTENERS, _CLUSTERS)),
        troubles=_certificate_troubles(stats),
        clusters=_clusters(stats, [histogram for stat in told for histogram in stat.histograms.details]),
        knocks=_count(stats, _KNOCKS) if _KNOCKS in stats else None,
    )


def _certificate_troubles(stats: Mapping[str, int | str]) -> dict[str, str]:
    """Find that a listener waits for its first certificate; a later one that is of no use replaces none."""
    taken_up = [_count(stats, name) for name in stats if name.endswith(f".{_CERTIFICATES}")]
    return {"tls": "invalid"} if 0 in taken_up else {}


def parse_troubles(text: str) -> dict[str, str]:
    """Read what a router tells of its mounts: ``keys=missing,jwks=invalid``."""
    pairs = (item.partition("=") for item in text.split(",") if item)
    return {name: trouble for name, _, trouble in sorted(pairs)}


def _version(stats: Mapping[str, int | str], source: str) -> str | None:
    return str(stats.get(f"{source}.version_text", "")) or None


def _rejected(stats: Mapping[str, int | str], source: str) -> int:
    # Envoy calls a file that it can't parse a failed update, and one with wrong content a rejected one.
    return _count(stats, f"{source}.update_rejected") + _count(stats, f"{source}.update_failure")


def _count(stats: Mapping[str, int | str], name: str) -> int:
    return int(stats.get(name, 0))


def _clusters(stats: Mapping[str, int | str], histograms: Iterable[_Histogram]) -> dict[int, ClusterStats]:
    counted: dict[int, dict[str, Any]] = {}
    for name in stats:
        match = _CLUSTER_STAT.match(name)
        if match and match["counter"] in _COUNTERS:
            fields, field_name = counted.setdefault(int(match["revision"]), {}), _COUNTERS[match["counter"]]
            fields[field_name] = fields.get(field_name, 0) + _count(stats, name)
    for histogram in histograms:
        match = _CLUSTER_STAT.match(histogram.name)
        if match and match["counter"] == _TIME:
            latency = {part.ends: part.count for part in histogram.totals}
            counted.setdefault(int(match["revision"]), {})["latency"] = latency
    return {revision: ClusterStats(**counters) for revision, counters in counted.items()}
