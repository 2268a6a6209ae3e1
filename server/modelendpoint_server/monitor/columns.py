"""Tensors and answers of a model to named columns: the same names in samples, captures and profiles."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from modelendpoint_server.formats.table import known_columns, takes_columns
from modelendpoint_server.monitor.sample import Column
from modelendpoint_server.signature import Signature, Tensor, TensorSpec


def input_columns(signature: Signature) -> dict[str, tuple[str, ...]]:
    """Name the columns that each input is stored and counted as."""
    known = known_columns(signature)
    spec = signature.only_input
    if spec is not None and not takes_columns(signature) and known and spec.row_width == len(known):
        return {spec.name: known}
    return {spec.name: (spec.name,) for spec in signature.inputs}


def columns_of_inputs(tensors: Mapping[str, Tensor], signature: Signature, rows: int) -> dict[str, Column]:
    """Make columns of the inputs; raise ``ValueError`` where one has no entry for each row."""
    names = input_columns(signature)
    columns: dict[str, Column] = {}
    for spec in signature.inputs:
        tensor = _by_row(tensors[spec.name], spec, rows)
        own = names[spec.name]
        if own == (spec.name,):
            columns[spec.name] = tensor
            continue
        flat = tensor.reshape(rows, len(own))
        columns.update({name: flat[:, index] for index, name in enumerate(own)})
    return columns


def columns_of_outputs(values: Mapping[str, Any], signature: Signature, rows: int) -> dict[str, Column]:
    """Make columns of the outputs; one that has no entry for each row is left out."""
    specs = {spec.name: spec for spec in signature.outputs}
    columns: dict[str, Column] = {}
    for name, value in values.items():
        spec = specs[name]
        if spec.kind != "tensor":
            columns.update(_entries(spec, value, rows))
        elif value.shape[:1] == (rows,) or rows == 1:
            columns[name] = _by_row(value, spec, rows)
    return columns


def _by_row(tensor: Tensor, spec: TensorSpec, rows: int) -> Column:
    """Bring the rows to the front, and a row of one value to that value."""
    if tensor.size == rows and spec.row_width in (1, -1):
        return tensor.reshape(rows)
    if tensor.ndim and tensor.shape[0] == rows:
        return tensor
    if rows == 1:
        return tensor.reshape(1, *tensor.shape)
    raise ValueError(f"{spec.name} has no entry for each of {rows} rows")


def _entries(spec: TensorSpec, value: Any, rows: int) -> dict[str, Column]:
    """One column for each key of a row's map; what is no map is kept as its JSON."""
    if not isinstance(value, list) or len(value) != rows:
        return {}
    if all(isinstance(entry, dict) for entry in value):
        keys = dict.fromkeys(key for entry in value for key in entry)
        return {f"{spec.name}_{key}": _filled([entry.get(key) for entry in value]) for key in keys}
    texts = np.empty(rows, object)
    texts[:] = [orjson.dumps(entry).decode() for entry in value]
    return {spec.name: texts}


def _filled(values: list[Any]) -> Column:
    """Make a column of numbers where all are some, with NaN for what is missing; else of texts."""
    if all(value is None or isinstance(value, int | float) for value in values):
        return np.array([math.nan if value is None else value for value in values], np.float64)
    texts = np.empty(len(values), object)
    texts[:] = [None if value is None else str(value) for value in values]
    return texts
