"""What a BatchPrediction must keep to beyond the types and limits of its fields: CEL, checked by the API server."""

from dataclasses import replace

from modelendpoint_operator.api.rules import RULES, Rule, configmap_rule, credentials_rule, data_rules

NAME_LENGTH = 50
"""Longest name: its Jobs add up to 10 characters, and the name of a worker's host has at most 63."""
SCHEDULED_NAME_LENGTH = 40
"""Longest name with a schedule: runs add 9 characters to it."""
PLACEHOLDERS = ("ScheduledDate", "ScheduledHour", "ScheduledTime", "Run")


def _placeholder_rule(at: str) -> Rule:
    return Rule(
        at=f"{at}.uri",
        rule=f"!self.contains('{{{{') || self.matches('^([^{{}}]|[{{]{{2}} ?[.]({'|'.join(PLACEHOLDERS)}) ?[}}]{{2}})*$')",
        message="knows the placeholders " + ", ".join(f"{{{{ .{name} }}}}" for name in PLACEHOLDERS) + " only",
    )


def _moved(at: str, to: str) -> tuple[Rule, ...]:
    """Take the rules of a part that a ModelEndpoint has too."""
    return tuple(replace(rule, at=to + rule.at.removeprefix(at)) for rule in RULES if rule.at.startswith(at))


def _model_rules(at: str) -> tuple[Rule, ...]:
    return (
        *_moved("spec.model.uri", f"{at}.uri"),
        credentials_rule(at),
    )


_FIXED = (
    "model",
    "endpointRef",
    "compareWith",
    "columns",
    "errorThreshold",
    "resources",
    "serviceAccountName",
    "input",
    "output",
)
_FIXED_NUMBERS = ("shardRows", "shardBytes", "retries")

BATCH_RULES = (
    Rule(
        at="",
        rule=f"self.metadata.name.size() <= (has(self.spec.schedule) ? {SCHEDULED_NAME_LENGTH} : {NAME_LENGTH})"
        " && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        message=f"Jobs are named after it, so it must have at most {NAME_LENGTH} characters, {SCHEDULED_NAME_LENGTH} with "
        "a schedule: lower-case letters, digits and '-', and no '-' first or last",
        field=".metadata.name",
    ),
    Rule(
        at="spec",
        rule="has(self.model) != has(self.endpointRef)",
        message="must have either model or endpointRef: the model's own address, or the ModelEndpoint that has it",
    ),
    *_model_rules("spec.model"),
    *_model_rules("spec.compareWith.model"),
    Rule(
        at="spec.compareWith",
        rule="has(self.model) != has(self.revision)",
        message="must have either model, or a revision of the endpoint in endpointRef",
    ),
    Rule(
        at="spec",
        rule="!has(self.compareWith) || !has(self.compareWith.revision) || has(self.endpointRef)",
        message="is a revision of the endpoint in endpointRef: add endpointRef, or name a model",
        field=".compareWith.revision",
    ),
    *data_rules("spec.input"),
    _placeholder_rule("spec.input"),
    configmap_rule("spec.input.uri"),
    *data_rules("spec.output"),
    _placeholder_rule("spec.output"),
    Rule(
        at="spec.output.uri",
        rule="!self.matches('[*?[]')",
        message="must be one folder: leave out *, ? and [",
    ),
    Rule(
        at="spec",
        rule="!self.input.uri.endsWith('/') || !self.output.uri.startsWith(self.input.uri)",
        message="must not be inside input.uri: what is written would be read",
        field=".output.uri",
    ),
    Rule(
        at="spec",
        rule="has(self.schedule) || !(self.input.uri.contains('{{') || self.output.uri.contains('{{'))",
        message="placeholders are for runs of a schedule: write the date itself, or add a schedule",
        field=".input.uri",
    ),
    Rule(
        at="spec",
        rule="!has(self.schedule) || self.output.uri.contains('{{')",
        message="must give each run a folder of its own, such as s3://reports/churn/dt={{ .ScheduledDate }}/",
        field=".output.uri",
    ),
    Rule(
        at="spec.errorThreshold",
        rule="has(self.rows) != has(self.percent)",
        message="must have either rows or percent",
    ),
    *_moved("spec.server.resources", "spec.resources"),
    Rule(
        at="spec",
        rule="has(self.schedule) == has(oldSelf.schedule)",
        message="a schedule can't be added or taken away: make another BatchPrediction",
        field=".schedule",
    ),
    *(
        Rule(
            at="spec",
            rule=f"has(self.schedule) || (has(self.{name}) == has(oldSelf.{name})"
            f" && (!has(self.{name}) || self.{name} == oldSelf.{name}))",
            message="can't be changed once a run has it: make another BatchPrediction, or delete this one first",
            field=f".{name}",
        )
        for name in (*_FIXED, *_FIXED_NUMBERS)
    ),
)
