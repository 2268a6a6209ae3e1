"""What is to be known of one model before it is served. No printing here."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from modelendpoint.models.opened import OpenModel, take_rows
from modelendpoint_server.errors import RequestError
from modelendpoint_server.inference import Call
from modelendpoint_server.made_up import made_up_inputs
from modelendpoint_server.report import signature_as_json
from modelendpoint_server.signature import Signature, Tensor, TensorSpec

_MANY_ROWS = 100
_WARM_UPS = 3
_MEASURE_SECONDS = 0.3
_MOST_RUNS = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreeAxis:
    """A dimension that a request may choose."""

    tensor: str
    axis: int
    name: str | None
    """The name that the file gives it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latency:
    """How long a warm model takes for a request, without HTTP."""

    rows: int
    runs: int
    median_milliseconds: float
    p99_milliseconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """All of it."""

    place: str
    sha256: str
    size: int
    opset: int | None
    producer: str
    metadata: Mapping[str, str]
    signature: Signature
    free_axes: Sequence[FreeAxis]
    runtime: str
    providers: Sequence[str]
    """Execution providers that ONNX Runtime has on this machine; the server's images have the first that all have."""
    latencies: Sequence[Latency]
    refusal: str | None
    """Why the model can't be measured with the rows it was given, or with made-up ones."""

    def as_document(self) -> dict[str, Any]:
        """Return what ``-o json`` prints."""
        return {
            "model": self.place,
            "sha256": self.sha256,
            "bytes": self.size,
            "opset": self.opset,
            "producer": self.producer,
            "signature": {**signature_as_json(self.signature), "columns": list(self.signature.columns)},
            "freeAxes": [dataclasses.asdict(axis) for axis in self.free_axes],
            "runtime": self.runtime,
            "providers": list(self.providers),
            "latencies": [dataclasses.asdict(latency) for latency in self.latencies],
            "refusal": self.refusal,
            "metadata": dict(self.metadata),
        }


def inspect_model(opened: OpenModel, rows: Call | None = None) -> Inspection:
    """Look at a model, and measure it with these rows or with made-up ones."""
    signature = opened.signature
    latencies: list[Latency] = []
    refusal = None
    try:
        for inputs in _requests(opened, rows):
            latencies.append(_measure(opened, inputs))
    except RequestError as error:
        refusal = str(error)
    return Inspection(
        place=opened.place,
        sha256=opened.artifact.sha256,
        size=opened.artifact.size,
        opset=opened.artifact.opset,
        producer=opened.model.producer,
        metadata=opened.model.metadata,
        signature=signature,
        free_axes=[axis for spec in signature.inputs for axis in _free_axes(spec)],
        runtime=f"onnxruntime {onnxruntime.__version__}",
        providers=onnxruntime.get_available_providers(),
        latencies=latencies,
        refusal=refusal,
    )


def _free_axes(spec: TensorSpec) -> list[FreeAxis]:
    return [
        FreeAxis(tensor=spec.name, axis=axis, name=size)
        for axis, size in enumerate(spec.dimensions)
        if not isinstance(size, int)
    ]


def _requests(opened: OpenModel, rows: Call | None) -> list[dict[str, Tensor]]:
    """Make a request of one row and, if the model takes several, one of many."""
    signature = opened.signature
    one = take_rows(rows, signature, slice(0, 1)) if rows else made_up_inputs(signature)
    if not all(spec.has_batch for spec in signature.inputs):
        return [one]
    if rows is None:
        return [one, {name: np.repeat(tensor, _MANY_ROWS, axis=0) for name, tensor in one.items()}]
    repeated = {
        name: np.resize(tensor, (_MANY_ROWS, *tensor.shape[1:])) if len(tensor) else tensor
        for name, tensor in rows.inputs.items()
    }
    return [one, repeated]


def _measure(opened: OpenModel, inputs: dict[str, Tensor]) -> Latency:
    call = Call(inputs)
    for _ in range(_WARM_UPS):
        rows = opened.predictor.predict(call).rows
    seconds: list[float] = []
    end = time.perf_counter() + _MEASURE_SECONDS
    while not seconds or (len(seconds) < _MOST_RUNS and time.perf_counter() < end):
        started = time.perf_counter()
        opened.predictor.predict(call)
        seconds.append(time.perf_counter() - started)
    return Latency(
        rows=rows,
        runs=len(seconds),
        median_milliseconds=round(float(np.quantile(seconds, 0.5)) * 1000, 4),
        p99_milliseconds=round(float(np.quantile(seconds, 0.99)) * 1000, 4),
    )
