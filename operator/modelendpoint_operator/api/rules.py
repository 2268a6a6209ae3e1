"""What an endpoint must keep to beyond the types and limits of its fields: CEL, checked by the API server.

The message follows the field's path in the API server's answer, so it does not repeat it.
"""

from dataclasses import dataclass

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

    def as_validation(self) -> dict[str, str]:
        """Write the rule as an item of ``x-kubernetes-validations``."""
        # The reason "Invalid" would show the type of `self` as if it were the value at fault; this one shows no value.
        field_path = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.rule, "message": self.message, "reason": "FieldValueForbidden", **field_path}


def _at_most_the_limit(server: str, amount: str) -> Rule:
    request, limit = f"self.requests.{amount}", f"self.limits.{amount}"
    both = f"has(self.requests) && has({request}) && has(self.limits) && has({limit})"
    return Rule(
        at=f"{server}.resources",
        # Kubernetes 1.30 estimates a CRD's cost by its quantity() and string(), taking each for the longest text there is.
        rule=(
            f"!({both}) || (type({limit}) == string"
            f" ? quantity(string({request})).compareTo(quantity({limit})) <= 0"
            f" : type({request}) == string"
            f" ? quantity({request}).compareTo(quantity(string({limit}))) <= 0"
            f" : {request} <= {limit})"
        ),
        message=f"requests.{amount} must not be above limits.{amount}",
        field=f".requests.{amount}",
    )


def _memory_in_bytes(server: str, amounts: str) -> Rule:
    return Rule(
        at=f"{server}.resources.{amounts}.memory",
        rule=(
            "type(self) == int ? self >= 16777216"
            " : !isQuantity(self) || quantity(self).compareTo(quantity('16Mi')) >= 0"
        ),
        message="must be at least 16Mi; the unit is bytes, and the suffix m means thousandths of a byte",
    )


def _uri_rules(at: str) -> tuple[Rule, ...]:
    return (
        configmap_rule(at),
        Rule(
            at=at,
            rule="!self.startsWith('pvc://')"
            " || (self.matches('^pvc://[a-z0-9][-a-z0-9.]*/[^/]') && !self.matches('/[.][.](/|$)'))",
            message="must be pvc://<claim>/<path>, without '..' in the path",
        ),
        Rule(
            at=at,
            rule="self.matches('^(pvc|configmap)://') || self.matches('^[a-z0-9]+://[^/]+/[^/]')",
            message="must have a path after the bucket or host, such as s3://models/churn/3/model.onnx",
        ),
        Rule(
            at=at,
            rule="!self.matches('^[a-z0-9]+://[^/]*@')",
            message="must not hold credentials: put them into a Secret and name it in the model's credentialsSecretRef",
        ),
    )


def _model_rules(at: str) -> tuple[Rule, ...]:
    return (
        *_uri_rules(f"{at}.uri"),
        *_uri_rules(f"{at}.goldenExamples.uri"),
        credentials_rule(at),
    )


def configmap_rule(uri: str) -> Rule:
    """Ask for the name and the key of a ConfigMap; the rows of a BatchPrediction have this rule too."""
    return Rule(
        at=uri,
        rule="!self.startsWith('configmap://') || self.matches('^configmap://[a-z0-9][-a-z0-9.]*/[-._a-zA-Z0-9]+$')",
        message="must be configmap://<name>/<key>",
    )


def credentials_rule(at: str) -> Rule:
    """Refuse credentials for what is mounted from the cluster; a BatchPrediction's models have this rule too."""
    return Rule(
        at=at,
        rule="!has(self.credentialsSecretRef) || !self.uri.matches('^(pvc|configmap)://')",
        message="is of no use with a pvc:// or configmap:// uri: leave it out",
        field=".credentialsSecretRef",
    )


def data_rules(at: str) -> tuple[Rule, ...]:
    """Say what a place of rows must keep to; those of a BatchPrediction have these rules too."""
    uri = f"{at}.uri"
    return (
        Rule(
            at=uri,
            rule="!self.startsWith('pvc://')"
            " || (self.matches('^pvc://[a-z0-9][-a-z0-9.]*/[^/]') && !self.matches('/[.][.](/|$)'))",
            message="must be pvc://<claim>/<path>, without '..' in the path",
        ),
        Rule(
            at=uri,
            rule="self.matches('^(pvc|configmap)://') || self.matches('^[a-z0-9]+://[^/{}*?]+/[^/]')",
            message="must have a path after the bucket or host, such as s3://reports/churn/",
        ),
        Rule(
            at=uri,
            rule="!self.matches('^[a-z0-9]+://[^/]*@')",
            message="must not hold credentials: put them into a Secret and name it in "
            f"{at.replace('.items', '[]')}.credentialsSecretRef",
        ),
        Rule(
            at=at,
            rule="!has(self.credentialsSecretRef) || !self.uri.matches('^(pvc|configmap)://')",
            message="is of no use with a pvc:// or configmap:// uri: leave it out",
            field=".credentialsSecretRef",
        ),
    )


def _replay_rules(gates: str) -> tuple[Rule, ...]:
    return (
        *data_rules(f"{gates}.items.input"),
        configmap_rule(f"{gates}.items.input.uri"),
        *data_rules(f"{gates}.items.output"),
        Rule(
            at=f"{gates}.items.output.uri",
            rule="!self.matches('[*?[]')",
            message="must be one folder: leave out *, ? and [",
        ),
        Rule(
            at=f"{gates}.items",
            rule="!self.input.uri.endsWith('/') || !self.output.uri.startsWith(self.input.uri)",
            message="must not be inside input.uri: what is written would be read",
            field=".output.uri",
        ),
        *_resources_rules(f"{gates}.items"),
    )


def _server_rules(at: str) -> tuple[Rule, ...]:
    return (*_resources_rules(at), *_placement_rules(at))


def _resources_rules(at: str) -> tuple[Rule, ...]:
    return (
        _at_most_the_limit(at, "cpu"),
        _at_most_the_limit(at, "memory"),
        _memory_in_bytes(at, "requests"),
        _memory_in_bytes(at, "limits"),
    )


def _arm_rules(arms: str) -> tuple[Rule, ...]:
    return (
        *_model_rules(f"{arms}.items.model"),
        *_server_rules(f"{arms}.items.server"),
        Rule(
            at=f"{arms}.items.name",
            rule="!self.matches('^(stable|candidate)$')",
            message="is what the revisions of the main model are called: choose another name",
        ),
    )


def _placement_rules(server: str) -> tuple[Rule, ...]:
    return (
        Rule(
            at=f"{server}.priorityClassName",
            rule="!self.startsWith('system-')",
            message="must not begin with system-: those classes are for the cluster's own pods",
        ),
        Rule(
            at=f"{server}.tolerations.items",
            rule="has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            message="must have a key, or the operator Exists to tolerate every taint",
        ),
        Rule(
            at=f"{server}.tolerations.items",
            rule="!has(self.value) || !has(self.operator) || self.operator == 'Equal'",
            message="is of no use with the operator Exists: leave it out",
            field=".value",
        ),
        Rule(
            at=f"{server}.tolerations.items",
            rule="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="is for the effect NoExecute: leave it out",
            field=".tolerationSeconds",
        ),
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
        rule="!self.metadata.name.matches('-(router|monitor|r[0-9]+)$')",
        message="must not end in -router, -monitor or -r<number>, as the objects of other endpoints do",
        field=".metadata.name",
    ),
    *_model_rules("spec.model"),
    *_server_rules("spec.server"),
    *_resources_rules("spec.monitoring"),
    Rule(
        at="spec.monitoring",
        rule="has(self.capture) || has(self.drift)",
        message="needs capture, drift or both; leave it out to turn monitoring off",
    ),
    *data_rules("spec.monitoring.capture"),
    Rule(
        at="spec.monitoring.capture",
        rule="!has(self.hash) || self.hash.size() == 0 || has(self.hashKeySecretRef)",
        message="must be there for hash: without a key, whoever reads the captures could try all values",
        field=".hashKeySecretRef",
    ),
    *_arm_rules("spec.variants"),
    *_arm_rules("spec.shadows"),
    Rule(
        at="spec",
        rule="!has(self.variants) || !has(self.shadows)"
        " || !self.shadows.exists(shadow, self.variants.exists(variant, variant.name == shadow.name))",
        message="a shadow must not have the name of a variant",
        field=".shadows",
    ),
    Rule(
        at="spec.variants",
        rule="self.map(variant, has(variant.weight) ? variant.weight : 0).sum() <= 100",
        message="the weights together must not be above 100: the main model gets what they leave",
    ),
    Rule(
        at="spec.autoscaling",
        rule="self.minReplicas <= self.maxReplicas",
        message="must not be below minReplicas",
        field=".maxReplicas",
    ),
    Rule(
        at="spec.autoscaling",
        rule="has(self.targetRequestsPerSecond) || has(self.targetCPUUtilizationPercent)"
        " || (self.minReplicas == 0 && self.maxReplicas == 1)",
        message="must have targetRequestsPerSecond, targetCPUUtilizationPercent or both; only with minReplicas 0 and "
        "maxReplicas 1 no load is aimed at",
    ),
    Rule(
        at="spec",
        rule="!has(self.autoscaling) || self.autoscaling.minReplicas > 0"
        " || ((!has(self.variants) || self.variants.size() == 0) && (!has(self.shadows) || self.shadows.size() == 0))",
        message="must not be 0 beside variants or shadows, whose pods run all the time: choose 1 or more",
        field=".autoscaling.minReplicas",
    ),
    Rule(
        at="spec",
        rule="!has(self.autoscaling) || !has(self.autoscaling.targetCPUUtilizationPercent)"
        " || (has(self.server.resources.requests) && has(self.server.resources.requests.cpu))"
        " || (has(self.server.resources.limits) && has(self.server.resources.limits.cpu))",
        message="is in percent of server.resources.requests.cpu: write down how much CPU a pod requests",
        field=".autoscaling.targetCPUUtilizationPercent",
    ),
    Rule(
        at="spec.rollout",
        rule="!has(self.steps) || self.steps.map(step, step.weight).isSorted()",
        message="a weight must not be below the weight of the step before it",
        field=".steps",
    ),
    *(
        Rule(
            at=at,
            rule="!(has(self.pause) && self.pause && has(self.holdSeconds))",
            message=f"a {what} either holds for holdSeconds or pauses: leave one of the two out",
            field=".pause",
        )
        for at, what in (("spec.rollout.steps.items", "step"), ("spec.rollout.preview", "preview"))
    ),
    Rule(
        at="spec.rollout",
        rule="!has(self.preview) || self.strategy == 'BlueGreen'",
        message="is for the strategy BlueGreen: leave it out, or begin a Canary with a step of weight 0",
        field=".preview",
    ),
    Rule(
        at="spec.rollout",
        rule="!has(self.candidateReplicas) || self.strategy == 'Canary'",
        message="is for the strategy Canary: leave it out, the others start the candidate at full size",
        field=".candidateReplicas",
    ),
    Rule(
        at="spec.rollout.gates.prometheus.items",
        rule="has(self.min) || has(self.max)",
        message="must have min, max or both: without them every result would be right",
    ),
    Rule(
        at="spec.rollout.gates.prometheus.items",
        rule="!(has(self.min) && has(self.max)) || double(self.min) <= double(self.max)",
        message="must not be below min",
        field=".max",
    ),
    Rule(
        at="spec.rollout.gates.http.items",
        rule="has(self.path) != has(self.url)",
        message="must have either path, to ask the candidate, or url, to ask a service of your own",
    ),
    *_replay_rules("spec.rollout.gates.replay"),
    Rule(
        at="spec.routing.auth",
        rule="[has(self.none), has(self.apiKeys), has(self.jwt)].filter(chosen, chosen).size() == 1",
        message="must have exactly one of none, apiKeys and jwt; none: {} lets everybody call the endpoint",
    ),
    Rule(
        at="spec.routing.auth.jwt",
        rule="has(self.jwksConfigMapRef) != has(self.jwksSecretRef)",
        message="must have either jwksConfigMapRef or jwksSecretRef, with the issuer's key set in its key jwks.json",
    ),
    Rule(
        at="spec.routing.cors.allowOrigins.items",
        rule="self == '*' || self.matches("
        "'^https?://([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[1-9][0-9]{0,4})?$')",
        message="must be an origin as browsers send it, such as https://app.example.com or http://localhost:3000, in lower "
        "case and without a path; https://*.example.com for its subdomains, or * for every page",
    ),
    Rule(
        at="spec.routing.cors.allowOrigins.items",
        rule="!self.matches('^(http://.*:80|https://.*:443)$')",
        message="must not have the port that browsers leave out: 80 with http, 443 with https",
    ),
    Rule(
        at="spec.routing.cors",
        rule="!(has(self.allowCredentials) && self.allowCredentials && has(self.allowOrigins)"
        " && self.allowOrigins.exists(origin, origin == '*'))",
        message="must not be true while every page may call (allowOrigins has *): name the origins",
        field=".allowCredentials",
    ),
    Rule(
        at="spec.routing.rateLimit",
        rule="has(self.header) == (has(self.by) && self.by == 'Header')",
        message="must be there with by: Header, to name the header whose values are counted, and only then",
        field=".header",
    ),
    Rule(
        at="spec.routing",
        rule="!has(self.rateLimit) || !has(self.rateLimit.by) || self.rateLimit.by != 'Client'"
        " || (has(self.auth) && (has(self.auth.apiKeys) || has(self.auth.jwt)))",
        message="Client needs auth.apiKeys or auth.jwt, which say who a client is: add one of them, or use Header or Address",
        field=".rateLimit.by",
    ),
    Rule(
        at="spec.routing.stickyBy",
        rule="has(self.header) != has(self.cookie)",
        message="must have either header or cookie, whose value keeps a caller with one revision",
    ),
)
