"""One prediction on arrays: check, run within the deadline, look at the result. No HTTP and no bytes here."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from modelendpoint_server.errors import InvalidRequest
from modelendpoint_server.model import Cancel, OnnxModel
from modelendpoint_server.signature import Signature, Tensor


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A decoded request."""

    inputs: dict[str, Tensor]
    outputs: tuple[str, ...] | None = None
    """The outputs that were asked for; ``None``: all."""
    id: str | None = None
    binary_outputs: frozenset[str] = frozenset()
    """The outputs that shall be sent as raw bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """A computed answer."""

    outputs: dict[str, Any]
    """Arrays; lists and dicts for outputs that are sequences and maps."""
    rows: int


class Predictor:
    """Answers calls with one model."""

    def __init__(self, model: OnnxModel, *, max_rows: int, allow_non_finite: bool) -> None:
        self._model = model
        self._max_rows = max_rows
        self._allow_non_finite = allow_non_finite
        self.signature: Signature = model.signature

    def predict(self, call: Call) -> Result:
        """Check the call against the signature and run the model."""
        rows = self._check(call.inputs)
        names = call.outputs or self.signature.output_names
        values = self._model.run(call.inputs, outputs=names, cancel=Cancel())
        return Result(dict(zip(names, values, strict=True)), rows)

    def _check(self, inputs: Mapping[str, Tensor]) -> int:
        self.signature.check_names(inputs)
        for name, tensor in inputs.items():
            spec = self.signature.by_name[name]
            spec.check(tensor)
            if not self._allow_non_finite:
                spec.check_finite(tensor)
        rows = self.signature.count_rows(inputs)
        if rows > self._max_rows:
            raise InvalidRequest(
                f"The request has {rows} rows; at most {self._max_rows} are taken. Send them in several requests."
            )
        return rows
