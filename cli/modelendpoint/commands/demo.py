"""``mep demo``: a folder to try everything with."""

from pathlib import Path

import click

from modelendpoint.output import Format, as_table, output_option, print_document
from modelendpoint.sample import DESCRIPTIONS, write_sample

NEXT = (
    ("mep serve models/v1.onnx", "one server; it prints ready curl lines"),
    ("mep inspect models/v1.onnx", "what the model takes and gives"),
    ("mep diff models/v1.onnx models/v2.onnx --data rows.csv", "what an update would change"),
    ("mep diff models/v2.onnx models/v3.onnx --data rows.csv", "what is wrong with version 3"),
    ("mep lint endpoint.yaml", "what the API server would say"),
    ("mep local up endpoint.yaml --watch", "the endpoint; write v2.onnx into its YAML, then v3.onnx"),
    ("mep local up endpoint.yaml scores.yaml", "and a file of predictions for all rows, in data/predictions"),
)
"""What to try, in this order."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="wine")
@output_option
def demo(folder: Path, output: Format) -> None:
    """Write models, rows and an endpoint to try it all with.

    \b
      mep demo
      mep demo /tmp/wine

    The models tell the grower of a wine from 13 chemical measurements. Nothing is downloaded.
    """
    paths = write_sample(folder)
    if output is not Format.TEXT:
        print_document({"folder": str(folder), "files": [str(path) for path in paths]}, output)
        return
    click.echo(f"Wrote {folder}:\n")
    click.echo(as_table(["FILE", "WHAT IT IS"], list(DESCRIPTIONS.items()), indent="  "))
    click.echo("\nGo on with:\n")
    click.echo(f"  cd {folder}")
    for command, meaning in NEXT:
        click.echo(f"  {command:<56}# {meaning}")
