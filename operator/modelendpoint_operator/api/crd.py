"""The CRD document, built from the models: structural schema, columns, scale, and the rules of ``api/rules.py``.

No file access: ``hack/generate.py`` writes what this returns to ``crds/`` and into the chart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.rules import RULES, Rule
from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_operator.api.status import ModelEndpointStatus

Schema = dict[str, Any]
Column = tuple[str, str, str, str]
"""Name, type, path and description of a column of ``kubectl get``."""

DESCRIPTION = (
    "A ModelEndpoint is a URL that answers predictions of a model. The operator keeps it true: it starts model "
    "servers, moves traffic to new versions of the model step by step, and tells in status how it goes."
)

LIST_KEYS = {
    "spec.rollout.gates.http": "name",
    "spec.rollout.gates.prometheus": "name",
    "spec.rollout.gates.replay": "name",
    "spec.shadows": "name",
    "spec.variants": "name",
    "status.conditions": "type",
    "status.history": "revision",
    "status.rejected": "revision",
    "status.shadows": "name",
    "status.variants": "name",
}
"""Lists whose items are known by one field, so that server-side apply merges them item by item."""


def _ready(part: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{part}'


COLUMNS = (
    ("Ready", "string", _ready("status"), "Whether the spec is fully rolled out and serving."),
    ("Model", "string", ".status.stable.version", "Version of the model that serves."),
    ("Candidate", "string", ".status.candidate.version", "Version of the model that is being rolled out."),
    ("Weight", "integer", ".status.candidate.weight", "Percent of the traffic that the candidate gets."),
    ("Status", "string", _ready("reason"), "What the endpoint is doing, in one word."),
    ("URL", "string", ".status.url", "Where applications in the cluster reach the endpoint."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since the endpoint was created."),
)

WIDE_COLUMNS = (
    ("Revision", "integer", ".status.stable.revision", "Revision that serves."),
    ("Replicas", "integer", ".status.replicas", "Number of model server pods."),
    ("SHA256", "string", ".status.stable.sha256", "Digest of the model that serves."),
    ("Results", "string", ".status.results", "How the variants and shadows do, compared with the stable revision."),
    ("Strategy", "string", ".spec.rollout.strategy", "How a new revision replaces the one that serves."),
    ("Message", "string", _ready("message"), "What the endpoint is doing, in a sentence."),
)


@dataclass(frozen=True, kw_only=True)
class CustomResource:
    """What a kind of ours is made from."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    description: str
    spec: type[ApiModel]
    status: type[ApiModel]
    list_keys: Mapping[str, str]
    rules: tuple[Rule, ...]
    columns: tuple[Column, ...]
    wide_columns: tuple[Column, ...]
    scale: Mapping[str, str] | None = None
    """Paths of the scale subresource, for kinds that have one."""


MODEL_ENDPOINT = CustomResource(
    kind=names.KIND,
    plural=names.PLURAL,
    singular=names.SINGULAR,
    short_names=names.SHORT_NAMES,
    description=DESCRIPTION,
    spec=ModelEndpointSpec,
    status=ModelEndpointStatus,
    list_keys=LIST_KEYS,
    rules=RULES,
    columns=COLUMNS,
    wide_columns=WIDE_COLUMNS,
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)


def build_crd(resource: CustomResource) -> Schema:
    """Build the CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.singular,
                "shortNames": list(resource.short_names),
                "categories": list(names.CATEGORIES),
            },
            "versions": [_build_version(resource)],
        },
    }


def _build_version(resource: CustomResource) -> Schema:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": description, "priority": priority}
            for priority, columns in enumerate((resource.columns, resource.wide_columns))
            for name, kind, path, description in columns
        ],
        "subresources": {"status": {}, **({"scale": dict(resource.scale)} if resource.scale else {})},
        "schema": {"openAPIV3Schema": build_schema(resource)},
    }


def build_schema(resource: CustomResource) -> Schema:
    """Build the structural schema of a whole object of a kind."""
    schema: Schema = {
        "description": resource.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"Always {names.API_VERSION}.", "type": "string"},
            "kind": {"description": f"Always {resource.kind}.", "type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": build_model_schema(resource.spec),
            # Until the operator has seen the object, its generation is not observed: Flux, Helm and Argo CD wait.
            "status": {
                **_without_defaults(build_model_schema(resource.status)),
                "default": {"observedGeneration": -1},
            },
        },
    }
    for path, key in resource.list_keys.items():
        schema_at(schema, path).update({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})
    for rule in resource.rules:
        schema_at(schema, rule.at).setdefault("x-kubernetes-validations", []).append(rule.as_validation())
    return schema


def schema_at(schema: Schema, path: str) -> Schema:
    """Find the part of a schema at a dotted path; the items of a list are named ``items``."""
    for name in path.split(".") if path else ():
        schema = schema["items"] if name == "items" else schema["properties"][name]
    return schema


def build_model_schema(model: type[ApiModel]) -> Schema:
    """Build the structural schema of one model; raises ``ValueError`` for a constraint that a CRD can't say."""
    document = model.model_json_schema(by_alias=True)
    return _structural(document, definitions=document.get("$defs", {}))


def _structural(node: Schema, *, definitions: Mapping[str, Schema]) -> Schema:
    """Turn a part of pydantic's JSON schema into what a CRD may hold: no references, no null, no titles."""
    node = _resolved(node, definitions=definitions)
    schema = {key: node[key] for key in KEPT if key in node}
    unknown = set(node) - set(KEPT) - DROPPED - {"properties", "items", "additionalProperties", "exclusiveMinimum"}
    if unknown:
        raise ValueError(f"A CRD can't express {sorted(unknown)}, or nobody has thought about how yet")
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].replace("``", "").split())
    if "properties" in node:
        schema["properties"] = {
            name: _structural(part, definitions=definitions) for name, part in node["properties"].items()
        }
    for keyword in ("items", "additionalProperties"):
        if node.get(keyword):  # `additionalProperties: false` need not be said: unknown fields are refused anyway
            schema[keyword] = _without_defaults(_structural(node[keyword], definitions=definitions))
    if "exclusiveMinimum" in node:
        schema |= {"minimum": node["exclusiveMinimum"], "exclusiveMinimum": True}
    if "x-kubernetes-int-or-string" in schema:
        # Negative numbers have no sign to be refused by, as the pattern is for the texts only.
        schema |= {"anyOf": [{"type": "integer"}, {"type": "string"}], "minimum": 0}
        del schema["type"]
    if "default" in schema:
        schema["default"] = _shortest_default(schema["default"], schema)
    return schema


KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "x-kubernetes-int-or-string",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "required",
)
"""Keywords that mean the same in JSON schema and in a CRD, in the order that people read them."""

DROPPED = {"title", "$defs"}


def _resolved(node: Schema, *, definitions: Mapping[str, Schema]) -> Schema:
    """Follow references and ``X or null``; what stands at the field wins over what stands at its type."""
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        return _resolved({**target, **_without(node, "$ref")}, definitions=definitions)
    if "anyOf" in node:
        (option,) = (option for option in node["anyOf"] if option != {"type": "null"})
        return _resolved(
            {**_resolved(option, definitions=definitions), **_without(node, "anyOf")}, definitions=definitions
        )
    if "default" in node and node["default"] is None:
        return _without(node, "default")
    return node


def _shortest_default(value: Any, schema: Schema) -> Any:
    """Leave out of a default what is absent, and what the defaults of its own fields say."""
    if isinstance(value, list):
        return [_shortest_default(item, schema["items"]) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {
        name: _shortest_default(part, schema["properties"][name]) for name, part in value.items() if part is not None
    }
    return {
        name: part for name, part in fields.items() if part != schema["properties"][name].get("default", _NO_DEFAULT)
    }


_NO_DEFAULT = object()


def _without_defaults(schema: Schema) -> Schema:
    """Drop defaults at every depth: in items of lists they would show as a difference in GitOps tools."""
    plain = _without(schema, "default")
    if "properties" in schema:
        plain["properties"] = {name: _without_defaults(part) for name, part in schema["properties"].items()}
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            plain[keyword] = _without_defaults(schema[keyword])
    return plain


def _without(mapping: Schema, key: str) -> Schema:
    return {name: value for name, value in mapping.items() if name != key}
