"""``mep lint``: what the API server would say, offline."""

import dataclasses
from pathlib import Path

import click

from modelendpoint.errors import ExitCode
from modelendpoint.linting.documents import find_files, read_documents
from modelendpoint.linting.lint import is_ours, lint_document
from modelendpoint.output import Format, bad, good, output_option, print_document


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@output_option
def lint(paths: tuple[Path, ...], output: Format) -> None:
    """Say what the API server would say about a YAML file.

    \b
      mep lint endpoint.yaml
      mep lint deploy/ more.yaml -o json
      kustomize build . | mep lint -

    PATHS are files, folders or - for standard input. Of folders, all YAML and JSON files
    are read. Objects of other kinds are left out. The exit code is 1 when there is something to say.
    """
    findings, looked_at, others = [], 0, 0
    for file, is_named in find_files(paths):
        documents, unreadable = read_documents(file)
        findings += unreadable
        for document in documents:
            if is_ours(document, is_named=is_named):
                looked_at += 1
                findings += lint_document(document)
            else:
                others += 1
    if output is Format.TEXT:
        for finding in findings:
            click.echo(f"{click.style(f'{finding.file}:{finding.line}:', bold=True)} {_without_place(str(finding))}")
        click.echo(_summary(len(findings), looked_at, others))
    else:
        result = {"objects": looked_at, "others": others, "findings": list(map(dataclasses.asdict, findings))}
        print_document(result, output)
    if findings:
        click.get_current_context().exit(ExitCode.FAILED)


def _without_place(text: str) -> str:
    return text.split(": ", 1)[1]


def _summary(findings: int, objects: int, others: int) -> str:
    aside = f"; {others} of other kinds left out" if others else ""
    if findings:
        return bad(f"{findings} {'mistake' if findings == 1 else 'mistakes'}") + f" in {_objects(objects)}{aside}."
    return good(f"{_objects(objects)}, nothing to say") + f"{aside}."


def _objects(count: int) -> str:
    return f"{count} {'object' if count == 1 else 'objects'}"
