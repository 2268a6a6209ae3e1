"""V1 and its relatives: ``instances``, ``inputs``, ``dataframe_split``, ``dataframe_records``.

``instances`` (TensorFlow Serving, KServe V1) has rows; ``inputs`` has whole tensors; the data frame forms are MLflow's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from modelendpoint_server.errors import InvalidRequest
from modelendpoint_server.formats import json_body, quick, table
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.formats.values import read_back, to_tensor
from modelendpoint_server.inference import Call, Result
from modelendpoint_server.signature import Signature, Tensor

FORMS = ("instances", "inputs", "dataframe_split", "dataframe_records")
IGNORED = frozenset({"signature_name", "params", "parameters", "id", "columns", "outputs"})


def decode(body: bytes, signature: Signature, limits: Limits) -> Call:
    """Decode a request; raise ``InvalidRequest``."""
    spec = signature.only_input
    if spec is not None and (tensor := quick.instances(body, spec)) is not None:
        return Call({spec.name: tensor}, is_checked=spec.accepts(tensor.shape))
    document = json_body.parse_object(body, max_nesting=limits.max_nesting)
    form = _form(document)
    inputs = _DECODERS[form](document[form], signature, limits)
    return Call(inputs, outputs=_outputs(document.get("outputs"), signature))


def encode(result: Result, signature: Signature) -> bytes:
    """Write ``predictions``: one entry a row; with several outputs each entry is an object by output name."""
    return json_body.dump({"predictions": rows_of(result)})


def decode_answer(body: bytes, names: Sequence[str], signature: Signature) -> dict[str, Any]:
    """Read what ``encode`` wrote of these outputs: arrays; lists for those that are sequences and maps."""
    predictions = orjson.loads(body)["predictions"]
    if len(names) == 1:
        values = {names[0]: predictions}
    elif isinstance(predictions, dict):
        values = predictions
    else:
        values = {name: [row[name] for row in predictions] for name in names}
    specs = {spec.name: spec for spec in signature.outputs}
    return {
        name: read_back(value, specs[name]) if specs[name].kind == "tensor" else value for name, value in values.items()
    }


def rows_of(result: Result) -> Any:
    """Arrange outputs by row where each has one entry a row; otherwise by output."""
    outputs = result.outputs
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    if not all(_has_rows(value, result.rows) for value in outputs.values()):
        return outputs
    columns = [value if isinstance(value, list) else value.tolist() for value in outputs.values()]
    return [dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)]


def _has_rows(value: Any, rows: int) -> bool:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return len(shape) > 0 and shape[0] == rows
    return isinstance(value, list) and len(value) == rows


def _form(document: Mapping[str, Any]) -> str:
    present = [form for form in FORMS if form in document]
    if len(present) != 1:
        raise InvalidRequest(f"Send exactly one of {', '.join(FORMS)}; the body has {present or 'none of them'}.")
    for key in document:
        if key != present[0] and key not in IGNORED:
            raise InvalidRequest(f"The key {key!r} is unknown beside {present[0]!r}.", field=key)
    return present[0]


def _outputs(names: Any, signature: Signature) -> tuple[str, ...] | None:
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidRequest("outputs must be a list of output names.", field="outputs")
    signature.check_outputs(names)
    return tuple(dict.fromkeys(names)) or None


def _instances(rows: Any, signature: Signature, limits: Limits) -> dict[str, Tensor]:
    if not isinstance(rows, list):
        raise InvalidRequest("instances must be a list of rows.", field="instances")
    limits.check_rows(len(rows))
    if rows and isinstance(rows[0], dict):
        return _records(rows, signature, limits)
    spec = table.the_only_input(signature) if not table.takes_columns(signature) else None
    if spec is None or (rows and not isinstance(rows[0], list) and spec.row_width not in (1, -1)):
        return _rows(rows, signature, limits, columns=None)
    return {spec.name: _batch(rows, signature, limits)}


def _batch(rows: list[Any], signature: Signature, limits: Limits) -> Tensor:
    spec = table.the_only_input(signature)
    tensor = to_tensor(rows, spec, null_is_nan=limits.null_is_nan)
    if not rows and -1 not in spec.row_shape:
        return tensor.reshape([0, *spec.row_shape])
    if tensor.ndim == 1 and spec.row_shape == [1]:
        return tensor.reshape(-1, 1)
    return tensor


def _records(rows: Any, signature: Signature, limits: Limits) -> dict[str, Tensor]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidRequest("Either all rows are objects or none is.")
    limits.check_rows(len(rows))
    if not rows:
        return _rows([], signature, limits, columns=None)
    known = table.known_columns(signature)
    if known and not (rows[0].keys() == signature.by_name.keys() and not table.takes_columns(signature)):
        return _rows([_cells(row, known, number) for number, row in enumerate(rows)], signature, limits, columns=None)
    return _by_input(rows, signature, limits)


def _cells(row: Mapping[str, Any], known: tuple[str, ...], number: int) -> list[Any]:
    for name in known:
        if name not in row:
            raise InvalidRequest(f"Row {number} has no {name!r}; the model takes {', '.join(known)}.", field=name)
    for name in row:
        if name not in known:
            raise InvalidRequest(f"Row {number} has {name!r}; the model takes {', '.join(known)}.", field=name)
    return [row[name] for name in known]


def _by_input(rows: list[dict[str, Any]], signature: Signature, limits: Limits) -> dict[str, Tensor]:
    """Rows as objects with one value for each input tensor."""
    names = tuple(signature.by_name)
    if signature.only_input and rows[0].keys() != signature.by_name.keys():
        raise InvalidRequest(
            f"The model does not name its columns, so the order of {', '.join(rows[0])} is not known. Send rows as"
            " lists, or convert the model with the metadata feature_names."
        )
    table_ = [_cells(row, names, number) for number, row in enumerate(rows)]
    return {
        spec.name: to_tensor([cells[index] for cells in table_], spec, null_is_nan=limits.null_is_nan)
        for index, spec in enumerate(signature.inputs)
    }


def _tensors(values: Any, signature: Signature, limits: Limits) -> dict[str, Tensor]:
    if not isinstance(values, dict):
        spec = table.the_only_input(signature)
        values = {spec.name: values}
    signature.check_names(values)
    return {
        name: to_tensor(value, signature.by_name[name], null_is_nan=limits.null_is_nan)
        for name, value in values.items()
    }


def _split(frame: Any, signature: Signature, limits: Limits) -> dict[str, Tensor]:
    if not isinstance(frame, dict) or not isinstance(frame.get("data"), list):
        raise InvalidRequest('dataframe_split must be {"columns": [...], "data": [[...]]}.', field="dataframe_split")
    columns = frame.get("columns")
    if columns is not None and not (isinstance(columns, list) and all(isinstance(name, str) for name in columns)):
        raise InvalidRequest("dataframe_split.columns must be a list of names.", field="columns")
    return _rows(frame["data"], signature, limits, columns=columns)


def _rows(rows: list[Any], signature: Signature, limits: Limits, *, columns: list[str] | None) -> dict[str, Tensor]:
    limits.check_rows(len(rows))
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            raise InvalidRequest(f"Row {number} is no list.")
    return table.to_inputs(rows, signature, columns=columns, null_is_nan=limits.null_is_nan)


_DECODERS = {
    "instances": _instances,
    "inputs": _tensors,
    "dataframe_split": _split,
    "dataframe_records": _records,
}
