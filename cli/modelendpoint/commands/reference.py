"""``mep profile``: what a model's data look like, for later comparison with what an endpoint is sent."""

import hashlib
from pathlib import Path

import click

from modelendpoint.errors import CliError
from modelendpoint.models.opened import open_model
from modelendpoint.models.profile_data import ProfiledData, profile_data

_MOST_NAMES = 5


@click.command()
@click.argument("data")
@click.option("--model", required=True, metavar="MODEL", help="The model that gives the outputs.")
@click.option("-f", "-o", "--file", type=click.Path(path_type=Path), help="Where to write; without it standard output.")
@click.option(
    "--features",
    metavar="COLUMN,…",
    help="The columns of DATA that the model gets, in its order; without it those that the model names.",
)
def profile(data: str, model: str, file: Path | None, features: str | None) -> None:
    """Write the reference profile of a model's data.

    \b
      mep profile train.csv --model v1.onnx -f profile.json
      mep profile train.parquet --model v1.onnx --features age,income,plan -f profile.json

    DATA is a file, or a folder of files, of rows like those the model was trained with: CSV, Parquet or JSON Lines. Columns that
    the model does not take, such as labels, are not looked at. The profile says of each column, and of each output
    of the model, how its values are spread and how many are missing; no rows are in it.
    """
    names = [name.strip() for name in features.split(",")] if features else []
    with open_model(model, allow_non_finite=True) as opened:
        made = profile_data(opened, data, features=names)
    _write(made, file)
    for line in _left_out(made):
        click.echo(line, err=True)


def _write(made: ProfiledData, file: Path | None) -> None:
    content = made.profile.as_json()
    if file is None:
        click.echo(content, nl=False)
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CliError(f"{file} can't be written ({error.strerror}).") from error
    profile = made.profile
    click.echo(
        f"Wrote the profile of {profile.rows} rows to {file}: {_count(len(profile.inputs), 'input column')},"
        f" {_count(len(profile.outputs), 'output column')}, sha256 {hashlib.sha256(content).hexdigest()}"
    )


def _left_out(made: ProfiledData) -> list[str]:
    """Say what is not in the profile."""
    lines = []
    if made.rejected_rows:
        lines.append(f"{_count(made.rejected_rows, 'row')} left out. The first: {made.first_rejected}")
    if made.empty_columns:
        shown = ", ".join(made.empty_columns[:_MOST_NAMES])
        more = f" and {len(made.empty_columns) - _MOST_NAMES} more" if len(made.empty_columns) > _MOST_NAMES else ""
        lines.append(f"Not in it, as they have no value in any row: {shown}{more}.")
    return lines


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
