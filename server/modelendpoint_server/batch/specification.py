"""What one run is told: the JSON of ``MODELENDPOINT_BATCH``, and the few variables around it. Reads no environment."""

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from modelendpoint_server.batch.errors import InvalidBatch
from modelendpoint_server.errors import InvalidSettings
from modelendpoint_server.settings import PREFIX, Settings

_DEFAULT_SHARD_BYTES = 256 * 2**20
_CREDENTIALS = Path("/etc/modelendpoint")
_OWN = ("BATCH", "BATCH_WORKERS", "BATCH_CREDENTIALS_DIR", "BATCH_TERMINATION_LOG")


class Format(StrEnum):
    """A file format of rows."""

    CSV = "CSV"
    JSON_LINES = "JSONLines"
    PARQUET = "Parquet"

    @property
    def extension(self) -> str:
        """What its files are called."""
        return {Format.CSV: "csv", Format.JSON_LINES: "jsonl", Format.PARQUET: "parquet"}[self]


class Compression(StrEnum):
    """How a whole file of text is packed."""

    GZIP = "gzip"
    ZSTD = "zstd"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of the input are used for what."""

    features: tuple[str, ...] | None = None
    """The columns that the model gets, in its order; ``None``: those that it names."""
    pass_through: tuple[str, ...] = ()
    join: bool = False
    """Whether all columns of the input stand beside the predictions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Threshold:
    """How many rows may be rejected."""

    rows: int = 0
    percent: float | None = None

    def allowed(self, total: int) -> int:
        """Return the largest number of rejected rows out of so many that is no failure."""
        return self.rows if self.percent is None else int(total * self.percent / 100)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Challenger:
    """Another model that is asked the same rows."""

    uri: str
    sha256: str = ""
    version: str = ""
    revision: str = ""
    absolute_tolerance: float = 1e-5
    relative_tolerance: float = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a BatchPrediction."""

    name: str
    input_uri: str
    output_uri: str
    input_format: Format | None = None
    compression: Compression | None = None
    output_format: Format | None = None
    partitioning: tuple[str, ...] = ()
    columns: Columns = Columns()
    shard_rows: int | None = None
    shard_bytes: int = _DEFAULT_SHARD_BYTES
    threshold: Threshold = Threshold()
    challenger: Challenger | None = None

    @classmethod
    def from_json(cls, text: str) -> "Run":
        """Parse the JSON; raise ``InvalidBatch`` with the field that does not fit. Unknown keys are ignored."""
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise InvalidBatch(f"{PREFIX}BATCH is not JSON: {error}.") from error
        root = _Object(document, "")
        source, target, columns = root.child("input"), root.child("output"), root.child("columns")
        return cls(
            name=root.text("run"),
            input_uri=source.text("uri"),
            output_uri=target.text("uri"),
            input_format=source.choice("format", Format),
            compression=source.choice("compression", Compression),
            output_format=target.choice("format", Format),
            partitioning=target.names("partitioning") or (),
            columns=Columns(
                features=columns.names("features"),
                pass_through=columns.names("passThrough") or (),
                join=bool(columns.value("join")),
            ),
            shard_rows=root.positive("shardRows"),
            shard_bytes=root.positive("shardBytes") or _DEFAULT_SHARD_BYTES,
            threshold=_threshold(root.child("errorThreshold")),
            challenger=_challenger(root.child("compareWith")) if root.value("compareWith") else None,
        )


class _Object:
    """A JSON object that knows where it is, for messages."""

    def __init__(self, values: Any, path: str) -> None:
        if not isinstance(values, Mapping):
            raise InvalidBatch(f"{path or 'The run'} must be an object.")
        self._values = values
        self._path = path

    def value(self, key: str) -> Any:
        return self._values.get(key)

    def where(self, key: str) -> str:
        return f"{self._path}.{key}".lstrip(".")

    def child(self, key: str) -> "_Object":
        return _Object(self.value(key) or {}, self.where(key))

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str) or not value:
            raise InvalidBatch(f"{self.where(key)} is missing. Set it.")
        return value

    def optional(self, key: str) -> str:
        return str(self.value(key) or "")

    def names(self, key: str) -> tuple[str, ...] | None:
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(v, str) for v in value):
            raise InvalidBatch(f"{self.where(key)} must be a list of column names.")
        if len(set(value)) != len(value):
            raise InvalidBatch(f"{self.where(key)} names a column twice. Name each once.")
        return tuple(value)

    def positive(self, key: str) -> int | None:
        value = self.value(key)
        if value is None:
            return None
        if type(value) is not int or value < 1:
            raise InvalidBatch(f"{self.where(key)} is {value!r}; a whole number from 1 on is expected.")
        return value

    def number(self, key: str, default: float) -> float:
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise InvalidBatch(f"{self.where(key)} is {value!r}; a number from 0 on is expected.")
        return float(value)

    def choice(self, key: str, kind: Any) -> Any:
        value = self.value(key)
        if value is None:
            return None
        try:
            return kind(value)
        except ValueError as error:
            raise InvalidBatch(f"{self.where(key)} is {value!r}; use {' or '.join(kind)}.") from error


def _threshold(values: _Object) -> Threshold:
    percent = values.value("percent")
    return Threshold(
        rows=int(values.number("rows", 0)), percent=None if percent is None else values.number("percent", 0)
    )


def _challenger(values: _Object) -> Challenger:
    return Challenger(
        uri=values.text("uri"),
        sha256=values.optional("sha256"),
        version=values.optional("version"),
        revision=values.optional("revision"),
        absolute_tolerance=values.number("absoluteTolerance", Challenger.absolute_tolerance),
        relative_tolerance=values.number("relativeTolerance", Challenger.relative_tolerance),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """Everything that a batch pod is told."""

    server: Settings
    """As for a server; it says how the model is got and run."""
    run: Run
    workers: int
    index: int
    credentials_dir: Path
    """Folder above ``input-credentials``, ``output-credentials`` and ``compare-credentials``."""
    termination_log: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "BatchSettings":
        """Read the settings; raise ``InvalidSettings`` or ``InvalidBatch``."""
        own = {name: environment.get(PREFIX + name, "") for name in _OWN}
        others = {key: value for key, value in environment.items() if key.removeprefix(PREFIX) not in own}
        return cls(
            server=Settings.from_environment(others),
            run=Run.from_json(own["BATCH"] or "{}"),
            workers=_number(PREFIX + "BATCH_WORKERS", own["BATCH_WORKERS"] or "1", least=1),
            index=_number("JOB_COMPLETION_INDEX", environment.get("JOB_COMPLETION_INDEX") or "0", least=0),
            credentials_dir=Path(own["BATCH_CREDENTIALS_DIR"] or _CREDENTIALS),
            termination_log=Path(own["BATCH_TERMINATION_LOG"] or "/dev/termination-log"),
        )


def _number(key: str, text: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise InvalidSettings(f"{key} is {text!r}; a whole number from {least} on is expected.")
    return int(text)
