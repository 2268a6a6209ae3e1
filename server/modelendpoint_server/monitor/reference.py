"""The reference profile: what a model's inputs and outputs looked like when it was made. JSON in and out; no counting here.

A column of numbers is described by bins that each hold the same share of the reference; one with few values, and one of
texts, by the values themselves. Both say how many rows had no value.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import orjson

from modelendpoint_server.errors import InvalidProfile

SCHEMA_VERSION = 1
_NEXT = "Make it with: mep profile data.csv --model model.onnx -o profile.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers:
    """A column of numbers, in bins."""

    name: str
    rows: int
    """All rows of the reference, also those without a value."""
    missing: int
    minimum: float
    maximum: float
    mean: float
    deviation: float
    edges: tuple[float, ...]
    """Between the bins, ascending: a value on an edge belongs to the bin above it."""
    counts: tuple[int, ...]
    """Values of each bin, one more than ``edges``; of a uniform sample when the reference is large."""

    @property
    def commonest(self) -> int:
        """The most rows that a single value may have had, of those in ``counts``."""
        return max(self.counts)

    @property
    def counted(self) -> int:
        """Rows in ``counts``."""
        return sum(self.counts)

    def as_json(self) -> dict[str, Any]:
        """Return its object of the profile."""
        return {
            "name": self.name,
            "kind": "Numbers",
            "rows": self.rows,
            "missing": self.missing,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "mean": self.mean,
            "standardDeviation": self.deviation,
            "edges": list(self.edges),
            "counts": list(self.counts),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Categories:
    """A column with few values, or of texts."""

    name: str
    rows: int
    missing: int
    values: tuple[str, ...] | tuple[float, ...]
    """Those that are counted one by one, ascending."""
    counts: tuple[int, ...]
    """Rows of each. Where ``values`` had to be chosen among others, or are rare, these are rows by which they were not
    chosen: what is chosen because it is frequent among some rows is less frequent among all."""
    others: int = 0
    """Rows with any other value, among those that were counted."""
    rare: tuple[str, ...] | tuple[float, ...] = ()
    """Values that are known, and counted in ``others``."""
    is_complete: bool = True
    """Whether no row of the reference had a value that is neither in ``values`` nor in ``rare``."""
    seen_once: int = 0
    """Values that a single row of the reference had: about as many rows would have new ones if it were drawn again."""

    @property
    def is_numeric(self) -> bool:
        """Whether the values are numbers, which have an order that means something."""
        return bool(self.values) and isinstance(self.values[0], float)

    @property
    def commonest(self) -> int:
        """The most rows that a single value may have had."""
        return max((*self.counts, self.others))

    @property
    def counted(self) -> int:
        """Rows that were counted."""
        return sum(self.counts) + self.others

    def as_json(self) -> dict[str, Any]:
        """Return its object of the profile."""
        return {
            "name": self.name,
            "kind": "Categories",
            "rows": self.rows,
            "missing": self.missing,
            "values": list(self.values),
            "counts": list(self.counts),
            "others": self.others,
            "rare": list(self.rare),
            "isComplete": self.is_complete,
            "seenOnce": self.seen_once,
        }


ColumnProfile = Numbers | Categories


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """All columns that are looked at."""

    model_sha256: str
    """Digest of the model that gave the outputs."""
    rows: int
    inputs: tuple[ColumnProfile, ...]
    outputs: tuple[ColumnProfile, ...]
    summarised: frozenset[str] = frozenset()
    """Columns with rows of too many values, of which only ``.mean`` and ``.deviation`` are there."""
    sha256: str = ""
    """Of the bytes that it was read from."""

    @functools.cached_property
    def by_name(self) -> Mapping[str, ColumnProfile]:
        """Inputs under their names, and outputs; an output of the same name is ``output:name``."""
        inputs = {column.name: column for column in self.inputs}
        return {**inputs, **{output_key(column.name, inputs): column for column in self.outputs}}

    def as_json(self) -> bytes:
        """Write it, one column a line, so that people and Git can read it."""
        head = {
            "schemaVersion": SCHEMA_VERSION,
            "model": {"sha256": self.model_sha256},
            "rows": self.rows,
            "summarised": sorted(self.summarised),
        }
        parts = [f'"{key}": {orjson.dumps(value).decode()}' for key, value in head.items()]
        for key, columns in (("inputs", self.inputs), ("outputs", self.outputs)):
            lines = ",\n".join(orjson.dumps(column.as_json()).decode() for column in columns)
            parts.append(f'"{key}": [\n{lines}\n]')
        return ("{" + ",\n".join(parts) + "}\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Profile":
        """Read what ``as_json`` wrote; raise ``InvalidProfile`` with what does not fit."""
        document = _parsed(text)
        version = document.get("schemaVersion")
        if version != SCHEMA_VERSION:
            raise InvalidProfile(f"The profile has schemaVersion {version!r}; {SCHEMA_VERSION} is known here. {_NEXT}")
        try:
            profile = cls(
                model_sha256=str(document["model"]["sha256"]),
                rows=int(document["rows"]),
                inputs=tuple(_columns(document["inputs"], "inputs")),
                outputs=tuple(_columns(document["outputs"], "outputs")),
                summarised=frozenset(map(str, document.get("summarised", ()))),
                sha256=hashlib.sha256(text).hexdigest(),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidProfile(f"The profile lacks something, or has it wrong ({error!r}). {_NEXT}") from error
        if not profile.by_name:
            raise InvalidProfile(f"The profile has no columns. {_NEXT}")
        return profile


def output_key(name: str, inputs: Container[str]) -> str:
    """Name an output among the inputs."""
    return f"output:{name}" if name in inputs else name


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidProfile(f"The profile is not JSON: {error}. {_NEXT}") from error
    if not isinstance(document, dict):
        raise InvalidProfile(f"The profile is not a JSON object. {_NEXT}")
    return document


def _columns(documents: Sequence[Mapping[str, Any]], where: str) -> Iterator[ColumnProfile]:
    for number, document in enumerate(documents):
        column = _numbers(document) if document["kind"] == "Numbers" else _categories(document)
        problem = _problem(column)
        if problem:
            raise InvalidProfile(f"{where}[{number}] ({column.name}) of the profile {problem}. {_NEXT}")
        yield column


def _numbers(document: Mapping[str, Any]) -> Numbers:
    return Numbers(
        name=str(document["name"]),
        rows=int(document["rows"]),
        missing=int(document["missing"]),
        minimum=float(document["minimum"]),
        maximum=float(document["maximum"]),
        mean=float(document["mean"]),
        deviation=float(document["standardDeviation"]),
        edges=tuple(map(float, document["edges"])),
        counts=tuple(map(int, document["counts"])),
    )


def _categories(document: Mapping[str, Any]) -> Categories:
    if document["kind"] != "Categories":
        raise ValueError(f"kind {document['kind']!r}; Numbers and Categories are known")
    values, rare = document["values"], document["rare"]
    is_numeric = bool(values) and all(isinstance(value, int | float) for value in values)
    return Categories(
        name=str(document["name"]),
        rows=int(document["rows"]),
        missing=int(document["missing"]),
        values=tuple(map(float, values)) if is_numeric else tuple(map(str, values)),
        counts=tuple(map(int, document["counts"])),
        others=int(document["others"]),
        rare=tuple(map(float, rare)) if is_numeric else tuple(map(str, rare)),
        is_complete=bool(document["isComplete"]),
        seen_once=int(document["seenOnce"]),
    )


def _problem(column: ColumnProfile) -> str:
    """Say what would make the counts mean nothing."""
    places: list[Any] = list(column.edges if isinstance(column, Numbers) else column.values)
    if places != sorted(set(places)) or not all(math.isfinite(p) for p in places if isinstance(p, float)):
        return "has edges or values that do not ascend"
    if len(column.counts) != len(places) + isinstance(column, Numbers):
        return f"has {len(column.counts)} counts for {len(places)} edges or values"
    others = column.others if isinstance(column, Categories) else 0
    if min((*column.counts, others, column.missing)) < 0 or sum(column.counts) + others < 1:
        return "has no values, or fewer than none"
    return ""
