"""``mep lint`` as a person or a pipeline types it."""

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Run = Callable[..., Result]


def test_the_demos_endpoint_is_good(wine: Path, run: Run) -> None:
    result = run("lint", "endpoint.yaml")
    assert (result.exit_code, result.output) == (0, "1 object, nothing to say.\n")


def test_a_mistake_is_a_line_that_editors_understand(wine: Path, run: Run) -> None:
    text = Path("endpoint.yaml").read_text()
    Path("endpoint.yaml").write_text(text.replace("weight: 10", "weight: 110"))
    result = run("lint", "endpoint.yaml")
    line = next(number for number, line in enumerate(text.splitlines(), 1) if "weight: 10" in line)
    assert result.exit_code == 1
    field = "spec.rollout.steps[0].weight"
    assert result.output.splitlines() == [
        f"endpoint.yaml:{line}: {field}: Invalid value: 110: {field} in body should be less than or equal to 100",
        "1 mistake in 1 object.",
    ]


def test_several_files_and_folders_are_looked_over(wine: Path, run: Run) -> None:
    Path("more").mkdir()
    Path("more/other.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\nkind: Frob\n"
        "---\napiVersion: modelendpoint.dev/v1\nkind: ModelEndpoint\n"
    )
    result = run("lint", "endpoint.yaml", "more", "-o", "json")
    document = json.loads(result.output)
    assert (result.exit_code, document["objects"], document["others"]) == (1, 2, 2)
    assert [(finding["file"], finding["line"]) for finding in document["findings"]] == [("more/other.yaml", 8)]


def test_text_that_is_no_yaml_is_a_finding(wine: Path, run: Run) -> None:
    Path("bad.yaml").write_text("a: [\n")
    result = run("lint", "bad.yaml")
    assert result.exit_code == 1
    assert result.output.startswith("bad.yaml:2: is not YAML: ")
