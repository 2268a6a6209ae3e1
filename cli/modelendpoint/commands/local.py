"""``mep local up`` and ``mep local down``: endpoints and batch predictions on this machine, from the YAML that a cluster takes."""

import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click
import yaml
from rich.console import Console
from rich.live import Live

from modelendpoint.commands.state import state_option
from modelendpoint.errors import TimedOut
from modelendpoint.local.client import LocalEndpoints
from modelendpoint.local.events import Event
from modelendpoint.local.instance import Instance
from modelendpoint.local.state import NAME, StateFolder
from modelendpoint.local.view import draw
from modelendpoint.output import Format, bad, dim, output_option

REDRAW_SECONDS = 0.5
DOWN_SECONDS = 30.0


@click.group()
def local() -> None:
    """Run endpoints and batch predictions on this machine, from the YAML that a cluster takes.

    \b
      mep local up endpoint.yaml --watch
      mep local down
    """


@local.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-w", "--watch", is_flag=True, help="Apply the files and the models that they name whenever they change.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="Port of the first endpoint; others get the next free ones.",
)
@click.option("--keep", is_flag=True, help="Keep revisions and status for the next time.")
@click.option("--plain", is_flag=True, help="Print lines, as when the output is no terminal.")
@output_option
@state_option
@click.pass_obj
def up(
    environment: Mapping[str, str],
    files: tuple[Path, ...],
    watch: bool,
    port: int,
    keep: bool,
    plain: bool,
    output: Format,
    state: Path | None,
) -> None:
    """Run endpoints until Ctrl-C: model servers, the router and the rollout engine; and the workers of batch predictions.

    \b
      mep local up endpoint.yaml --watch
      mep local up first.yaml second.yaml --port 9000

    Everything ends with Ctrl-C, and nothing is left behind. After a crash the next `mep local up` in this folder ends
    what was left running, and goes on from there. With -o json or yaml every Event is printed as a document.
    """
    console = Console(highlight=False, soft_wrap=True)
    is_drawn = console.is_terminal and not plain and output is Format.TEXT
    say: Callable[[str], None] = (lambda text: console.print(text, markup=False)) if is_drawn else _say_aside
    instance = Instance(
        StateFolder(state or Path.cwd() / NAME), files, environment=environment, say=say, first_port=port
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: instance.ask_to_stop())
    if not is_drawn:
        instance.events.listen(lambda event: click.echo(_event(event, output)))
    try:
        for name, url in instance.start(watch=watch).items():
            say(f"{name} will answer at {url}")
        if is_drawn:
            _redraw(instance, console)
        while not instance.wait(REDRAW_SECONDS):
            pass
    finally:
        instance.stop(keep=keep)


@local.command()
@state_option
def down(state: Path | None) -> None:
    """End the endpoints that run here, as Ctrl-C does.

    \b
      mep local down
    """
    if not LocalEndpoints.find(Path.cwd(), given=state).down(seconds=DOWN_SECONDS):
        raise TimedOut(f"The local instance has not ended within {DOWN_SECONDS:.0f} s. Look at its terminal.")


def _redraw(instance: Instance, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as live:
        while not instance.wait(REDRAW_SECONDS):
            live.update(draw(instance.snapshot()), refresh=True)


def _say_aside(text: str) -> None:
    click.echo(text, err=True)


def _event(event: Event, output: Format) -> str:
    if output is Format.JSON:
        return json.dumps(asdict(event), ensure_ascii=False)
    if output is Format.YAML:
        return yaml.safe_dump(asdict(event), sort_keys=False, allow_unicode=True, explicit_start=True).rstrip()
    time = datetime.fromisoformat(event.time).astimezone().strftime("%H:%M:%S")
    reason = bad(event.reason) if event.type == "Warning" else event.reason
    return f"{dim(time)}  {event.name}  {reason}  {event.message}"
