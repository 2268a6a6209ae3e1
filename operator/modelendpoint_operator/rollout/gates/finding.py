"""What gates are given and what they answer. Judging must not be here."""

from dataclasses import dataclass

from modelendpoint_operator.api.status import Verdict

__all__ = ["Bucket", "Counts", "Finding", "Verdict"]


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Answers that took about the same time: from ``lower_ms`` on, below ``upper_ms``."""

    lower_ms: float
    upper_ms: float
    answers: int


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the routers counted for one revision over one period."""

    answers: int = 0
    """Requests that were answered, by the model server or by the router in its place."""
    client_errors: int = 0
    """Those of them with a status from 400 to 499."""
    server_errors: int = 0
    """Those of them with a status from 500."""
    latency: tuple[Bucket, ...] = ()
    """How long they took, by rising times; empty buckets are left out."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The answer of one gate at one moment."""

    gate: str
    """``errorRate``, ``latency``, ``prometheus/<name>``, ``http/<name>`` or ``replay/<name>``."""
    verdict: Verdict
    message: str
    """One sentence with the numbers, for people."""
    effect: float | None = None
    """Candidate minus stable, in the gate's unit (percentage points, milliseconds); None where nothing is compared."""
    lower: float | None = None
    """Lower end of the always-valid interval of the effect."""
    upper: float | None = None
    """Upper end of it."""
    threshold: float | None = None
    """Largest effect that is allowed, in the same unit."""
    candidate_requests: int | None = None
    stable_requests: int | None = None
    missing_requests: int | None = None
    """About how many more answers of the candidate are needed to tell, when they go on as they did."""
