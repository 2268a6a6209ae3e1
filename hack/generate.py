"""Write everything that is generated: CRD, reference pages, the chart's copy and README, Argo CD's settings.

``python hack/generate.py`` (``make generate``). The contract tests compare what is on disk with `generated_files`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from dashboards import render_dashboards
from modelendpoint_operator.api.batch_crd import BATCH_PREDICTION
from modelendpoint_operator.api.crd import MODEL_ENDPOINT, CustomResource, build_crd, build_schema, schema_at
from modelendpoint_operator.names import API_VERSION, GROUP, KIND
from modelendpoint_operator.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent
CHART = Path("charts/modelendpoint")
ARGOCD = Path("docs/gitops/argocd")
KINDS = (MODEL_ENDPOINT, BATCH_PREDICTION)

HEADER = "# Written by `make generate` from operator/modelendpoint_operator/api. Never edit it here.\n"


def generated_files() -> dict[Path, str]:
    """Render every generated file, by its path in the repository."""
    crds = {f"{GROUP}_{kind.plural}.yaml": HEADER + to_yaml(build_crd(kind)) for kind in KINDS}
    return {
        **{folder / name: crd for name, crd in crds.items() for folder in (Path("crds"), CHART / "files/crds")},
        **{Path(f"docs/reference/{kind.singular}.md"): render_reference(kind) for kind in KINDS},
        **{CHART / "files/dashboards" / name: text for name, text in render_dashboards().items()},
        CHART / "README.md": render_chart_readme((ROOT / CHART / "values.yaml").read_text()),
        Path("docs/reference/settings.md"): render_settings(),
        ARGOCD / "argocd-cm.yaml": render_argocd_settings(ROOT / ARGOCD),
    }


class _PlainDumper(yaml.SafeDumper):
    """Writes YAML for people: no anchors to look up, and scripts as lines."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_PlainDumper.add_representer(str, _represent_text)


def to_yaml(document: Any) -> str:
    """Write a document as YAML, in the order of its keys."""
    return yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True)


# The API reference.

ABOUT_REFERENCE = (
    "This page is written from the same models as the CRD; `kubectl explain {short}.spec --recursive` says the same. "
    "Unknown fields and wrong values are refused by the API server with the field's name."
)


def render_reference(kind: CustomResource) -> str:
    """Render the reference page of a kind from its schema."""
    schema, short = build_schema(kind), kind.short_names[0]
    parts = [
        f"# {kind.kind}",
        f"`{API_VERSION}`, short name `{short}`. {schema['description']}",
        ABOUT_REFERENCE.format(short=short),
        _smallest_example(kind),
    ]
    for root in ("spec", "status"):
        for path, part in _objects(schema_at(schema, root), root):
            parts += [f"## {path}", _prose(part.get("description", "")), _fields_table(part)]
    parts += ["## Rules", "Beyond types and limits, the API server checks:", _rules_table(kind)]
    parts += [f"## Columns of `kubectl get {short}`", "The last ones are shown by `-o wide`.", _columns_table(kind)]
    return HEADER.replace("# ", "<!-- ").replace("\n", " -->\n\n") + "\n\n".join(parts) + "\n"


SMALLEST_SPECS: dict[str, dict[str, Any]] = {
    MODEL_ENDPOINT.kind: {"model": {"uri": "s3://models/churn/3/model.onnx", "version": "3"}},
    BATCH_PREDICTION.kind: {
        "endpointRef": {"name": "churn"},
        "input": {"uri": "s3://customers/2026-11/"},
        "output": {"uri": "s3://reports/churn/2026-11/"},
    },
}


def _smallest_example(kind: CustomResource) -> str:
    example = {
        "apiVersion": API_VERSION,
        "kind": kind.kind,
        "metadata": {"name": "churn"},
        "spec": SMALLEST_SPECS[kind.kind],
    }
    return f"The smallest one:\n\n```yaml\n{to_yaml(example)}```"


def _objects(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, part in schema["properties"].items():
        items = part.get("items", {})
        if "properties" in part:
            yield from _objects(part, f"{path}.{name}")
        elif "properties" in items:
            yield from _objects(items, f"{path}.{name}[]")


def _fields_table(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (
            f"`{name}`",
            _type_name(part),
            "required" if name in required else _code(part.get("default")),
            _limits(part),
            _prose(part.get("description", "")),
        )
        for name, part in schema["properties"].items()
    ]
    return _table(("Field", "Type", "Default", "Limits", "Meaning"), rows)


def _type_name(schema: dict[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if schema.get("format") == "date-time":
        return "time"
    if schema["type"] == "array":
        return f"list of {_type_name(schema['items'])}s"
    if "additionalProperties" in schema:
        return f"map of {_type_name(schema['additionalProperties'])}s"
    return str(schema["type"])


def _limits(schema: dict[str, Any]) -> str:
    if "x-kubernetes-int-or-string" in schema:
        return ""
    if "enum" in schema:
        return ", ".join(_code(value) for value in schema["enum"])
    if "maximum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema:
        exactly = schema.get("minLength") == schema["maxLength"]
        return f"{'exactly' if exactly else 'at most'} {schema['maxLength']} characters"
    if "maxItems" in schema:
        return f"at most {schema['maxItems']} items"
    return ""


def _prose(text: str) -> str:
    """Keep ``<name>`` from being taken for HTML."""
    return text.replace("<", "&lt;")


def _code(value: Any) -> str:
    if value is None:
        return ""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
    return f"`{text}`"


def _rules_table(kind: CustomResource) -> str:
    rows = [(f"`{_rule_path(rule.at, rule.field)}`", _prose(rule.message)) for rule in kind.rules]
    return _table(("At", "Rule"), rows)


def _rule_path(at: str, field: str) -> str:
    return f"{at.replace('.items', '[]')}{field}".removeprefix(".")


def _columns_table(kind: CustomResource) -> str:
    rows = [(column[0].upper(), column[3]) for column in kind.columns + kind.wide_columns]
    return _table(("Column", "Meaning"), rows)


# The operator's settings.


def render_settings() -> str:
    """Render the page of the operator's settings from the model that reads them."""
    rows = [
        (f"`{PREFIX}{name.upper()}`", _code(value or None), part["description"])
        for name, part in Settings.model_json_schema()["properties"].items()
        for value in [getattr(Settings(), name)]
    ]
    return SETTINGS_PAGE + _table(("Variable", "Default", "Meaning"), rows) + "\n"


SETTINGS_PAGE = """\
<!-- Written by `make generate` from operator/modelendpoint_operator/settings.py. Never edit it here. -->

# Settings of the operator

Environment variables, for one installation. The Helm chart sets most of them from its
[values](../../charts/modelendpoint/README.md); set the others by `extraEnv`. A variable with this prefix that the operator
does not know, or a wrong value, ends it at the start with a message that names the variable.

"""

# The chart's README.


def render_chart_readme(values_text: str) -> str:
    """Render the chart's README: the written part, and the table of values from the comments in values.yaml."""
    intro = (ROOT / CHART / "files/README.intro.md").read_text()
    values = yaml.safe_load(values_text)
    rows = [
        (f"`{path}`", _code(_value_at(values, path)), description)
        for path, description in value_descriptions(values_text).items()
    ]
    return f"{intro}\n## Values\n\n{_table(('Value', 'Default', 'Meaning'), rows)}\n"


def value_descriptions(values_text: str) -> dict[str, str]:
    """Read the comments of values.yaml: the lines from ``# --`` to the key below describe that key."""
    descriptions: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in values_text.splitlines():
        text = line.strip()
        if text.startswith("# -- "):
            comment = [text.removeprefix("# -- ")]
        elif text.startswith("#") and comment:
            comment.append(text.removeprefix("#").strip())
        elif ":" in text and not text.startswith(("#", "-")):
            depth = len(line) - len(line.lstrip())
            parents = [parent for parent in parents if parent[0] < depth] + [(depth, text.split(":")[0])]
            if comment:
                descriptions[".".join(name for _, name in parents)] = " ".join(comment)
            comment = []
    return descriptions


def _value_at(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


# Argo CD's settings.


def render_argocd_settings(folder: Path) -> str:
    """Render the entries of ConfigMap argocd-cm that teach Argo CD the health of our kinds and the actions of ModelEndpoint."""
    actions = {
        "discovery.lua": (folder / "actions/discovery.lua").read_text(),
        "definitions": [
            {"name": name, "action.lua": (folder / "actions" / name / "action.lua").read_text()} for name in ACTIONS
        ],
    }
    health = (folder / "health.lua").read_text()
    settings = {
        **{f"resource.customizations.health.{GROUP}_{kind.kind}": health for kind in KINDS},
        f"resource.customizations.actions.{GROUP}_{KIND}": to_yaml(actions),
    }
    return "# Written by `make generate` from the Lua files beside it.\n" + to_yaml({"data": settings})


ACTIONS = ("promote", "promote-full", "pause", "resume", "abort", "retry", "rollback-to")


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def main() -> None:
    """Write the files that changed, and say which."""
    for path, text in generated_files().items():
        file = ROOT / path
        if not file.exists() or file.read_text() != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            print(f"Wrote {path}")


if __name__ == "__main__":
    main()
