"""What the server says about itself: the state of its model, for the operator and for people."""

import dataclasses
from enum import StrEnum
from typing import Any

from modelendpoint_server.signature import Signature


class State(StrEnum):
    """Where the server is on the way to serving, or out of it."""

    DOWNLOADING = "Downloading"
    LOADING = "Loading"
    READY = "Ready"
    FAILED = "Failed"
    DRAINING = "Draining"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What was loaded."""

    uri: str
    version: str
    sha256: str
    bytes: int
    opset: int | None
    producer: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timings:
    """How long the steps to readiness took."""

    download_seconds: float
    load_seconds: float
    warm_up_seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """The answer of ``/report``."""

    state: State
    reason: str | None = None
    message: str | None = None
    retry_after_seconds: float | None = None
    model: ModelInfo | None = None
    signature: Signature | None = None
    golden: dict[str, Any] | None = None
    """How the model did on its golden examples."""
    timings: Timings | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what the report looks like in JSON."""
        return {
            "state": self.state,
            "reason": self.reason,
            "message": self.message,
            "retryAfterSeconds": self.retry_after_seconds,
            "model": dataclasses.asdict(self.model) if self.model else None,
            "signature": signature_as_json(self.signature) if self.signature else None,
            "golden": self.golden,
            "timings": _camel(dataclasses.asdict(self.timings)) if self.timings else None,
        }


def signature_as_json(signature: Signature) -> dict[str, Any]:
    """Write a signature as the Open Inference Protocol's metadata does."""
    return {
        "inputs": [{"name": s.name, "datatype": s.datatype, "shape": s.shape} for s in signature.inputs],
        "outputs": [
            {"name": s.name, "datatype": s.datatype, "shape": s.shape}
            | ({} if s.kind == "tensor" else {"kind": s.kind})
            for s in signature.outputs
        ],
    }


def _camel(values: dict[str, float]) -> dict[str, float]:
    def name(key: str) -> str:
        first, *rest = key.split("_")
        return first + "".join(part.title() for part in rest)

    return {name(key): round(value, 4) for key, value in values.items()}
