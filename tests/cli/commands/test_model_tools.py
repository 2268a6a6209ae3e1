"""``mep inspect``, ``mep diff`` and ``mep examples`` on the models of ``mep demo``, as a person types them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

Run = Callable[..., Result]


def test_inspect_shows_signature_digest_and_latency(wine: Path, run: Run) -> None:
    result = run("inspect", "models/v1.onnx")
    assert result.exit_code == 0
    assert "input    X               FP32       [any, 13]" in result.output
    for word in ("SHA256:", "Opset:     21", "Producer:  skl2onnx", "ms for 100 rows", "Columns: alcohol,", "X[0]"):
        assert word in result.output


@pytest.mark.parametrize(("name", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_inspect_speaks_json_and_yaml(wine: Path, run: Run, name: str, parse: Callable[[str], object]) -> None:
    document = parse(run("inspect", "models/v1.onnx", "-o", name).output)
    assert isinstance(document, dict)
    assert document["bytes"] == Path("models/v1.onnx").stat().st_size


def test_diff_counts_the_flips_of_an_update(wine: Path, run: Run) -> None:
    result = run("diff", "models/v1.onnx", "models/v2.onnx", "--data", "rows.csv")
    assert result.exit_code == 1
    assert "Contract: the same" in result.output
    assert "Output label: 5 of 89 rows flip (5.6 %)" in result.output


@pytest.mark.parametrize(("new", "code"), [("2", 0), ("3", 1)])
def test_diff_tells_a_good_update_from_a_bad_one_when_told_how_much_may_differ(
    wine: Path, run: Run, new: str, code: int
) -> None:
    words = ("models/v1.onnx", f"models/v{new}.onnx", "--data", "rows.csv", "--max-differing", "10")
    assert run("diff", *words).exit_code == code


def test_diff_of_equal_models_is_good(wine: Path, run: Run) -> None:
    result = run("diff", "models/v1.onnx", "models/v1.onnx")
    assert (result.exit_code, result.output) == (0, "The two models have the same bytes.\n")


def test_diff_without_rows_compares_the_contract(wine: Path, run: Run) -> None:
    result = run("diff", "models/v1.onnx", "models/v2.onnx", "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.output) == {"sameBytes": False, "contract": [], "answers": None}


def test_diff_as_json_has_the_rows_of_the_flips(wine: Path, run: Run) -> None:
    result = run("diff", "models/v1.onnx", "models/v2.onnx", "--data", "rows.csv", "-o", "json")
    label, numbers = json.loads(result.output)["answers"]["outputs"]
    assert [delta["row"] for delta in label["deltas"]] == [11, 36, 64, 80, 86]
    assert (label["kind"], numbers["kind"]) == ("label", "number")
    assert numbers["largestDifference"] == pytest.approx(0.888787, abs=1e-4)


def test_examples_are_written_for_what_all_versions_know(wine: Path, run: Run) -> None:
    words = ("models/v1.onnx", "models/v2.onnx", "--data", "rows.csv", "--only", "label", "-f", "golden.json")
    result = run("examples", *words)
    assert result.output == ("Wrote 20 golden examples to golden.json; 1 row left out, on which the models differ.\n")
    assert len(json.loads(Path("golden.json").read_text())["examples"]) == 20


def test_examples_go_to_standard_output_without_a_file(wine: Path, run: Run) -> None:
    result = run("examples", "models/v1.onnx", "--data", "rows.json", "--rows", "2")
    assert [example["outputs"]["label"] for example in json.loads(result.stdout)["examples"]] == [[2], [1]]


@pytest.mark.parametrize("option", ["-f", "-o"])
def test_a_profile_is_written_with_its_digest(wine: Path, run: Run, option: str) -> None:
    result = run("profile", "rows.csv", "--model", "models/v1.onnx", option, "profile.json")
    digest = hashlib.sha256(Path("profile.json").read_bytes()).hexdigest()
    assert result.output == (
        f"Wrote the profile of 89 rows to profile.json: 13 input columns, 4 output columns, sha256 {digest}\n"
    )
    columns = json.loads(Path("profile.json").read_text())["outputs"]
    assert [column["name"] for column in columns] == [
        "label",
        "probabilities[0]",
        "probabilities[1]",
        "probabilities[2]",
    ]


def test_a_profile_goes_to_standard_output_and_what_is_left_out_to_the_other(wine: Path, run: Run) -> None:
    header, *rows = Path("rows.csv").read_text().splitlines()
    Path("bad.csv").write_text("\n".join([header, "x" + rows[0], *rows]))
    result = run("profile", "bad.csv", "--model", "models/v1.onnx")
    assert json.loads(result.stdout)["rows"] == 89
    assert "1 row left out. The first: " in result.stderr
    assert "bad.csv, row 1, alcohol: " in result.stderr


def test_a_profile_that_can_not_be_written_is_an_error(wine: Path, run: Run) -> None:
    result = run("profile", "rows.csv", "--model", "models/v1.onnx", "-f", "nowhere/profile.json")
    assert "nowhere/profile.json can't be written" in str(result.exception)
