"""What comparisons of two revisions have in common: from an interval to a verdict, what is missing, and wording."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from modelendpoint_operator.rollout.gates.finding import Verdict

_STEP = 16.0
_LARGEST_FACTOR = _STEP**3
"""So many times the data, and a gate still can't tell: then it is too close to call."""
_PRECISION = 1.25


@dataclass(frozen=True)
class Interval:
    """Where an effect is, as far as is known; each end is ever wrong with probability alpha at most."""

    lower: float
    upper: float


def verdict_on(interval: Interval, threshold: float, *, is_enough: bool) -> Verdict:
    """Tell what an interval of the effect says about the largest effect that is allowed."""
    if interval.lower > threshold:
        return Verdict.FAIL
    return Verdict.PASS if interval.upper <= threshold and is_enough else Verdict.INSUFFICIENT_DATA


def missing_requests(tells: Callable[[float], bool], *, size: float, answered: float, minimum: int) -> int | None:
    """Estimate how many answers of the candidate are missing, when all goes on as it did.

    ``tells`` says whether so many times the data would be enough, ``size`` how many answers once the data are. None
    when no number of them will do. At most a quarter too many.
    """
    factor = _factor_to_tell(tells)
    return None if factor is None else max(1, math.ceil(max(size * factor, minimum)) - int(answered))


def _factor_to_tell(tells: Callable[[float], bool]) -> float | None:
    enough = 1.0
    while not tells(enough):
        enough *= _STEP
        if enough > _LARGEST_FACTOR:
            return None
    short = enough / _STEP if enough > 1 else enough
    while enough > short * _PRECISION:
        middle = math.sqrt(short * enough)
        short, enough = (short, middle) if tells(middle) else (middle, enough)
    return enough


def missing_text(missing: int | None) -> str:
    """Say how many requests are missing."""
    if missing is None:
        return "that is too close to call"
    return f"about {missing:,} more requests of the candidate are needed to tell"


def percent_text(share: float) -> str:
    """Write a share for people."""
    percent = 100 * share
    decimals = 1 if percent >= 1 or percent == 0 else min(6, 1 - math.floor(math.log10(percent)))
    return f"{_trimmed(percent, decimals)} %"


def number_text(value: float, *, beside: float | None = None, sign: str = "") -> str:
    """Write a number with one decimal, or as many as keep it on its side of another one."""
    decimals = 1
    while beside is not None and decimals < 9 and (round(value, decimals) > beside) != (value > beside):
        decimals += 1
    return _trimmed(value, decimals, sign)


def _trimmed(value: float, decimals: int, sign: str = "") -> str:
    text = f"{value:{sign},.{decimals}f}"
    text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "+0") else text
