"""``mep examples``: golden examples from a model's own answers."""

from contextlib import ExitStack
from pathlib import Path

import click

from modelendpoint.commands.tolerance import tolerance_options
from modelendpoint.errors import CliError
from modelendpoint.models.golden_examples import Made, make_examples
from modelendpoint.models.opened import open_model, read_rows
from modelendpoint_server.golden import Tolerance


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Rows to ask, as CSV or JSON.")
@click.option("-f", "--file", type=click.Path(path_type=Path), help="Where to write; without it standard output.")
@click.option("--rows", type=click.IntRange(min=1), default=20, show_default=True, help="Most examples to write.")
@click.option("--only", multiple=True, metavar="OUTPUT", help="Expect this output only; may be given several times.")
@tolerance_options
def examples(
    models: tuple[str, ...],
    data: Path,
    file: Path | None,
    rows: int,
    only: tuple[str, ...],
    absolute_tolerance: float,
    relative_tolerance: float,
) -> None:
    """Write golden examples of a model's answers.

    \b
      mep examples v1.onnx --data rows.csv -f golden.json
      mep examples v1.onnx v2.onnx --data rows.csv --only label -f golden.json

    The first of MODELS gives the answers. Rows that one of the others answers differently are left out, so that the
    examples say what every version must know. Upload the file beside the model and name it in
    spec.model.goldenExamples.uri: a model that does not reproduce it gets no request.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(open_model(model)) for model in models]
        made = make_examples(
            opened,
            read_rows(data, opened[0].signature),
            most=rows,
            outputs=only,
            tolerance=Tolerance(absolute_tolerance, relative_tolerance),
        )
    _write(made, file)


def _write(made: Made, file: Path | None) -> None:
    if file is None:
        click.echo(made.as_json(), nl=False)
        return
    try:
        file.write_bytes(made.as_json())
    except OSError as error:
        raise CliError(f"{file} can't be written ({error.strerror}).") from error
    count = f"{len(made.left_out)} {'row' if len(made.left_out) == 1 else 'rows'}"
    left_out = f"; {count} left out, on which the models differ" if made.left_out else ""
    click.echo(f"Wrote {len(made.examples)} golden examples to {file}{left_out}.")
