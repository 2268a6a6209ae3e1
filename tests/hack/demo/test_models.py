"""The demo's models: the same each time, different from each other, and as ONNX what scikit-learn computes."""

import csv
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo import models
from demo.models import HeldOut, Version


@pytest.fixture(scope="module")
def trained() -> tuple[HeldOut, Version, Version]:
    return models.train()


def answers(version: Version, held_out: HeldOut) -> list[list[float]]:
    return models.run_onnx(version.onnx, held_out.rows)


def test_training_gives_the_same_models_in_every_process(trained: tuple[HeldOut, Version, Version]) -> None:
    _, *versions = trained
    program = "from demo import models; print(*(version.sha256 for version in models.train()[1:]))"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(models.__file__).parents[1])}
        said = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert said.split() == [version.sha256 for version in versions]


def test_onnx_computes_what_scikit_learn_predicts(trained: tuple[HeldOut, Version, Version]) -> None:
    held_out, *versions = trained
    for version in versions:
        rows = answers(version, held_out)
        comparison = models.compare(([int(row[0]) for row in rows], [row[1:] for row in rows]), version)
        assert comparison.is_equal, comparison
        assert version.accuracy > 0.9


def test_version_2_is_worth_the_update(trained: tuple[HeldOut, Version, Version]) -> None:
    _, first, second = trained
    assert second.accuracy > first.accuracy


def test_the_versions_differ_in_every_row_so_that_no_answer_fits_both(
    trained: tuple[HeldOut, Version, Version],
) -> None:
    held_out, first, second = trained
    for one, other in zip(answers(first, held_out), answers(second, held_out), strict=True):
        assert not all(math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-4) for a, b in zip(one, other, strict=True))


def test_rows_survive_json_and_csv(trained: tuple[HeldOut, Version, Version]) -> None:
    held_out, _, _ = trained
    assert json.loads(held_out.as_json())["instances"] == held_out.rows
    header, *rows = csv.reader(io.StringIO(held_out.as_csv()))
    assert header == held_out.columns
    assert [[float(cell) for cell in row] for row in rows] == held_out.rows


def test_answers_are_read_from_json_and_csv() -> None:
    as_json = json.dumps({"predictions": [{"label": 2, "probabilities": [0.1, 0.2, 0.7]}]})
    as_csv = "label,probabilities_0,probabilities_1,probabilities_2\r\n2,0.1,0.2,0.7\r\n"
    assert models.read_json(as_json) == models.read_csv(as_csv) == ([2], [[0.1, 0.2, 0.7]])


def test_a_wrong_label_a_wrong_probability_or_a_missing_row_is_seen(
    trained: tuple[HeldOut, Version, Version],
) -> None:
    _, first, _ = trained
    labels, probabilities = list(first.labels), [list(row) for row in first.probabilities]
    assert models.compare((labels, probabilities), first).is_equal
    assert not models.compare(([(labels[0] + 1) % 3, *labels[1:]], probabilities), first).is_equal
    assert not models.compare((labels, [[1.0, 0.0, 0.0], *probabilities[1:]]), first).is_equal
    assert not models.compare((labels[1:], probabilities[1:]), first).is_equal
