"""Drift against a reference that may not be there yet: it is fetched, again when it changes, and samples are counted.

The report, as the operator reads it::

    {"reference": {"sha256", "modelSha256", "rows"}, "reason": null, "message": null,
     "windowSeconds": 300.0, "minimumRows": 1000, "alpha": 0.001,
     "arms": [{"revision": "7", "variant": "", "window": {"startedAt", "rows"}, "windows": 12, "drifted": 1,
               "unknownColumns": [], "last": {"startedAt", "endedAt", "rows", "columns", "findingCount", "findings": [...]}}]}

``reference`` is null, and ``arms`` are empty, as long as there is none; ``reason`` and ``message`` say why.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelendpoint_server.errors import InvalidSettings, ServerError
from modelendpoint_server.monitor.drift import Thresholds
from modelendpoint_server.monitor.reference import Profile
from modelendpoint_server.monitor.sample import Sample
from modelendpoint_server.monitor.windows import WindowRules, Windows

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 60.0
_RETRY_SECONDS = 15.0
_MOST_COLUMNS = 100
"""Columns of an arm that have series of their own: those with the largest index."""
_LABELS = ("endpoint", "revision", "variant")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DriftWanted:
    """What drift is measured against, and how."""

    uri: str
    rules: WindowRules

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "DriftWanted":
        """Read what the operator says; raise ``InvalidSettings``."""
        rules, thresholds = WindowRules(), Thresholds()
        effects = told.get("thresholds") or {}
        try:
            return cls(
                uri=str(told["reference"]),
                rules=dataclasses.replace(
                    rules,
                    seconds=float(told.get("windowSeconds") or rules.seconds),
                    minimum_rows=int(told.get("minimumRows") or rules.minimum_rows),
                    thresholds=Thresholds(
                        psi=float(effects.get("psi", thresholds.psi)),
                        missing=_share(effects.get("missingPercent"), thresholds.missing),
                        out_of_range=_share(effects.get("outOfRangePercent"), thresholds.out_of_range),
                        unseen=_share(effects.get("unseenPercent"), thresholds.unseen),
                    ),
                ),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidSettings(f"drift of MODELENDPOINT_MONITOR can't be read: {error!r}.") from error


def _share(percent: float | None, default: float) -> float:
    return default if percent is None else float(percent) / 100


class DriftWatch(Collector):
    """Counts samples once there is a reference; ``fetch`` gets it, ``clock`` tells the seconds since 1970."""

    def __init__(
        self, wanted: DriftWanted, *, endpoint: str, fetch: Callable[[str], bytes], clock: Callable[[], float]
    ) -> None:
        self._wanted = wanted
        self._endpoint = endpoint
        self._fetch = fetch
        self._clock = clock
        self._text = b""
        self._windows: Windows | None = None
        self._trouble: ServerError | None = None

    def add(self, sample: Sample) -> None:
        """Count a sample, if there is something to compare it with."""
        if (windows := self._windows) is not None:
            windows.add(sample)

    def keep(self, stop: threading.Event) -> None:
        """Look after the reference until told to end."""
        while not stop.wait(self.refresh()):
            pass

    def refresh(self) -> float:
        """Fetch the reference; another one begins all windows anew. Return the seconds until the next look."""
        try:
            text = self._fetch(self._wanted.uri)
            if text != self._text:
                profile = Profile.from_json(text)
                self._windows, self._text = Windows(profile, self._wanted.rules, clock=self._clock), text
                _LOG.info("Compares with a reference", extra={"sha256": profile.sha256, "rows": profile.rows})
        except ServerError as error:
            if str(error) != str(self._trouble):
                _LOG.warning("Has no new reference: %s", error)
            self._trouble = error
            return _RETRY_SECONDS
        self._trouble = None
        return _LOOK_SECONDS

    def report(self) -> dict[str, Any]:
        """Return what the operator reads."""
        rules = self._wanted.rules
        trouble, windows = self._trouble, self._windows
        return {
            "reference": None if windows is None else windows.reference(),
            "reason": None if trouble is None else type(trouble).__name__,
            "message": None if trouble is None else str(trouble),
            "windowSeconds": rules.seconds,
            "minimumRows": rules.minimum_rows,
            "alpha": rules.alpha,
            "arms": [] if windows is None else windows.report(),
        }

    def collect(self) -> Iterator[Metric]:
        """Hand the figures of the last windows to the Prometheus client."""
        gauges = {
            name: GaugeMetricFamily(f"modelmonitor_drift_{name}", text, labels=[*_LABELS, "column", "role"])
            for name, text in (
                ("population_stability", "Population stability index of a column in the last window."),
                ("missing_ratio", "Share of rows without a value in the last window."),
                ("outside_ratio", "Share of values out of the reference's range, or unseen there, in the last window."),
            )
        }
        counts = {
            "windows": CounterMetricFamily("modelmonitor_drift_windows", "Windows that were judged.", labels=_LABELS),
            "drifted": CounterMetricFamily(
                "modelmonitor_drift_windows_drifted", "Windows in which a column had drifted.", labels=_LABELS
            ),
        }
        windows = self._windows
        for arm in windows.report() if windows is not None else ():
            for key, family in counts.items():
                family.add_metric([self._endpoint, arm["revision"], arm["variant"]], arm[key])
        for (revision, variant), judged in windows.verdicts().items() if windows is not None else ():
            for found in sorted(judged.verdict.figures, key=lambda one: -one.psi)[:_MOST_COLUMNS]:
                labels = [self._endpoint, revision, variant, found.column, found.role]
                values = {
                    "population_stability": found.psi,
                    "missing_ratio": found.missing,
                    "outside_ratio": found.outside,
                }
                for name, value in values.items():
                    gauges[name].add_metric(labels, value)
        yield from (*gauges.values(), *counts.values())
