"""Golden examples: requests whose answers are known. A model that does not reproduce them never gets a request."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from modelendpoint_server.errors import GoldenExamplesFailed, RequestError
from modelendpoint_server.formats import json_body, open_inference, tabular_json
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.inference import Predictor, Result
from modelendpoint_server.signature import Signature

_WORST = 5
Path = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far a number may be off: ``absolute + relative · |expected|``."""

    absolute: float
    relative: float


@dataclasses.dataclass(frozen=True)
class Difference:
    """One value that is not what it should be."""

    example: int
    where: str
    expected: Any
    got: Any
    amount: float


@dataclasses.dataclass(frozen=True)
class GoldenResult:
    """How the model did on its examples."""

    examples: int
    failed: int
    largest_difference: float
    """The largest difference between two numbers, also where it is within the tolerance."""
    worst: tuple[Difference, ...]

    def as_json(self) -> dict[str, Any]:
        """Return what the report shows."""
        return {
            "examples": self.examples,
            "failed": self.failed,
            "largestDifference": self.largest_difference,
            "worst": [dataclasses.asdict(difference) for difference in self.worst],
        }


def parse_examples(text: bytes) -> list[dict[str, Any]]:
    """Read ``{"examples": [{"inputs": …, "outputs": …}]}``; raise ``GoldenExamplesFailed`` for anything else."""
    try:
        examples = orjson.loads(text)["examples"]
        if examples and all({"inputs", "outputs"} <= example.keys() for example in examples):
            return list(examples)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        pass
    raise GoldenExamplesFailed(
        'The golden examples are not {"examples": [{"inputs": {...}, "outputs": {...}}, ...]}. Correct'
        " model.goldenExamples."
    )


def run_examples(
    predictor: Predictor, examples: Sequence[Mapping[str, Any]], *, limits: Limits, tolerance: Tolerance
) -> GoldenResult:
    """Ask the model every example and compare."""
    differences: list[Difference] = []
    largest = 0.0
    for number, example in enumerate(examples):
        for path, expected, got in _pairs(predictor, example, number, limits):
            amount = _distance(expected, got)
            largest = max(largest, amount if math.isfinite(amount) else largest)
            if not _is_close(expected, got, amount, tolerance):
                where = ".".join(map(str, path))
                differences.append(Difference(number, where, _shown(expected), _shown(got), _capped(amount)))
    differences.sort(key=lambda difference: -difference.amount)
    failed = len({difference.example for difference in differences})
    return GoldenResult(len(examples), failed, largest, tuple(differences[:_WORST]))


def check_result(result: GoldenResult) -> None:
    """Raise ``GoldenExamplesFailed`` with the worst difference, if there is one."""
    if result.worst:
        worst = result.worst[0]
        raise GoldenExamplesFailed(
            f"{result.failed} of {result.examples} golden examples are not reproduced; the worst is example"
            f" {worst.example}, {worst.where}: {worst.expected} is expected, the model says {worst.got}. Correct the"
            " model, or the examples if they belong to another one."
        )


def _pairs(
    predictor: Predictor, example: Mapping[str, Any], number: int, limits: Limits
) -> Iterator[tuple[Path, Any, Any]]:
    """Yield each expected value with the one that the model gives, and where they are."""
    try:
        result = _predict(predictor, example["inputs"], limits)
    except RequestError as error:
        raise GoldenExamplesFailed(f"Golden example {number} can't be asked: {error}") from error
    return _walk((), example["outputs"], _like(example["outputs"], result))


def _predict(predictor: Predictor, request: Any, limits: Limits) -> Result:
    body = orjson.dumps(request)
    is_v2 = isinstance(request, dict) and isinstance(request.get("inputs"), list) and _names_tensors(request["inputs"])
    decode = open_inference.decode if is_v2 else tabular_json.decode
    signature: Signature = predictor.signature
    return predictor.predict(decode(body, signature, limits))


def _names_tensors(inputs: list[Any]) -> bool:
    return bool(inputs) and isinstance(inputs[0], dict) and "datatype" in inputs[0]


def _like(expected: Any, result: Result) -> Any:
    """Bring the result into the form in which the outputs are expected: V1's, V2's, or lists by name."""
    if isinstance(expected, dict) and expected.keys() == {"predictions"}:
        return {"predictions": _plain(tabular_json.rows_of(result))}
    if isinstance(expected, dict) and isinstance(expected.get("outputs"), list):
        got = {name: _plain(np.asarray(value).reshape(-1)) for name, value in result.outputs.items()}
        names = [entry.get("name") for entry in expected["outputs"]]
        others = {key: value for key, value in expected.items() if key != "outputs"}
        outputs = [{**entry, "data": got.get(name)} for name, entry in zip(names, expected["outputs"], strict=True)]
        return {**others, "outputs": outputs}
    return {name: _plain(value) for name, value in result.outputs.items() if name in expected}


def _plain(value: Any) -> Any:
    return orjson.loads(json_body.dump(value))


def _walk(path: Path, expected: Any, got: Any) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys():
        for key in expected:
            yield from _walk((*path, key), expected[key], got[key])
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for index, (left, right) in enumerate(zip(expected, got, strict=True)):
            yield from _walk((*path, index), left, right)
    else:
        yield path, expected, got


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distance(expected: Any, got: Any) -> float:
    if _is_number(expected) and _is_number(got):
        return abs(float(expected) - float(got))
    return 0.0 if expected == got else math.inf


def _is_close(expected: Any, got: Any, amount: float, tolerance: Tolerance) -> bool:
    if _is_number(expected) and _is_number(got):
        return amount <= tolerance.absolute + tolerance.relative * abs(float(expected))
    return bool(expected == got)


def _shown(value: Any) -> Any:
    """Shorten what is shown: a whole list that has the wrong length is not."""
    return f"a list of {len(value)}" if isinstance(value, list) else value


def _capped(amount: float) -> float:
    return min(amount, 1.7e308)
