"""Golden examples made from a model's own answers, and checked as the server will check them. No files here."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import orjson

from modelendpoint.errors import CliError
from modelendpoint.models.agreement import count_rows
from modelendpoint.models.opened import LIMITS, OpenModel, take_rows
from modelendpoint_server.errors import GoldenExamplesFailed, RequestError
from modelendpoint_server.formats import json_body
from modelendpoint_server.golden import Tolerance, parse_examples, run_examples
from modelendpoint_server.inference import Call
from modelendpoint_server.signature import Signature, Tensor

Example = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """The examples, and the rows that gave none."""

    examples: Sequence[Example]
    left_out: Sequence[int]
    """Rows that one of the other models answers otherwise."""

    def as_json(self) -> bytes:
        """Write the file that the server reads, one example a line, so that people and Git can read it."""
        lines = b",\n".join(orjson.dumps(example) for example in self.examples)
        return b'{"examples": [\n' + lines + b"\n]}\n"


def make_examples(
    models: Sequence[OpenModel], call: Call, *, most: int, outputs: Sequence[str], tolerance: Tolerance
) -> Made:
    """Make up to ``most`` examples from the first model's answers, of rows that all other models answer alike.

    Raise ``CliError`` when a row has no answer, or no example is left.
    """
    first, *others = models
    names = list(outputs) or list(first.signature.output_names)
    unknown = [name for name in names if name not in first.signature.output_names]
    if unknown:
        known = ", ".join(first.signature.output_names)
        raise CliError(f"{first.place} has no output {unknown[0]!r}; its outputs are {known}.")
    examples: list[Example] = []
    left_out: list[int] = []
    for row in range(count_rows(call, first.signature)):
        if len(examples) == most:
            break
        example = _example(first, call, row, names)
        if all(_reproduces(model, example, tolerance) for model in others):
            examples.append(example)
        else:
            left_out.append(row)
    made = Made(examples=examples, left_out=left_out)
    _check(first, made, tolerance)
    return made


def _example(model: OpenModel, call: Call, row: int, names: Sequence[str]) -> Example:
    inputs = take_rows(call, model.signature, slice(row, row + 1))
    try:
        result = model.predictor.predict(Call(inputs))
    except RequestError as error:
        raise CliError(f"{model.place} does not answer row {row}: {error}") from error
    return {
        "inputs": _request(inputs, model.signature),
        "outputs": {name: _plain(result.outputs[name]) for name in names},
    }


def _request(inputs: dict[str, Tensor], signature: Signature) -> Any:
    """Name the columns where the model does: people read and correct these files."""
    spec = signature.only_input
    if spec is not None and len(spec.dimensions) == 2 and signature.columns and spec.has_batch:
        rows = _plain(inputs[spec.name])
        return {"instances": [dict(zip(signature.columns, row, strict=True)) for row in rows]}
    return {"inputs": {name: _plain(tensor) for name, tensor in inputs.items()}}


def _plain(value: Any) -> Any:
    return orjson.loads(json_body.dump(value))


def _reproduces(model: OpenModel, example: Example, tolerance: Tolerance) -> bool:
    try:
        return not run_examples(model.predictor, [example], limits=LIMITS, tolerance=tolerance).failed
    except GoldenExamplesFailed:
        return False


def _check(model: OpenModel, made: Made, tolerance: Tolerance) -> None:
    """Read what would be written and ask the model, as the server does when it starts."""
    if not made.examples:
        raise CliError(
            "No row is left as an example: each has another answer from one of the models. Compare them: mep diff,"
            " or expect fewer outputs: --only label"
        )
    result = run_examples(model.predictor, parse_examples(made.as_json()), limits=LIMITS, tolerance=tolerance)
    if result.failed:
        raise CliError(
            f"{model.place} gives another answer when it is asked again ({result.failed} of {result.examples} examples),"
            " so it can have no golden examples; raise --absolute-tolerance if the difference does not matter."
        )
