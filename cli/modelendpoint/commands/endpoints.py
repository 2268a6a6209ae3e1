"""``mep get``, ``mep predict`` and ``mep logs``: looking at endpoints and batch predictions, and asking endpoints."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from modelendpoint.columns import cells, headings
from modelendpoint.commands.place import Place, place_options
from modelendpoint.endpoints import Seen, choose, named
from modelendpoint.errors import CliError
from modelendpoint.local.view import ready_of
from modelendpoint.output import Format, as_table, bad, dim, good, output_option, print_document
from modelendpoint_operator import names
from modelendpoint_operator.api.batch_crd import BATCH_PREDICTION
from modelendpoint_operator.reconciler import utc_now

_CONTENT_TYPES = {".csv": "text/csv", ".json": "application/json"}


@click.command()
@click.argument("name", required=False)
@output_option
@place_options
def get(name: str | None, output: Format, place: Place) -> None:
    """Show the endpoints and batch predictions that run here, or in a namespace.

    \b
      mep get
      mep get churn -o yaml
      mep get -n team-a
    """
    there = place.open()
    found = [*there.endpoints(), *there.batches()]
    bodies = [one["object"] for one in (found if name is None else named(found, name))]
    if output is not Format.TEXT:
        print_document(
            bodies[0] if name and len(bodies) == 1 else {"apiVersion": "v1", "kind": "List", "items": bodies}, output
        )
        return
    batches = [body for body in bodies if body["kind"] == names.BATCH_KIND]
    endpoints = [one for one in found if one["object"] in bodies and one["object"] not in batches]
    tables = [_endpoints(endpoints)] if endpoints or not batches else []
    tables += [_batches(batches)] if batches else []
    click.echo("\n\n".join(tables))


@click.command()
@click.argument("endpoint", required=False)
@click.argument("rows", required=False, type=click.Path(path_type=Path, allow_dash=True))
@place_options
def predict(endpoint: str | None, rows: Path | None, place: Place) -> None:
    """Send rows to an endpoint, and print what it answers.

    \b
      mep predict churn rows.csv
      mep predict rows.json
      echo '{"instances": [[1, 2, 3]]}' | mep predict churn -
      mep predict churn rows.csv -n team-a

    A file that ends in .csv is sent as CSV, anything else as JSON. Which revision has answered is printed to stderr.
    To an endpoint in a cluster they go through the API server, which is for trying it and not for an application.
    """
    if rows is None:
        # Where only one endpoint runs, its name may be left out.
        endpoint, rows = None, Path(endpoint) if endpoint else None
    if rows is None:
        raise click.UsageError("Name a file with rows, or - to read them from standard input.")
    there = place.open()
    seen = choose(there.endpoints(), endpoint)
    content_type = _CONTENT_TYPES.get(rows.suffix, "application/json")
    answer = there.post(seen, _read(rows), content_type=content_type)
    click.echo(answer.body.rstrip(b"\n"))
    revision = next((told for key, told in answer.headers.items() if key.lower() == "x-model-revision"), "-")
    click.echo(dim(f"revision {revision}, status {answer.status}"), err=True)
    if answer.status >= 400:
        raise CliError(f"The endpoint answered {answer.status}.")


@click.command()
@click.argument("name", required=False)
@click.option("--revision", type=click.IntRange(min=1), help="Only the servers of this revision.")
@click.option("--router", is_flag=True, help="Only the router.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is added.")
@place_options
def logs(name: str | None, revision: int | None, router: bool, follow: bool, place: Place) -> None:
    """Print what servers and router, or the workers of a batch prediction, have logged.

    \b
      mep logs churn
      mep logs churn --revision 2 --follow
      mep logs churn -n team-a
    """
    for pod, line in place.open().log_lines(name, revision=revision, only_router=router, follow=follow):
        click.echo(f"{dim(pod)}  {line}")


def _endpoints(shown: Sequence[Seen]) -> str:
    titles = ("NAME", "READY", "REVISION", "CANDIDATE", "WEIGHT", "STATUS", "URL")
    return "\n".join([as_table(titles, [_row(one) for one in shown]), *_messages([one["object"] for one in shown])])


def _batches(bodies: Sequence[Mapping[str, Any]]) -> str:
    rows = [cells(BATCH_PREDICTION, body, now=utc_now()) for body in bodies]
    return "\n".join([as_table(headings(BATCH_PREDICTION), rows), *_messages(bodies)])


def _messages(bodies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for body in bodies:
        if message := ready_of(body).get("message"):
            yield f"{dim(body['metadata']['name'] + ':')} {message}"


def _row(one: Mapping[str, Any]) -> list[object]:
    body = one["object"]
    status, ready = body.get("status", {}), ready_of(body)
    candidate = status.get("candidate") or {}
    is_ready = ready.get("status", "False")
    return [
        body["metadata"]["name"],
        good(is_ready) if is_ready == "True" else bad(is_ready),
        _named(status.get("stable") or {}),
        _named(candidate),
        candidate.get("weight", ""),
        ready.get("reason", "Starting"),
        one["url"],
    ]


def _named(revision: Mapping[str, Any]) -> str:
    if not revision:
        return ""
    return f"{revision['revision']} ({revision['version']})" if revision.get("version") else str(revision["revision"])


def _read(rows: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(rows) == "-" else rows.read_bytes()
    except OSError as error:
        raise CliError(f"{rows} can't be read: {error.strerror}.") from error
