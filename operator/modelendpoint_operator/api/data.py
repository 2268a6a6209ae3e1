"""Rows that are kept in files: their formats, their columns, and when two predictions for them agree."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelendpoint_operator.api.base import ApiModel

ColumnName = Annotated[str, Field(min_length=1, max_length=256)]
Tolerance = Annotated[float, Field(ge=0, le=1_000_000, strict=True)]


class Format(StrEnum):
    """Format of files."""

    CSV = "CSV"
    JSON_LINES = "JSONLines"
    PARQUET = "Parquet"


class Compression(StrEnum):
    """How files are compressed."""

    GZIP = "Gzip"
    ZSTD = "Zstd"


class Columns(ApiModel):
    """Which columns go into the model and into the output."""

    features: Annotated[list[ColumnName], Field(min_length=1, max_length=2000)] | None = None
    """Columns of the input that go into the model, in the model's order. Without them the names that the model tells,
    or else all columns that are not in passThrough."""
    pass_through: Annotated[list[ColumnName], Field(max_length=2000)] = []
    """Columns of the input that are copied into the output, such as an id."""
    join: Annotated[bool, Field(strict=True)] = False
    """Copy all columns of the input into the output, beside the predictions."""
