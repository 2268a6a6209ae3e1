"""Every object of ours that a person can read in this repository is one that the API takes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from modelendpoint_operator import names
from modelendpoint_operator.api.batch import BatchPredictionSpec
from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_server import errors
from modelendpoint_server.routes.errors import STATUS

ROOT = Path(__file__).parents[2]
YAML_BLOCK = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def documents() -> Iterator[tuple[Path, str]]:
    for path in sorted((ROOT / "examples").rglob("*.yaml")):
        yield path, path.read_text()
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]):
        for block in YAML_BLOCK.findall(path.read_text()):
            yield path, block


SPECS = {names.KIND: ModelEndpointSpec, names.BATCH_KIND: BatchPredictionSpec}


def objects() -> list[tuple[str, dict[str, object]]]:
    return [
        (f"{path.relative_to(ROOT)}:{document['metadata']['name']}", document)
        for path, text in documents()
        for document in yaml.safe_load_all(text)
        if isinstance(document, dict) and document.get("kind") in SPECS
    ]


FOUND = objects()


@pytest.mark.parametrize("document", [document for _, document in FOUND], ids=[name for name, _ in FOUND])
def test_an_object_in_a_document_is_valid(document: dict[str, object]) -> None:
    assert document["apiVersion"] == names.API_VERSION
    assert set(document) <= {"apiVersion", "kind", "metadata", "spec"}
    SPECS[str(document["kind"])].model_validate(document["spec"])


def test_the_readme_shows_the_endpoint_of_the_quickstart() -> None:
    shown = YAML_BLOCK.findall((ROOT / "README.md").read_text())[0]
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "examples/01-quickstart/endpoint.yaml").read_text())


def test_every_example_has_a_page_and_stands_in_the_list() -> None:
    listed = (ROOT / "examples/README.md").read_text()
    folders = [path for path in sorted((ROOT / "examples").iterdir()) if path.is_dir()]
    assert len(folders) >= 4
    for folder in folders:
        assert (folder / "README.md").is_file(), folder
        assert f"({folder.name}/)" in listed, folder


def test_links_between_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} links to {target}"


def test_every_reason_of_a_model_that_fails_is_explained() -> None:
    page = (ROOT / "docs/failure-modes.md").read_text()
    not_in_the_api_yet = {errors.GoldenExamplesFailed}
    for reason in set(errors.ModelError.__subclasses__()) - not_in_the_api_yet:
        assert f"| `{reason.__name__}` |" in page, reason


def test_every_error_of_a_request_is_explained_with_its_status() -> None:
    page = (ROOT / "docs/failure-modes.md").read_text()
    for error, status in STATUS.items():
        assert f"| {status} | `{error.__name__}` |" in page, error
