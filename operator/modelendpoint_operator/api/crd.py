"""The CRD document, built from the models: structural schema, columns, scale, and the cross-field rules in CEL.

No file access: ``hack/generate.py`` writes what this returns to ``crds/`` and into the chart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.base import ApiModel
from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_operator.api.status import ModelEndpointStatus

Schema = dict[str, Any]

DESCRIPTION = (
    "A ModelEndpoint is a URL that answers predictions of a model. The operator keeps it true: it starts model "
    "servers, moves traffic to new versions of the model step by step, and tells in status how it goes."
)

NAME_LENGTH = 40
"""Longest name of an endpoint: children add up to 23 characters, and a Service's name has at most 63."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A CEL rule that plain schema can't say. ``at`` is the part of the schema that is ``self`` in it.

    ``field`` is the part of ``self`` that the message is about, when it is not all of it. The API server puts the
    field's path before the message.
    """

    at: str
    rule: str
    message: str
    field: str = ""

    def as_validation(self) -> Schema:
        """Write the rule as an item of ``x-kubernetes-validations``."""
        # The reason "Invalid" would show the type of `self` as if it were the value at fault; this one shows no value.
        field_path = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.rule, "message": self.message, "reason": "FieldValueForbidden", **field_path}


def _at_most_the_limit(amount: str) -> Rule:
    request, limit = f"self.requests.{amount}", f"self.limits.{amount}"
    both = f"has(self.requests) && has({request}) && has(self.limits) && has({limit})"
    return Rule(
        at="spec.server.resources",
        rule=f"!({both}) || quantity(string({request})).compareTo(quantity(string({limit}))) <= 0",
        message=f"requests.{amount} must not be above limits.{amount}",
        field=f".requests.{amount}",
    )


def _memory_in_bytes(amounts: str) -> Rule:
    return Rule(
        at=f"spec.server.resources.{amounts}.memory",
        rule="!isQuantity(string(self)) || quantity(string(self)).compareTo(quantity('16Mi')) >= 0",
        message="must be at least 16Mi; the unit is bytes, and the suffix m means thousandths of a byte",
    )


RULES = (
    Rule(
        at="",
        rule=f"self.metadata.name.size() <= {NAME_LENGTH} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message=f"Services are named after it, so it must have at most {NAME_LENGTH} characters: lower-case letters, "
        "digits and '-', a letter first and no '-' last",
        field=".metadata.name",
    ),
    Rule(
        at="",
        rule="!self.metadata.name.matches('-(router|r[0-9]+)$')",
        message="must not end in -router or -r<number>, as the router and the revisions of other endpoints do",
        field=".metadata.name",
    ),
    Rule(
        at="spec.model.uri",
        rule="!self.startsWith('configmap://') || self.matches('^configmap://[a-z0-9][-a-z0-9.]*/[-._a-zA-Z0-9]+$')",
        message="must be configmap://<name>/<key>",
    ),
    Rule(
        at="spec.model.uri",
        rule="!self.startsWith('pvc://')"
        " || (self.matches('^pvc://[a-z0-9][-a-z0-9.]*/[^/]') && !self.matches('/[.][.](/|$)'))",
        message="must be pvc://<claim>/<path>, without '..' in the path",
    ),
    Rule(
        at="spec.model.uri",
        rule="self.matches('^(pvc|configmap)://') || self.matches('^[a-z0-9]+://[^/]+/[^/]')",
        message="must have a path after the bucket or host, such as s3://models/churn/3/model.onnx",
    ),
    Rule(
        at="spec.model.uri",
        rule="!self.matches('^[a-z0-9]+://[^/]*@')",
        message="must not hold credentials: put them into a Secret and name it in spec.model.credentialsSecretRef",
    ),
    Rule(
        at="spec.model",
        rule="!has(self.credentialsSecretRef) || !self.uri.matches('^(pvc|configmap)://')",
        message="is of no use with a pvc:// or configmap:// uri: leave it out",
        field=".credentialsSecretRef",
    ),
    _at_most_the_limit("cpu"),
    _at_most_the_limit("memory"),
    _memory_in_bytes("requests"),
    _memory_in_bytes("limits"),
    Rule(
        at="spec.rollout",
        rule="!has(self.steps) || self.steps.map(step, step.weight).isSorted()",
        message="a weight must not be below the weight of the step before it",
        field=".steps",
    ),
    Rule(
        at="spec.rollout.steps.items",
        rule="!(has(self.pause) && self.pause && has(self.holdSeconds))",
        message="a step either holds for holdSeconds or pauses: leave one of the two out",
        field=".pause",
    ),
)

LIST_KEYS = {
    "status.conditions": "type",
    "status.history": "revision",
    "status.rejected": "revision",
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
    ("Strategy", "string", ".spec.rollout.strategy", "How a new revision replaces the one that serves."),
    ("Message", "string", _ready("message"), "What the endpoint is doing, in a sentence."),
)


def build_crd() -> Schema:
    """Build the CustomResourceDefinition of ModelEndpoint."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": list(names.SHORT_NAMES),
                "categories": list(names.CATEGORIES),
            },
            "versions": [_build_version()],
        },
    }


def _build_version() -> Schema:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": description, "priority": priority}
            for priority, columns in enumerate((COLUMNS, WIDE_COLUMNS))
            for name, kind, path, description in columns
        ],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "schema": {"openAPIV3Schema": build_schema()},
    }


def build_schema() -> Schema:
    """Build the structural schema of a whole ModelEndpoint."""
    schema: Schema = {
        "description": DESCRIPTION,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"Always {names.API_VERSION}.", "type": "string"},
            "kind": {"description": f"Always {names.KIND}.", "type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": _model_schema(ModelEndpointSpec),
            # Until the operator has seen the object, its generation is not observed: Flux, Helm and Argo CD wait.
            "status": {**_without_defaults(_model_schema(ModelEndpointStatus)), "default": {"observedGeneration": -1}},
        },
    }
    for path, key in LIST_KEYS.items():
        schema_at(schema, path).update({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})
    for rule in RULES:
        schema_at(schema, rule.at).setdefault("x-kubernetes-validations", []).append(rule.as_validation())
    return schema


def schema_at(schema: Schema, path: str) -> Schema:
    """Find the part of a schema at a dotted path; the items of a list are named ``items``."""
    for name in path.split(".") if path else ():
        schema = schema["items"] if name == "items" else schema["properties"][name]
    return schema


def _model_schema(model: type[ApiModel]) -> Schema:
    document = model.model_json_schema(by_alias=True)
    return _structural(document, definitions=document.get("$defs", {}))


def _structural(node: Schema, *, definitions: Mapping[str, Schema]) -> Schema:
    """Turn a part of pydantic's JSON schema into what a CRD may hold: no references, no null, no titles."""
    node = _resolved(node, definitions=definitions)
    schema = {key: node[key] for key in KEPT if key in node}
    unknown = set(node) - set(KEPT) - DROPPED - {"properties", "items", "additionalProperties"}
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
