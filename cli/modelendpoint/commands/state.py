"""Options of every command that talks to a local instance."""

from pathlib import Path

import click

state_option = click.option(
    "--state",
    envvar="MEP_STATE",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="State folder of the instance. Without it the nearest .modelendpoint above this folder.",
)
"""The option ``--state``; the command gets it as ``state``."""
