"""Samples counted in windows, by revision and variant, each judged when it is full. Bounded memory, whatever comes.

A window is full when it has lasted its seconds and has its rows. Windows of a process that has ended are lost.
"""

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from modelendpoint_server.monitor import sketches
from modelendpoint_server.monitor.drift import Thresholds, Verdict, judge
from modelendpoint_server.monitor.reference import Profile, output_key
from modelendpoint_server.monitor.sample import Column, Sample
from modelendpoint_server.monitor.series import Series, series_of
from modelendpoint_server.monitor.sketches import Sketch

_MOST_ARMS = 16
"""Revisions and variants that are counted at the same time; the one without samples for longest is forgotten."""
_PENDING_SAMPLES = 256
_PENDING_ROWS = 4096
"""Samples are counted many at a time: for one row alone it takes a hundred times as long a row."""
_MOST_FINDINGS = 10
_MOST_NAMES = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowRules:
    """When a window is full, and what is looked for in it."""

    seconds: float = 300.0
    minimum_rows: int = 1000
    alpha: float = 0.001
    """The largest probability of a finding in a window without any change."""
    thresholds: Thresholds = dataclasses.field(default_factory=Thresholds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """A full window."""

    started: float
    ended: float
    rows: int
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """Return its object of the report."""
        findings = self.verdict.findings
        return {
            "startedAt": self.started,
            "endedAt": self.ended,
            "rows": self.rows,
            "columns": len(self.verdict.figures),
            "findings": [finding.as_json() for finding in findings[:_MOST_FINDINGS]],
            "findingCount": len(findings),
        }


class _Arm:
    """The windows of one revision or variant."""

    def __init__(self) -> None:
        self.pending: list[Sample] = []
        self.pending_rows = 0
        self.started: float | None = None
        self.rows = 0
        self.counted: dict[str, Sketch] = {}
        self.last: Judged | None = None
        self.windows = self.drifted = 0
        self.strange: set[str] = set()
        """Columns that the profile does not have, or has with another kind of values."""


class Windows:
    """Counts samples. May be used by several threads; ``clock`` tells the seconds since 1970."""

    def __init__(self, profile: Profile, rules: WindowRules, *, clock: Callable[[], float]) -> None:
        self._profile = profile
        self._rules = rules
        self._clock = clock
        self._lock = threading.Lock()
        self._arms: OrderedDict[tuple[str, str], _Arm] = OrderedDict()

    def add(self, sample: Sample) -> None:
        """Count a sample."""
        with self._lock:
            arm = self._arm(sample.revision, sample.variant)
            now = self._clock()
            arm.started = now if arm.started is None else arm.started
            arm.pending.append(sample)
            arm.pending_rows += sample.rows
            arm.rows += sample.rows
            if arm.pending_rows >= _PENDING_ROWS or len(arm.pending) >= _PENDING_SAMPLES:
                self._count(arm)
            self._close(arm, now)

    def reference(self) -> dict[str, Any]:
        """Say what is compared with."""
        profile = self._profile
        return {"sha256": profile.sha256, "modelSha256": profile.model_sha256, "rows": profile.rows}

    def report(self) -> list[dict[str, Any]]:
        """Say of each revision and variant how far its window is, and what the last one has shown."""
        with self._lock:
            now = self._clock()
            for arm in self._arms.values():
                self._close(arm, now)
            return [
                {
                    "revision": revision,
                    "variant": variant,
                    "window": {"startedAt": arm.started, "rows": arm.rows},
                    "last": None if arm.last is None else arm.last.as_json(),
                    "windows": arm.windows,
                    "drifted": arm.drifted,
                    "unknownColumns": sorted(arm.strange)[:_MOST_NAMES],
                }
                for (revision, variant), arm in self._arms.items()
            ]

    def verdicts(self) -> dict[tuple[str, str], Judged]:
        """Return the last full window by revision and variant."""
        with self._lock:
            return {key: arm.last for key, arm in self._arms.items() if arm.last is not None}

    def _arm(self, revision: str, variant: str) -> _Arm:
        key = (revision, variant)
        arm = self._arms.get(key)
        if arm is None:
            arm = self._arms[key] = _Arm()
            if len(self._arms) > _MOST_ARMS:
                self._arms.popitem(last=False)
        self._arms.move_to_end(key)
        return arm

    def _close(self, arm: _Arm, now: float) -> None:
        if arm.started is None or arm.rows < self._rules.minimum_rows or now - arm.started < self._rules.seconds:
            return
        self._count(arm)
        verdict = judge(self._profile, arm.counted, self._rules.thresholds, alpha=self._rules.alpha)
        arm.last = Judged(started=arm.started, ended=now, rows=arm.rows, verdict=verdict)
        arm.windows += 1
        arm.drifted += bool(verdict.findings)
        arm.started, arm.rows, arm.counted = None, 0, {}

    def _count(self, arm: _Arm) -> None:
        """Count the samples that wait."""
        samples, arm.pending, arm.pending_rows = arm.pending, [], 0
        inputs = self._series([sample.inputs for sample in samples])
        outputs = self._series([sample.outputs for sample in samples])
        known = {column.name for column in self._profile.inputs}
        for name, series in (*inputs.items(), *((output_key(n, known), s) for n, s in outputs.items())):
            column = self._profile.by_name.get(name)
            if column is None or not sketches.fits(column, series):
                if len(arm.strange) < 2 * _MOST_NAMES:
                    arm.strange.add(name)
                continue
            counted = arm.counted.get(name) or sketches.empty(column)
            arm.counted[name] = counted.plus(sketches.sketch(column, series))

    def _series(self, parts: list[Mapping[str, Column]]) -> dict[str, Series]:
        """Put the series of many samples together; a column need not be in all of them."""
        found: dict[str, list[Series]] = {}
        for columns in parts:
            for name, series in series_of(columns, self._profile.summarised).items():
                found.setdefault(name, []).append(series)
        return {name: np.concatenate(series) for name, series in found.items()}
