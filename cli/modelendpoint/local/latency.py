"""How long the answers of each revision took, read from Envoy for people to look at. No verdict is made of it."""

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelendpoint.local.relocation import LOOPBACK

_PATH = r"/stats?format=json&filter=%5Ecluster%5C..%2B-r%5B0-9%5D%2B%5C.upstream_rq_time%24"
_NAME = re.compile(r"^cluster\..+-r(?P<revision>[0-9]+)\.upstream_rq_time$")


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds; None before the first answer."""

    p50: float | None
    p99: float | None


def read_latencies(port: int, *, timeout_seconds: float = 1.0) -> dict[int, Latency]:
    """Ask a router; nothing when it does not answer."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_seconds)
    try:
        connection.request("GET", _PATH)
        return parse_latencies(json.loads(connection.getresponse().read()))
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()


def parse_latencies(document: Mapping[str, Any]) -> dict[int, Latency]:
    """Read Envoy's histograms, over all the time since the router started."""
    found = {}
    for stat in document.get("stats", []):
        histograms = stat.get("histograms")
        if histograms:
            quantiles = histograms["supported_quantiles"]
            for computed in histograms["computed_quantiles"]:
                match = _NAME.match(computed["name"])
                if match:
                    values = dict(zip(quantiles, (value["cumulative"] for value in computed["values"]), strict=True))
                    found[int(match["revision"])] = Latency(p50=values.get(50), p99=values.get(99))
    return found
