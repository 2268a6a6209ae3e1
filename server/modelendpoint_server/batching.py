"""Runs rows of several requests together. Off by default: on a CPU the hand-over mostly costs more than it saves.

The first request of a batch leads: it waits for company, runs the model once, and hands each its rows. When anything
goes wrong with the common run, everyone runs alone, so that a bad request hurts nobody but itself.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelendpoint_server.errors import RequestError
from modelendpoint_server.inference import Runner
from modelendpoint_server.made_up import made_up_inputs
from modelendpoint_server.model import Cancel
from modelendpoint_server.signature import Signature, Tensor

AUTOMATIC_SIZE = 32
"""Most rows of a batch when the server decides for itself."""
_TRIAL_ROWS = 8
_TRIALS = 20
_WORTHWHILE_GAIN = 2.0
_SLOW_ENOUGH_SECONDS = 0.0005

Key = tuple[tuple[str, ...], tuple[tuple[str, tuple[int, ...]], ...]]
"""What requests must have in common: outputs that are wanted, and each input's name and shape of a row."""


class Batcher:
    """Stands before a model and gathers rows."""

    def __init__(self, runner: Runner, *, max_size: int, max_delay_seconds: float) -> None:
        self._runner = runner
        self._max_size = max_size
        self._max_delay = max_delay_seconds
        self._lock = threading.Lock()
        self._open: dict[Key, _Batch] = {}
        self.signature = runner.signature

    def run(self, inputs: Mapping[str, Tensor], *, outputs: Sequence[str], cancel: Cancel) -> list[Any]:
        """Compute the outputs, together with whoever comes within the delay."""
        rows = len(next(iter(inputs.values())))
        if rows == 0 or rows >= self._max_size or any(len(tensor) != rows for tensor in inputs.values()):
            return self._runner.run(inputs, outputs=outputs, cancel=cancel)
        key = (tuple(outputs), tuple((name, inputs[name].shape[1:]) for name in sorted(inputs)))
        batch, number = self._join(key, inputs, rows)
        if number == 0:
            self._lead(key, batch, outputs, cancel)
        batch.done.wait()
        if batch.results is None:
            return self._runner.run(inputs, outputs=outputs, cancel=cancel)
        start = sum(batch.rows[:number])
        return [value[start : start + rows] for value in batch.results]

    def _join(self, key: Key, inputs: Mapping[str, Tensor], rows: int) -> "tuple[_Batch, int]":
        """Add the request to the open batch, or open one; return the batch and the request's number in it."""
        with self._lock:
            batch = self._open.get(key)
            if batch is None or sum(batch.rows) + rows > self._max_size:
                if batch is not None:
                    batch.full.set()
                batch = self._open[key] = _Batch()
            batch.members.append(inputs)
            batch.rows.append(rows)
            if sum(batch.rows) >= self._max_size:
                batch.full.set()
            return batch, len(batch.rows) - 1

    def _lead(self, key: Key, batch: "_Batch", outputs: Sequence[str], cancel: Cancel) -> None:
        try:
            batch.full.wait(self._max_delay)
            with self._lock:
                # Closed: who comes now opens another one.
                if self._open.get(key) is batch:
                    del self._open[key]
            if len(batch.rows) > 1:
                batch.results = self._run_together(batch, outputs, cancel)
        finally:
            batch.done.set()

    def _run_together(self, batch: "_Batch", outputs: Sequence[str], cancel: Cancel) -> list[Any] | None:
        together = {name: np.concatenate([member[name] for member in batch.members]) for name in batch.members[0]}
        try:
            results = self._runner.run(together, outputs=outputs, cancel=cancel)
        except RequestError:
            return None
        rows = sum(batch.rows)
        has_rows = all(isinstance(value, np.ndarray) and value.shape[:1] == (rows,) for value in results)
        return results if has_rows else None


class _Batch:
    """The requests that run together."""

    def __init__(self) -> None:
        self.members: list[Mapping[str, Tensor]] = []
        self.rows: list[int] = []
        self.full = threading.Event()
        self.done = threading.Event()
        self.results: list[Any] | None = None
        """The outputs of all rows; ``None``: each runs alone."""


def can_batch(signature: Signature) -> bool:
    """Tell whether rows of a model can be put together: every tensor's first size is free."""
    tensors = (*signature.inputs, *signature.outputs)
    return bool(signature.inputs) and all(spec.kind == "tensor" and spec.has_batch for spec in tensors)


def measure_gain(runner: Runner) -> float:
    """Measure how many times faster a row is in company; 1 for models that are too quick for it to matter.

    The answer rests on made-up rows; a model that can't take them gains nothing.
    """
    single = made_up_inputs(runner.signature)
    together = {name: np.concatenate([tensor] * _TRIAL_ROWS) for name, tensor in single.items()}
    try:
        alone, company = _fastest(runner, single), _fastest(runner, together) / _TRIAL_ROWS
    except RequestError:
        return 1.0
    return alone / company if alone >= _SLOW_ENOUGH_SECONDS else 1.0


def is_worthwhile(gain: float) -> bool:
    """Tell whether a gain is worth the waiting and the hand-over."""
    return gain >= _WORTHWHILE_GAIN


def _fastest(runner: Runner, inputs: Mapping[str, Tensor]) -> float:
    best = float("inf")
    for _ in range(_TRIALS):
        started = time.perf_counter()
        runner.run(inputs, outputs=runner.signature.output_names, cancel=Cancel())
        best = min(best, time.perf_counter() - started)
    return best
