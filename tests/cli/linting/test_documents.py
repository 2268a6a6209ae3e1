"""YAML is read as Kubernetes reads it, and every value's line is known."""

import io
from pathlib import Path

import pytest

from modelendpoint.errors import CliError
from modelendpoint.linting.documents import Document, Finding, find_files, read_documents


def read(tmp_path: Path, text: str) -> tuple[list[Document], list[Finding]]:
    (tmp_path / "a.yaml").write_text(text)
    return read_documents(tmp_path / "a.yaml")


def value(tmp_path: Path, text: str) -> object:
    (document,), unreadable = read(tmp_path, text)
    assert unreadable == []
    return document.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24", "2026-11-24"),
        ("1e3", 1000.0),
        ("yes", True),
        ('"3"', "3"),
        ("3", 3),
        ("1_000", 1000),
        ("~", None),
        ("0x10", 16),
    ],
)
def test_scalars_are_what_they_are_in_kubernetes(tmp_path: Path, text: str, expected: object) -> None:
    assert value(tmp_path, f"a: {text}\n") == {"a": expected}


def test_lines_of_fields_and_items_are_known(tmp_path: Path) -> None:
    (document,), _ = read(tmp_path, "# first\na:\n  b:\n    - 1\n    - c: 2\n")
    assert {place: document.line(place) for place in [(), ("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 1, "c")]} == {
        (): 2,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "b", 0): 4,
        ("a", "b", 1, "c"): 5,
    }


def test_what_is_missing_is_looked_for_in_what_is_around_it(tmp_path: Path) -> None:
    (document,), _ = read(tmp_path, "a:\n  b: 1\n")
    assert document.line(("a", "c", "d")) == 1


def test_several_documents_are_read_and_empty_ones_left_out(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, "---\na: 1\n---\n---\n# nothing\n---\nb: 2\n")
    assert [document.value for document in documents] == [{"a": 1}, {"b": 2}]
    assert [document.line(()) for document in documents] == [2, 7]


def test_anchors_and_merge_keys_are_followed(tmp_path: Path) -> None:
    assert value(tmp_path, "x: &x {a: 1}\ny:\n  <<: *x\n  b: 2\n") == {"x": {"a": 1}, "y": {"a": 1, "b": 2}}


def test_a_key_that_is_there_twice_is_noted(tmp_path: Path) -> None:
    (document,), _ = read(tmp_path, "a:\n  b: 1\n  b: 2\n")
    assert (list(document.twice), document.line(("a", "b"))) == ([("a", "b")], 3)


def test_a_merged_key_that_is_written_again_is_no_double(tmp_path: Path) -> None:
    (document,), _ = read(tmp_path, "x: &x {a: 1}\ny:\n  <<: *x\n  a: 2\n")
    assert (document.value["y"], list(document.twice)) == ({"a": 2}, [])


def test_a_mistake_in_syntax_is_told_with_its_line_and_ends_the_file(tmp_path: Path) -> None:
    documents, (finding,) = read(tmp_path, "a: 1\n---\nb: [1\nc: 2\n")
    assert [document.value for document in documents] == [{"a": 1}]
    assert (finding.line, finding.message.startswith("is not YAML: ")) == (4, True)


def test_a_tag_makes_nothing_happen(tmp_path: Path) -> None:
    assert value(tmp_path, "a: !!python/object/apply:os.system [ls]\n") == {"a": ["ls"]}
    _, (finding,) = read(tmp_path, "a: 1\nb: !Ref x\n")
    assert (finding.line, "could not determine a constructor" in finding.message) == (2, True)


def test_json_is_read_too(tmp_path: Path) -> None:
    assert value(tmp_path, '{"a": [1, {"b": "c"}]}') == {"a": [1, {"b": "c"}]}


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a: 1\n"))
    (document,), _ = read_documents(Path("-"))
    assert (document.file, document.value) == ("<stdin>", {"a": 1})


def test_folders_are_walked(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.yaml", "deep/a.yml", "deep/er/c.json", "deep/notes.md"):
        (tmp_path / name).write_text("{}")
    named = tmp_path / "deep/notes.md"
    found = [(str(path.relative_to(tmp_path)), is_named) for path, is_named in find_files([tmp_path, named])]
    assert found == [("b.yaml", False), ("deep/a.yml", False), ("deep/er/c.json", False), ("deep/notes.md", True)]


def test_a_folder_without_yaml_is_told(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"no \.yaml or \.yml or \.json file below"):
        find_files([tmp_path])


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(CliError, match=r"nowhere\.yaml can't be read \(No such file"):
        read_documents(Path("nowhere.yaml"))
