"""The two options that say when numbers count as equal, for every command that compares some."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def tolerance_options(command: Command) -> Command:
    """Add ``absolute_tolerance`` and ``relative_tolerance``, with the server's defaults for golden examples."""
    absolute = click.option(
        "--absolute-tolerance",
        type=click.FloatRange(min=0),
        default=1e-5,
        show_default=True,
        metavar="NUMBER",
        help="Largest difference of two numbers that count as equal ...",
    )
    relative = click.option(
        "--relative-tolerance",
        type=click.FloatRange(min=0),
        default=1e-4,
        show_default=True,
        metavar="NUMBER",
        help="... plus this share of the number that is expected.",
    )
    return absolute(relative(command))
