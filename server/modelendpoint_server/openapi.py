"""The OpenAPI document of one endpoint, made from the signature of the model that it serves."""

from typing import Any

from modelendpoint_server.formats.table import takes_columns
from modelendpoint_server.made_up import example_request, example_v2
from modelendpoint_server.signature import Signature, TensorSpec

Schema = dict[str, Any]

_ERRORS = {
    "400": "The request does not fit the protocol or the model.",
    "404": "There is no such model, version or path.",
    "406": "No content type that is accepted can be written.",
    "413": "The body is too large.",
    "415": "The body's content type or encoding can't be read.",
    "500": "The model failed.",
    "503": "The model is not ready, or too many requests wait.",
    "504": "The prediction took too long and was stopped.",
}
_JSON_TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "O": "string"}


def build_openapi(signature: Signature, *, name: str, version: str) -> Schema:
    """Build the document."""
    rows = _operation("Predict rows", _rows_request(signature), _rows_answer(), example_request(signature), csv=True)
    v2 = _operation("Infer (Open Inference Protocol)", _v2_request(signature), _v2_answer(), example_v2(signature))
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{name}: predictions", "version": version},
        "paths": {
            "/predict": {"post": {**rows, "operationId": "predict"}},
            f"/v1/models/{name}:predict": {"post": {**rows, "operationId": "predictV1"}},
            "/invocations": {"post": {**rows, "operationId": "invoke"}},
            f"/v2/models/{name}/infer": {"post": {**v2, "operationId": "inferV2"}},
            f"/v1/models/{name}": {"get": _read("State of the model")},
            f"/v2/models/{name}": {"get": _read("Inputs and outputs of the model")},
            f"/v2/models/{name}/ready": {"get": _read("Whether the model is ready")},
            "/v2/health/ready": {"get": _read("Whether the endpoint is ready")},
        },
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error", "code"],
                    "properties": {
                        "error": {"type": "string", "description": "What is wrong, and the next step."},
                        "code": {"type": "string", "description": "The kind of error, for programs."},
                        "field": {"type": "string", "description": "The tensor, column, key or header meant."},
                    },
                }
            }
        },
    }


def _operation(summary: str, request: Schema, answer: Schema, example: Any, *, csv: bool = False) -> Schema:
    text = {"text/csv": {"schema": {"type": "string"}}} if csv else {}
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request, "example": example}, **text},
        },
        "responses": {
            "200": {"description": "The predictions.", "content": {"application/json": {"schema": answer}, **text}},
            **_errors(*_ERRORS),
        },
    }


def _read(summary: str) -> Schema:
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": {"type": "object"}}}},
            **_errors("404", "503"),
        },
    }


def _errors(*codes: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {code: {"description": _ERRORS[code], "content": content} for code in codes}


def _rows_request(signature: Signature) -> Schema:
    forms: list[Schema] = [_keyed("inputs", _tensors(signature))]
    if takes_columns(signature) or signature.only_input is not None:
        forms = [_keyed("instances", {"type": "array", "items": _row(signature)}), *forms]
        forms.append(_keyed("dataframe_split", {"type": "object", "required": ["data"]}))
    if takes_columns(signature) or signature.columns:
        forms.append(_keyed("dataframe_records", {"type": "array", "items": {"type": "object"}}))
    return {"type": "object", "oneOf": forms}


def _keyed(key: str, schema: Schema) -> Schema:
    return {"type": "object", "required": [key], "properties": {key: schema}}


def _row(signature: Signature) -> Schema:
    if takes_columns(signature):
        return {
            "type": "object",
            "required": [spec.name for spec in signature.inputs],
            "properties": {spec.name: {"type": _JSON_TYPES[spec.dtype.kind]} for spec in signature.inputs},
        }
    spec = signature.only_input
    return _nested(spec, spec.row_shape) if spec is not None else {}


def _tensors(signature: Signature) -> Schema:
    named = {
        "type": "object",
        "required": [spec.name for spec in signature.inputs],
        "properties": {spec.name: _nested(spec, spec.shape) for spec in signature.inputs},
    }
    spec = signature.only_input
    return named if spec is None else {"oneOf": [named, _nested(spec, spec.shape)]}


def _nested(spec: TensorSpec, shape: list[int]) -> Schema:
    schema: Schema = {"type": _JSON_TYPES[spec.dtype.kind]}
    for size in reversed(shape):
        bounds = {} if size == -1 else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **bounds}
    return schema


def _rows_answer() -> Schema:
    return _keyed("predictions", {})


def _v2_request(signature: Signature) -> Schema:
    tensors = [
        {
            "type": "object",
            "required": ["name", "datatype", "shape", "data"],
            "properties": {
                "name": {"const": spec.name},
                "datatype": {"const": spec.datatype},
                "shape": {
                    "type": "array",
                    "prefixItems": [{"type": "integer"} if size == -1 else {"const": size} for size in spec.shape],
                    "minItems": len(spec.shape),
                    "maxItems": len(spec.shape),
                },
                "data": {"type": "array"},
            },
        }
        for spec in signature.inputs
    ]
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": {"oneOf": tensors}},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
            "parameters": {"type": "object"},
        },
    }


def _v2_answer() -> Schema:
    return {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "datatype", "shape"],
                    "properties": {
                        "name": {"type": "string"},
                        "datatype": {"type": "string"},
                        "shape": {"type": "array", "items": {"type": "integer"}},
                    },
                },
            },
        },
    }
