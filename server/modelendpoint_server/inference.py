"""One prediction on arrays: check, wait for a turn, run within the deadline, look at the result. No HTTP, no bytes."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from modelendpoint_server.admission import Admission
from modelendpoint_server.errors import DeadlineExceeded, InferenceFailed, InvalidRequest
from modelendpoint_server.metrics import Metrics
from modelendpoint_server.model import Cancel
from modelendpoint_server.signature import Signature, Tensor, all_finite
from modelendpoint_server.watchdog import Watchdog


class Call(NamedTuple):
    """A decoded request."""

    inputs: dict[str, Tensor]
    outputs: tuple[str, ...] | None = None
    """The outputs that were asked for; ``None``: all."""
    id: str | None = None
    binary_outputs: frozenset[str] = frozenset()
    """The outputs that shall be sent as raw bytes."""
    is_checked: bool = False
    """Whether it is known already that the inputs are the model's, fit the signature and hold no NaN or infinity."""


class Result(NamedTuple):
    """A computed answer."""

    outputs: dict[str, Any]
    """Arrays; lists and dicts for outputs that are sequences and maps."""
    rows: int


class Runner(Protocol):
    """Computes outputs: a model, or something in front of one."""

    signature: Signature

    def run(self, inputs: Mapping[str, Tensor], *, outputs: Sequence[str], cancel: Cancel) -> list[Any]:
        """Compute the outputs in the order that they are named in."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """What a prediction must keep to."""

    max_rows: int
    allow_non_finite: bool
    timeout_seconds: float


class Predictor:
    """Answers calls with one model."""

    def __init__(
        self, runner: Runner, rules: Rules, *, admission: Admission, watchdog: Watchdog, metrics: Metrics
    ) -> None:
        self._runner = runner
        self._rules = rules
        self._admission = admission
        self._watchdog = watchdog
        self._metrics = metrics
        self._cancels: list[Cancel] = []
        """Handles that no run uses now; a new one takes a microsecond."""
        self.signature = runner.signature

    def predict(self, call: Call) -> Result:
        """Check the call against the signature and run the model."""
        rows = self._check(call)
        names = call.outputs or self.signature.output_names
        arrived = time.monotonic()
        deadline = arrived + self._rules.timeout_seconds
        self._admission.enter(deadline=deadline)
        try:
            started = time.monotonic()
            values = self._run(call.inputs, names, deadline)
            ended = time.monotonic()
        finally:
            self._admission.leave()
        self._metrics.count_run(queued=started - arrived, ran=ended - started, rows=rows)
        outputs = dict(zip(names, values, strict=True))
        self._look_at(outputs)
        return Result(outputs, rows)

    def _run(self, inputs: Mapping[str, Tensor], names: Sequence[str], deadline: float) -> list[Any]:
        try:
            cancel = self._cancels.pop()
        except IndexError:
            cancel = Cancel()
        self._watchdog.watch(cancel, deadline)
        try:
            return self._runner.run(inputs, outputs=names, cancel=cancel)
        except InferenceFailed as error:
            if not cancel.is_stopped:
                raise
            raise DeadlineExceeded(
                f"The model took longer than {self._rules.timeout_seconds:g} s and was stopped. Send fewer rows, or"
                " allow more time."
            ) from error
        finally:
            self._watchdog.forget(cancel)
            # Before the deadline the watchdog can't have taken it into its hands.
            if time.monotonic() < deadline:
                self._cancels.append(cancel)

    def _check(self, call: Call) -> int:
        signature = self.signature
        if not call.is_checked:
            signature.check_names(call.inputs)
            for name, tensor in call.inputs.items():
                spec = signature.by_name[name]
                spec.check(tensor)
                if not self._rules.allow_non_finite:
                    spec.check_finite(tensor)
        rows = signature.count_rows(call.inputs)
        if rows > self._rules.max_rows:
            raise InvalidRequest(
                f"The request has {rows} rows; at most {self._rules.max_rows} are taken. Send them in several requests."
            )
        return rows

    def _look_at(self, outputs: Mapping[str, Any]) -> None:
        """Count what no model should answer with: numbers that are none, and always the same."""
        for name, value in outputs.items():
            if isinstance(value, np.ndarray) and value.size:
                bad = value.dtype.kind == "f" and not all_finite(value)
                self._metrics.count_output(
                    name, value.item(0), non_finite=int((~np.isfinite(value)).sum()) if bad else 0
                )
