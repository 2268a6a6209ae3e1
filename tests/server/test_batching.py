"""Rows of several requests in one run: right answers for each, within the size, and no harm from a bad neighbour."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelendpoint_server.batching import Batcher, can_batch
from modelendpoint_server.errors import InvalidRequest, RequestError
from modelendpoint_server.model import Cancel, OnnxModel, Runtime
from modelendpoint_server.signature import Signature, Tensor, TensorSpec
from support import model_zoo
from support.onnx_models import linear_model
from support.served import client_for


class Doubling:
    """A runner that doubles, notes the size of each run, and refuses rows with the value 13."""

    signature = Signature((TensorSpec("x", "FP32", (None, 1)),), (TensorSpec("y", "FP32", (None, 1)),))

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, Tensor], *, outputs: Sequence[str], cancel: Cancel) -> list[Any]:
        with self._lock:
            self.sizes.append(len(inputs["x"]))
        if (inputs["x"] == 13).any():
            raise InvalidRequest("thirteen")
        return [inputs["x"] * 2]


def ask_all(batcher: Batcher, requests: Sequence[Sequence[float]]) -> list[Any]:
    """Ask from one thread each, all at once; an error is its own answer."""
    start = threading.Barrier(len(requests))

    def ask(values: Sequence[float]) -> Any:
        start.wait()
        try:
            tensor = np.array(values, dtype=np.float32).reshape(-1, 1)
            return batcher.run({"x": tensor}, outputs=["y"], cancel=Cancel())[0].reshape(-1).tolist()
        except RequestError as error:
            return str(error)

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(ask, requests))


def test_everyone_gets_the_answer_to_the_own_rows() -> None:
    runner = Doubling()
    requests = [[float(number), number + 0.5] for number in range(20, 40)]
    answers = ask_all(Batcher(runner, max_size=64, max_delay_seconds=0.2), requests)
    assert answers == [[2 * value for value in values] for values in requests]
    assert len(runner.sizes) < len(requests)


def test_no_run_is_larger_than_the_size() -> None:
    runner = Doubling()
    ask_all(Batcher(runner, max_size=8, max_delay_seconds=0.05), [[1.0] * (1 + number % 5) for number in range(30)])
    assert max(runner.sizes) <= 8


def test_a_request_that_is_a_batch_of_its_own_does_not_wait() -> None:
    runner = Doubling()
    (answer,) = ask_all(Batcher(runner, max_size=2, max_delay_seconds=60), [[1.0, 2.0, 3.0]])
    assert answer == [2, 4, 6]


def test_a_bad_request_hurts_nobody_else() -> None:
    requests: list[list[float]] = [[1.0], [13.0], [2.0], [3.0]]
    answers = ask_all(Batcher(Doubling(), max_size=4, max_delay_seconds=0.2), requests)
    assert answers == [[2], "thirteen", [4], [6]]


def test_models_whose_rows_can_not_be_told_apart_are_not_batched(tmp_path: Path) -> None:
    def signature(data: bytes) -> Signature:
        path = tmp_path / "model.onnx"
        path.write_bytes(data)
        return OnnxModel(path, Runtime(threads=1)).signature

    assert can_batch(signature(model_zoo.identity("FP32", (None, 2))))
    assert not can_batch(signature(model_zoo.identity("FP32", (1, 2))))
    assert not can_batch(signature(model_zoo.identity("FP32", ())))
    assert not can_batch(signature(model_zoo.classifier(features=2, zipmap=True)))


@pytest.mark.parametrize("size", [0, 16])
def test_an_endpoint_with_batching_answers_as_one_without(tmp_path: Path, size: int) -> None:
    model = linear_model([1.0, 2.0])
    client = client_for(model.data, tmp_path, batch_max_size=size, batch_max_delay_milliseconds=1, http_threads=8)
    app = client.application

    def ask(number: int) -> Any:
        return app.test_client().post("/predict", json={"instances": [[number, 1]]}).get_json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(40)))
    assert answers == [{"predictions": [[number + 2]]} for number in range(40)]
