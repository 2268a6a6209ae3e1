"""``mep get``, ``mep predict`` and ``mep logs``: looking at the endpoints that run here, and asking them."""

import http.client
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from modelendpoint.commands.state import state_option
from modelendpoint.errors import CliError
from modelendpoint.local.client import Client, choose
from modelendpoint.local.view import ready_of
from modelendpoint.output import Format, as_table, bad, dim, good, output_option, print_document

_CONTENT_TYPES = {".csv": "text/csv", ".json": "application/json"}
ANSWER_SECONDS = 70.0
"""Longer than the router's own limit, unless the spec says otherwise: it shall be the one to say so."""
FOLLOW_SECONDS = 0.3


@click.command()
@click.argument("endpoint", required=False)
@output_option
@state_option
def get(endpoint: str | None, output: Format, state: Path | None) -> None:
    """Show the endpoints that run here.

    \b
      mep get
      mep get churn -o yaml
    """
    found = Client.find(Path.cwd(), given=state).snapshot()["endpoints"]
    shown = found if endpoint is None else [choose(found, endpoint)]
    if output is not Format.TEXT:
        bodies = [one["object"] for one in shown]
        print_document(bodies[0] if endpoint else {"apiVersion": "v1", "kind": "List", "items": bodies}, output)
        return
    headings = ("NAME", "READY", "REVISION", "CANDIDATE", "WEIGHT", "STATUS", "URL")
    click.echo(as_table(headings, [_row(one) for one in shown]))
    for one in shown:
        if message := ready_of(one["object"]).get("message"):
            click.echo(f"{dim(one['object']['metadata']['name'] + ':')} {message}")


@click.command()
@click.argument("endpoint", required=False)
@click.argument("rows", required=False, type=click.Path(path_type=Path, allow_dash=True))
@state_option
def predict(endpoint: str | None, rows: Path | None, state: Path | None) -> None:
    """Send rows to an endpoint that runs here, and print what it answers.

    \b
      mep predict churn rows.csv
      mep predict rows.json
      echo '{"instances": [[1, 2, 3]]}' | mep predict churn -

    A file that ends in .csv is sent as CSV, anything else as JSON. Which revision has answered is printed to stderr.
    """
    if rows is None:
        # Where only one endpoint runs, its name may be left out.
        endpoint, rows = None, Path(endpoint) if endpoint else None
    if rows is None:
        raise click.UsageError("Name a file with rows, or - to read them from standard input.")
    url = Client.find(Path.cwd(), given=state).endpoint(endpoint)["url"]
    content_type = _CONTENT_TYPES.get(rows.suffix, "application/json")
    status, headers, body = _post(url, _read(rows), content_type=content_type)
    click.echo(body.rstrip(b"\n"))
    click.echo(dim(f"revision {headers.get('x-model-revision', '-')}, status {status}"), err=True)
    if status >= 400:
        raise CliError(f"The endpoint answered {status}.")


@click.command()
@click.argument("endpoint", required=False)
@click.option("--revision", type=click.IntRange(min=1), help="Only the servers of this revision.")
@click.option("--router", is_flag=True, help="Only the router.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is added.")
@state_option
def logs(endpoint: str | None, revision: int | None, router: bool, follow: bool, state: Path | None) -> None:
    """Print what servers and router have logged.

    \b
      mep logs churn
      mep logs churn --revision 2 --follow
    """
    client = Client.find(Path.cwd(), given=state)
    read: dict[str, int] = {}
    while True:
        for pod in client.endpoint(endpoint)["pods"]:
            if (revision in (None, pod["revision"])) and (not router or pod["component"] == "router"):
                for line in _new_lines(Path(pod["log"]), pod["name"], read):
                    click.echo(f"{dim(pod['name'])}  {line}")
        if not follow:
            return
        time.sleep(FOLLOW_SECONDS)


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


def _post(url: str, body: bytes, *, content_type: str) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_SECONDS)
    try:
        connection.request("POST", "/predict", body, {"Content-Type": content_type})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    except (OSError, http.client.HTTPException) as error:
        raise CliError(f"{url} does not answer ({error}). `mep get` shows what it is doing.") from error
    finally:
        connection.close()


def _new_lines(path: Path, name: str, read: dict[str, int]) -> Iterator[str]:
    """Read whole lines that were added since the last time."""
    try:
        with path.open("rb") as file:
            file.seek(read.get(name, 0))
            content = file.read()
    except OSError:
        return
    whole = content[: content.rfind(b"\n") + 1]
    read[name] = read.get(name, 0) + len(whole)
    yield from whole.decode(errors="replace").splitlines()
