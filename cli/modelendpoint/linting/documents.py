"""YAML and JSON files as Kubernetes reads them, with the line of every value. What the values mean must not be here."""

import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from modelendpoint.errors import CliError

Place = tuple[str | int, ...]
"""The way to a value: names of fields and indexes of lists."""
SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, and where."""

    file: str
    line: int
    field: str
    """Its path in the object; empty for a file that can't be read as YAML."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {f'{self.field}: ' if self.field else ''}{self.message}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
    """One document of a file."""

    file: str
    value: Any
    lines: Mapping[Place, int]
    """The line of the field's name, or of the list's item, by its place."""
    twice: Sequence[Place]
    """Fields that are there twice in the same object."""

    def line(self, place: Place) -> int:
        """Find the line of a value, or of the nearest thing around it that is in the file."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]


def find_files(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """List the files that are named, and those below folders that are; tell of each whether it was named itself.

    Raise ``CliError`` when there is none below a folder.
    """
    found: list[tuple[Path, bool]] = []
    for path in paths:
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
            if not below:
                raise CliError(f"There is no {' or '.join(SUFFIXES)} file below {path}. Name a file or another folder.")
            found += ((file, False) for file in below)
        else:
            found.append((path, True))
    return found


def read_documents(path: Path) -> tuple[list[Document], list[Finding]]:
    """Read all documents of a file up to its first mistake in syntax, which is a finding.

    Raise ``CliError`` for a file that can't be read at all.
    """
    documents: list[Document] = []
    name = "<stdin>" if str(path) == STDIN else str(path)
    try:
        text = sys.stdin.read() if str(path) == STDIN else path.read_text("utf-8")
        loader = _Loader(text)
        while loader.check_node():
            if (node := loader.get_node()) is not None:
                documents.append(_Reader(loader, name).read(node))
    except OSError as error:
        raise CliError(f"{path} can't be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path} can't be read: it is not UTF-8 at byte {error.start}.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = f"is not YAML: {error.problem or error.context}"
        return documents, [Finding(file=name, line=mark.line + 1 if mark else 1, field="", message=said)]
    except yaml.YAMLError as error:
        return documents, [Finding(file=name, line=1, field="", message=f"is not YAML: {' '.join(str(error).split())}")]
    return [document for document in documents if document.value is not None], []


class _Loader(yaml.SafeLoader):
    """YAML as it becomes JSON: a date is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# PyYAML wants a dot in a number with an exponent; Go's reader does not.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class _Reader:
    """Turns nodes into values and notes where they stand."""

    def __init__(self, loader: _Loader, file: str) -> None:
        self._loader = loader
        self._file = file
        self._lines: dict[Place, int] = {}
        self._twice: list[Place] = []

    def read(self, node: yaml.Node) -> Document:
        """Read a whole document."""
        self._lines[()] = node.start_mark.line + 1
        value = self._value(node, ())
        return Document(file=self._file, value=value, lines=self._lines, twice=self._twice)

    def _value(self, node: yaml.Node, place: Place) -> Any:
        if isinstance(node, yaml.MappingNode):
            return dict(self._fields(node, place))
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _fields(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, Any]]:
        written = [key.value for key, _ in node.value]
        self._loader.flatten_mapping(node)
        for key, value in node.value:
            name = str(key.value)
            below = (*place, name)
            if below in self._lines and written.count(key.value) > 1:
                self._twice.append(below)
            self._lines[below] = key.start_mark.line + 1
            yield name, self._value(value, below)

    def _item(self, node: yaml.Node, place: Place) -> Any:
        self._lines[place] = node.start_mark.line + 1
        return self._value(node, place)
