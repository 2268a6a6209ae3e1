"""What lint says of an endpoint is what a real API server answers; the cluster tests ask one with the same table."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelendpoint.linting.documents import Finding, read_documents
from modelendpoint.linting.lint import SCHEMAS, is_ours, lint_document
from modelendpoint_operator.api.spec import ModelEndpointSpec
from support.api_answers import ACCEPTED, BREAKING_A_RULE, WRONG_VALUES, an_endpoint, model

ROOT = Path(__file__).parents[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "endpoint.yaml"


def lint(file: Path, text: str) -> list[Finding]:
    file.write_text(text)
    documents, unreadable = read_documents(file)
    return [
        *unreadable,
        *(finding for document in documents if is_ours(document, is_named=True) for finding in lint_document(document)),
    ]


def said(findings: list[Finding]) -> str:
    return "\n".join(f"{finding.field}: {finding.message}" for finding in findings)


@pytest.mark.parametrize(("name", "spec"), ACCEPTED, ids=str)
def test_what_the_api_server_accepts_is_good(file: Path, name: str, spec: dict[str, Any]) -> None:
    assert lint(file, an_endpoint(name, **spec)) == []


@pytest.mark.parametrize(("name", "spec", "answer"), BREAKING_A_RULE, ids=[answer for *_, answer in BREAKING_A_RULE])
def test_a_broken_rule_is_told_in_the_api_servers_words(
    file: Path, name: str, spec: dict[str, Any], answer: str
) -> None:
    assert answer in said(lint(file, an_endpoint(name, **spec)))


@pytest.mark.parametrize(("spec", "answer"), WRONG_VALUES, ids=[answer for _, answer in WRONG_VALUES])
def test_a_wrong_value_is_told_in_the_api_servers_words(file: Path, spec: dict[str, Any], answer: str) -> None:
    assert answer in said(lint(file, an_endpoint(**spec)))


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*/*.yaml")), ids=lambda path: path.parent.name)
def test_every_example_is_good(path: Path) -> None:
    documents, unreadable = read_documents(path)
    assert unreadable == []
    assert documents
    assert [finding for document in documents for finding in lint_document(document)] == []


def test_every_mistake_is_told_with_its_line(file: Path) -> None:
    text = """\
apiVersion: modelendpoint.dev/v1alpha1
kind: ModelEndpoint
metadata:
  name: churn
  annotations:
    modelendpoint.dev/promote: 8
spec:
  model:
    url: s3://models/churn/3/model.onnx
  replicas: three
  rollout:
    steps:
      - {weight: 20, holdSeconds: 10}
      - {weight: 10, holdSeconds: 10}
"""
    found = {(finding.line, finding.field) for finding in lint(file, text)}
    assert found == {
        (6, "metadata.annotations.modelendpoint.dev/promote"),
        (8, "spec.model.uri"),
        (9, "spec.model.url"),
        (10, "spec.replicas"),
        (12, "spec.rollout.steps"),
    }


def test_a_field_that_is_nearly_right_is_named(file: Path) -> None:
    (finding,) = lint(file, an_endpoint(replica=3))
    assert finding.message == 'unknown field "spec.replica"; did you mean replicas?'


def test_a_field_that_is_there_twice_is_told(file: Path) -> None:
    (finding,) = lint(file, an_endpoint() + "kind: ModelEndpoint\n")
    assert (finding.field, finding.message) == ("kind", "is there twice; the API server takes the last one")


def test_credentials_in_a_uri_are_not_repeated(file: Path) -> None:
    findings = lint(file, an_endpoint(**model("ftp://me:hunter2@host/m.onnx")))
    assert findings
    assert "hunter2" not in said(findings)


def test_null_is_a_field_that_is_not_there(file: Path) -> None:
    assert lint(file, an_endpoint(replicas=None)) == []
    assert said(lint(file, an_endpoint(model={"uri": None}))) == "spec.model.uri: Required value"


def test_a_status_is_dropped_unseen(file: Path) -> None:
    document = {**yaml.safe_load(an_endpoint()), "status": {"anything": 1}}
    assert lint(file, yaml.safe_dump(document)) == []


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"kind": "ModelEndpoints"}, "kind", 'no matches for kind "ModelEndpoints"'),
        ({"apiVersion": "modelendpoint.dev/v1"}, "kind", 'in version "modelendpoint.dev/v1"'),
        ({"kind": None}, "kind", "Required value"),
        ({"metadata": None}, "metadata", "Required value"),
        ({"metadata": {}}, "metadata.name", "name or generateName is required"),
        ({"metadata": {"name": "Churn"}}, "metadata.name", "a lowercase RFC 1123 subdomain"),
        ({"metadata": {"name": 7}}, "metadata.name", 'must be of type string: "integer"'),
        ({"metadata": {"name": "churn", "nmespace": "x"}}, "metadata.nmespace", "did you mean namespace?"),
        ({"metadata": {"name": "churn", "labels": {"a": "b c"}}}, "metadata.labels.a", "a valid label"),
        ({"spec": None}, "spec", "Required value"),
        ({"spce": {}}, "spce", 'unknown field "spce"; did you mean spec?'),
    ],
)
def test_what_every_object_must_have_is_asked_for(file: Path, changes: dict[str, Any], field: str, words: str) -> None:
    findings = lint(file, yaml.safe_dump({**yaml.safe_load(an_endpoint()), **changes}))
    assert [finding for finding in findings if finding.field == field and words in finding.message], findings


def test_a_document_that_is_no_object_is_told(file: Path) -> None:
    (finding,) = lint(file, "- 1\n")
    assert "is no Kubernetes object" in finding.message


def test_objects_of_other_kinds_are_left_out(file: Path) -> None:
    assert lint(file, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nfrob: 1\n") == []


def test_what_says_nothing_of_its_kind_is_an_object_only_if_its_file_was_named(file: Path) -> None:
    file.write_text("replicas: 3\n")
    (document,), _ = read_documents(file)
    assert (is_ours(document, is_named=True), is_ours(document, is_named=False)) == (True, False)


def test_both_kinds_are_known() -> None:
    assert sorted(SCHEMAS) == ["BatchPrediction", "ModelEndpoint"]


@pytest.mark.parametrize(("name", "spec"), ACCEPTED, ids=str)
def test_what_is_good_here_is_good_for_the_operator(name: str, spec: dict[str, Any]) -> None:
    document = yaml.safe_load(an_endpoint(name, **spec))
    assert ModelEndpointSpec.model_validate(document["spec"]).model.uri
