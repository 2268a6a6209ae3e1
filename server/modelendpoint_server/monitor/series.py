"""Columns as statistics see them: one value a row, a number or a text. No counting here."""

import math
from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelendpoint_server.monitor.sample import Column

Series = NDArray[Any]
"""One dimension: numbers as ``float64`` with NaN for what is missing, or texts (``object``) with ``None``."""

MOST_PLACES = 256
"""A row of more values, as of an image, is looked at through its mean and its deviation, not value by value."""
SUMMARIES = ("mean", "deviation")


def series_of(columns: Mapping[str, Column], summarised: Container[str]) -> dict[str, Series]:
    """Make the series of all columns.

    A row of several values is one series for each place, ``name[3]``; that of a column in ``summarised`` is
    ``name.mean`` and ``name.deviation``. Longer rows that are in neither have none, as have summaries of texts.
    """
    return {name: series for column, values in columns.items() for name, series in _split(column, values, summarised)}


def is_wide(column: Column) -> bool:
    """Tell whether rows of so many values are better summarised."""
    return math.prod(column.shape[1:]) > MOST_PLACES


def _split(name: str, column: Column, summarised: Container[str]) -> Iterator[tuple[str, Series]]:
    if column.ndim == 1 and name not in summarised:
        yield name, _plain(column)
        return
    flat = column.reshape(len(column), -1)
    if name in summarised:
        if flat.dtype.kind != "O":
            numbers = flat.astype(np.float64)
            yield f"{name}.mean", numbers.mean(axis=1)
            yield f"{name}.deviation", numbers.std(axis=1)
    elif flat.shape[1] <= MOST_PLACES:
        places = np.ndindex(column.shape[1:])
        for index, place in enumerate(places):
            yield f"{name}[{','.join(map(str, place))}]", _plain(flat[:, index])


def _plain(values: Column) -> Series:
    if values.dtype.kind != "O":
        return values.astype(np.float64)
    texts = np.empty(len(values), object)
    texts[:] = [None if _is_missing(value) else str(value) for value in values.tolist()]
    return texts


def _is_missing(value: Any) -> bool:
    """Tell whether there is no text; an empty cell of a CSV file is an empty text."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
