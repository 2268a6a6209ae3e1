"""One window against the profile: what has changed by more than matters and by more than chance. Pure.

A finding needs both: an effect at its threshold or above, and a probability by chance of at most ``alpha`` divided by all
tests of the window. So whatever the number of columns, a window without any change has a finding with
probability ``alpha`` at most. Assumed: rows are drawn independently of each other.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import numpy as np

from modelendpoint_server.monitor import distances, significance
from modelendpoint_server.monitor.reference import Categories, ColumnProfile, Numbers, Profile
from modelendpoint_server.monitor.sketches import Counts, Sketch

_TESTS = 4
"""Of each column: shares, missing values, values out of the range or unseen, and always the same value."""


class Kind(StrEnum):
    """What can be found."""

    DISTRIBUTION = "Distribution"
    MISSING = "Missing"
    OUT_OF_RANGE = "OutOfRange"
    UNSEEN = "UnseenCategories"
    CONSTANT = "Constant"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Effects that matter."""

    psi: float = 0.1
    missing: float = 0.01
    """Share of rows without a value, above that of the reference."""
    out_of_range: float = 0.01
    unseen: float = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """What is known of one column in a window."""

    column: str
    is_output: bool
    rows: int
    psi: float
    jensen_shannon: float
    kolmogorov_smirnov: float | None
    """``None`` for texts, which have no order that means something."""
    p_value: float
    """Of the shares."""
    missing: float
    """Share of rows without a value."""
    reference_missing: float
    outside: float
    """Share of values out of the reference's range, or unseen there."""
    mean: float | None
    reference_mean: float | None

    @property
    def role(self) -> str:
        """Whether the model takes or gives it."""
        return "Output" if self.is_output else "Input"

    def as_json(self) -> dict[str, Any]:
        """Return its object of the report."""
        return {
            "column": self.column,
            "role": self.role,
            "rows": self.rows,
            "psi": _rounded(self.psi),
            "jensenShannon": _rounded(self.jensen_shannon),
            "kolmogorovSmirnov": _rounded(self.kolmogorov_smirnov),
            "pValue": _rounded(self.p_value),
            "missingPercent": _rounded(100 * self.missing),
            "referenceMissingPercent": _rounded(100 * self.reference_missing),
            "outsidePercent": _rounded(100 * self.outside),
            "mean": _rounded(self.mean),
            "referenceMean": _rounded(self.reference_mean),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """Something of one column that has changed."""

    kind: Kind
    figures: Figures
    effect: float
    """PSI of a distribution; of a rate the share by which it is above that of the reference."""
    threshold: float
    p_value: float

    @property
    def strength(self) -> float:
        """How often the effect is its threshold."""
        return self.effect / self.threshold if self.threshold else math.inf

    def as_json(self) -> dict[str, Any]:
        """Return its object of the report."""
        return {"kind": self.kind, **self.figures.as_json(), "pValue": _rounded(self.p_value)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a window says."""

    findings: tuple[Finding, ...]
    """The strongest first."""
    figures: tuple[Figures, ...]
    """Of all columns that had values."""


def judge(profile: Profile, sketches: Mapping[str, Sketch], thresholds: Thresholds, *, alpha: float) -> Verdict:
    """Compare a window with the profile; ``alpha`` bounds the probability of any finding without a change."""
    level = alpha / (_TESTS * len(profile.by_name))
    figures: list[Figures] = []
    findings: list[Finding] = []
    outputs = {id(column) for column in profile.outputs}
    for name, column in profile.by_name.items():
        sketch = sketches.get(name)
        if sketch is None or not sketch.rows:
            continue
        found = _figures(column, sketch, is_output=id(column) in outputs)
        figures.append(found)
        findings += [one for one in _candidates(column, sketch, found, thresholds) if one.p_value <= level]
    return Verdict(
        findings=tuple(sorted(findings, key=lambda one: (-one.strength, one.p_value, one.figures.column))),
        figures=tuple(figures),
    )


def _figures(profile: ColumnProfile, sketch: Sketch, *, is_output: bool) -> Figures:
    reference, window = _bins(profile, sketch)
    has_values = sketch.values > 0
    has_order = isinstance(profile, Numbers) or profile.is_numeric
    return Figures(
        column=profile.name,
        is_output=is_output,
        rows=sketch.rows,
        psi=distances.population_stability(reference, window) if has_values else 0.0,
        jensen_shannon=distances.jensen_shannon(reference, window) if has_values else 0.0,
        kolmogorov_smirnov=(distances.kolmogorov_smirnov(reference, window) if has_values else 0.0)
        if has_order
        else None,
        p_value=significance.same_shares(reference, window),
        missing=sketch.missing / sketch.rows,
        reference_missing=profile.missing / profile.rows,
        outside=_outside(profile, sketch) / sketch.values if has_values else 0.0,
        mean=sketch.mean if has_values and has_order else None,
        reference_mean=profile.mean if isinstance(profile, Numbers) else None,
    )


def _bins(profile: ColumnProfile, sketch: Sketch) -> tuple[Counts, Counts]:
    """Return what is compared; rare and unknown categories are one bin."""
    if isinstance(profile, Numbers):
        return np.array(profile.counts), sketch.counts
    return np.array([*profile.counts, profile.others]), np.append(sketch.counts[:-2], sketch.counts[-2:].sum())


def _outside(profile: ColumnProfile, sketch: Sketch) -> int:
    if isinstance(profile, Numbers):
        return sketch.outside
    return int(sketch.counts[-1]) if profile.is_complete else 0


def _candidates(profile: ColumnProfile, sketch: Sketch, figures: Figures, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield what has an effect, with the probability that it is chance."""
    if figures.psi >= thresholds.psi:
        yield Finding(
            kind=Kind.DISTRIBUTION,
            figures=figures,
            effect=figures.psi,
            threshold=thresholds.psi,
            p_value=figures.p_value,
        )
    more_missing = figures.missing - figures.reference_missing
    if more_missing > 0 and more_missing >= thresholds.missing:
        yield Finding(
            kind=Kind.MISSING,
            figures=figures,
            effect=more_missing,
            threshold=thresholds.missing,
            p_value=significance.more_often(sketch.missing, sketch.rows, before=profile.missing, of=profile.rows),
        )
    yield from _beyond(profile, sketch, figures, thresholds)
    if _is_constant(profile, sketch):
        yield Finding(
            kind=Kind.CONSTANT,
            figures=figures,
            effect=1.0,
            threshold=1.0,
            p_value=significance.more_often(sketch.values, sketch.values, before=profile.commonest, of=profile.counted),
        )


def _beyond(profile: ColumnProfile, sketch: Sketch, figures: Figures, thresholds: Thresholds) -> Iterator[Finding]:
    outside = _outside(profile, sketch)
    if not outside:
        return
    if isinstance(profile, Numbers):
        kind, threshold = Kind.OUT_OF_RANGE, thresholds.out_of_range
        p_value = significance.beyond_range(outside, sketch.values, of=profile.rows - profile.missing)
    else:
        kind, threshold = Kind.UNSEEN, thresholds.unseen
        p_value = significance.more_often(
            outside, sketch.values, before=profile.seen_once + 1, of=profile.rows - profile.missing
        )
    if figures.outside >= threshold:
        yield Finding(kind=kind, figures=figures, effect=figures.outside, threshold=threshold, p_value=p_value)


def _is_constant(profile: ColumnProfile, sketch: Sketch) -> bool:
    if isinstance(profile, Categories):
        # The last two places may hold many different values.
        return sketch.values > 0 and int(sketch.counts[:-2].max(initial=0)) == sketch.values
    return sketch.minimum == sketch.maximum


def _rounded(value: float | None) -> float | None:
    """Keep what people read."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")
