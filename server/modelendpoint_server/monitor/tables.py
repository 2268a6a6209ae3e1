"""Samples to one table, as it is stored: one row for each row of a request, what is redacted left out. Pure.

The inputs have the names that the model gives them, so that a capture is an input for a BatchPrediction as it is.
"""

import dataclasses
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from modelendpoint_server.monitor.decoding import meant_columns
from modelendpoint_server.monitor.sample import Column, Sample
from modelendpoint_server.signature import Signature

FACTS = ("_time", "_request_id", "_row", "_revision", "_variant", "_sha256")
"""What is known of each row besides its inputs and outputs."""
_HASH_DIGITS = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Privacy:
    """What is not stored as it is."""

    redact: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()
    key: bytes = b""
    """Without it nobody can tell which value has a hash by trying all values."""


def build_table(samples: Sequence[Sample], signature: Signature, privacy: Privacy) -> pa.Table:
    """Build the table of samples of one model, in their order."""
    lengths = [sample.rows for sample in samples]
    inputs = _gather([sample.inputs for sample in samples], lengths)
    outputs = _gather([sample.outputs for sample in samples], lengths)
    facts = _facts(samples, lengths)
    columns: dict[str, Any] = {}
    for group, prefix in ((inputs, ""), (outputs, "output_"), (facts, "")):
        left_out = meant_columns(privacy.redact, signature, list(group))
        hashed = meant_columns(privacy.hash, signature, list(group))
        for name, array in group.items():
            if name in left_out:
                continue
            # An output may well be called like an input.
            stored = name if name not in columns else f"{prefix or '_'}{name}"
            columns[stored] = _hashed(array, privacy.key) if name in hashed else array
    return pa.table(columns)


def _facts(samples: Sequence[Sample], lengths: Sequence[int]) -> dict[str, pa.Array]:
    def spread(values: Sequence[Any], kind: Any) -> pa.Array:
        return pa.array(np.repeat(np.array(values, dtype=object), lengths).tolist(), kind)

    times = np.repeat(np.array([sample.time for sample in samples]) * 1e6, lengths).astype(np.int64)
    values = {
        "_time": pa.array(times, pa.timestamp("us", tz="UTC")),
        "_request_id": spread([sample.request_id for sample in samples], pa.string()),
        "_row": pa.array(np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])),
        "_revision": spread([sample.revision for sample in samples], pa.string()),
        "_variant": spread([sample.variant for sample in samples], pa.string()),
        "_sha256": spread([sample.sha256 for sample in samples], pa.string()),
    }
    return {name: values[name] for name in FACTS}


def _gather(groups: Sequence[Mapping[str, Column]], lengths: Sequence[int]) -> dict[str, pa.Array]:
    """Put the columns of all samples one below the other; what a sample has not is null."""
    names = dict.fromkeys(name for group in groups for name in group)
    return {name: _stack([group.get(name) for group in groups], lengths) for name in names}


def _stack(columns: Sequence[Column | None], lengths: Sequence[int]) -> pa.Array:
    found = [column for column in columns if column is not None]
    if len(found) == len(columns) and len({column.shape[1:] for column in found}) == 1:
        return _to_arrow(np.concatenate(found))
    is_fixed = len({column.shape[1:] for column in found}) == 1
    parts = [None if column is None else _to_arrow(column, is_fixed=is_fixed) for column in columns]
    kind = next(part.type for part in parts if part is not None)
    return pa.concat_arrays(
        [pa.nulls(length, kind) if part is None else part for part, length in zip(parts, lengths, strict=True)]
    )


def _to_arrow(column: Column, *, is_fixed: bool = True) -> pa.Array:
    flat = column.reshape(-1)
    if flat.dtype == np.float16:
        flat = flat.astype(np.float32)
    values = pa.array([_text(value) for value in flat], pa.string()) if flat.dtype.kind == "O" else pa.array(flat)
    if column.ndim == 1:
        return values
    width = flat.size // len(column)
    if is_fixed:
        return pa.FixedSizeListArray.from_arrays(values, width)
    return pa.ListArray.from_arrays(pa.array(np.arange(len(column) + 1, dtype=np.int32) * width), values)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    # JSON may hold lone surrogates, which no file can.
    return None if value is None else str(value).encode("utf-8", "replace").decode()


def _hashed(array: pa.Array, key: bytes) -> pa.Array:
    """Replace each value by a keyed hash of its text; equal values stay equal."""
    is_list = pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type)
    values = array.to_pylist() if is_list else array.cast(pa.string()).to_pylist()
    return pa.array([None if value is None else _hash(value, key) for value in values], pa.string())


def _hash(value: Any, key: bytes) -> str:
    text = value.encode() if isinstance(value, str) else orjson.dumps(value)
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:_HASH_DIGITS]
