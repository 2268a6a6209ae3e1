"""How results look: plain columns and colours for people, JSON and YAML for scripts. Nothing is computed here.

Colour is left out by click when the output is no terminal, and by ``__main__`` when ``NO_COLOR`` says so.
"""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import click
import yaml

_GAP = "   "


class Format(StrEnum):
    """What ``-o`` may say."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


output_option = click.option(
    "-o",
    "--output",
    type=click.Choice([each.value for each in Format]),
    default=Format.TEXT.value,
    show_default=True,
    callback=lambda context, parameter, value: Format(value),
    help="How the result is printed.",
)
"""The option ``-o`` of every command that prints a result; the command gets it as ``output``."""


def print_document(document: Any, output: Format) -> None:
    """Print a result as JSON or YAML."""
    if output is Format.YAML:
        click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def as_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, indent: str = "") -> str:
    """Lay cells out in columns as kubectl does; colours within cells do not count as width."""
    lines = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(click.unstyle(line[column])) for line in lines) for column in range(len(headings))]
    return "\n".join(
        indent + _GAP.join(_padded(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_pairs(pairs: Sequence[tuple[str, object]], *, indent: str = "") -> str:
    """Lay out one fact a line, the values below each other."""
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"{indent}{name + ':':<{width + 1}}  {value}" for name, value in pairs)


def good(text: str) -> str:
    """Colour what is as it should be."""
    return click.style(text, fg="green")


def bad(text: str) -> str:
    """Colour what is not as it should be."""
    return click.style(text, fg="red")


def dim(text: str) -> str:
    """Colour what matters less."""
    return click.style(text, dim=True)


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - len(click.unstyle(cell)))
