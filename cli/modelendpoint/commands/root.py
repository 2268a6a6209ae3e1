"""The group ``mep``: which commands there are and where each of them lives.

A command's module is imported when the command is run, so that ``mep --help`` does not wait for ONNX Runtime and the
Kubernetes client. To add a command, write its module and a line in ``SECTIONS``.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from modelendpoint import __version__
from modelendpoint.errors import CliError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a command is, and what the list of commands says about it."""

    place: str
    """Module and name, as ``pkgutil.resolve_name`` takes them."""
    summary: str


SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "Begin": {
        "demo": Entry(
            place="modelendpoint.commands.demo:demo", summary="Write models, rows and an endpoint to try it all with."
        ),
    },
    "Models": {
        "inspect": Entry(
            place="modelendpoint.commands.inspection:inspect_model", summary="Show what a model takes, gives and needs."
        ),
        "diff": Entry(
            place="modelendpoint.commands.difference:diff", summary="Compare two models: contract and answers."
        ),
        "examples": Entry(
            place="modelendpoint.commands.examples:examples", summary="Write golden examples of a model's answers."
        ),
        "profile": Entry(
            place="modelendpoint.commands.reference:profile",
            summary="Write the reference profile of a model's data.",
        ),
        "serve": Entry(place="modelendpoint.commands.serve:serve", summary="Serve one model on this machine."),
        "load": Entry(
            place="modelendpoint.commands.load:load", summary="Send predictions at a constant rate and judge answers."
        ),
    },
    "YAML": {
        "lint": Entry(
            place="modelendpoint.commands.lint:lint", summary="Say what the API server would say about a YAML file."
        ),
    },
    "Endpoints, on this machine or in a cluster": {
        "local": Entry(
            place="modelendpoint.commands.local:local",
            summary="Run endpoints and batch predictions on this machine, from the YAML that a cluster takes.",
        ),
        "get": Entry(
            place="modelendpoint.commands.endpoints:get",
            summary="Show the endpoints and batch predictions that run here, or in a namespace.",
        ),
        "predict": Entry(
            place="modelendpoint.commands.endpoints:predict",
            summary="Send rows to an endpoint, and print what it answers.",
        ),
        "logs": Entry(
            place="modelendpoint.commands.endpoints:logs",
            summary="Print what servers and router, or the workers of a batch prediction, have logged.",
        ),
        "promote": Entry(place="modelendpoint.commands.orders:promote", summary="Go on from a pause of a rollout."),
        "promote-full": Entry(
            place="modelendpoint.commands.orders:promote_full",
            summary="Give a candidate all traffic now, without the steps that are left.",
        ),
        "abort": Entry(
            place="modelendpoint.commands.orders:abort",
            summary="End a rollout: all traffic stays with the stable revision.",
        ),
        "retry": Entry(
            place="modelendpoint.commands.orders:retry",
            summary="Try a rejected revision, or a failed batch prediction, again.",
        ),
        "pause": Entry(place="modelendpoint.commands.orders:pause", summary="Stay in the step that a rollout is in."),
        "resume": Entry(place="modelendpoint.commands.orders:resume", summary="Go on with a rollout that was paused."),
        "rollback-to": Entry(
            place="modelendpoint.commands.orders:rollback_to", summary="Go back to a revision that has served before."
        ),
        "undo": Entry(
            place="modelendpoint.commands.orders:undo", summary="Go back to a revision that has served before."
        ),
    },
    "Shell": {
        "completion": Entry(
            place="modelendpoint.commands.completion:completion", summary="Print the completion script of a shell."
        ),
    },
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands."""
        return [name for section in SECTIONS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        for section in SECTIONS.values():
            if cmd_name in section:
                return _import(cmd_name, section[cmd_name])
        return None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands from the table: a key pressed in a shell must not wait for imports."""
        commands = [
            CompletionItem(name, help=entry.summary)
            for section in SECTIONS.values()
            for name, entry in section.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, from the table and without importing them."""
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.summary) for name, entry in section.items()])


def _import(name: str, entry: Entry) -> click.Command:
    try:
        found: Any = pkgutil.resolve_name(entry.place)
    except ModuleNotFoundError as error:
        raise CliError(
            f"mep {name} needs the Python package {error.name}, which is not installed here. docs/cli.md says on which"
            " machines all is there."
        ) from error
    command: click.Command = found
    return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Exit codes: 0 done, 1 a difference, a finding or a failure, 2 wrong usage, 124 timed out, 130 interrupted.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def mep() -> None:
    """Run ONNX models as endpoints: on this machine, and the same YAML on Kubernetes.

    \b
      mep demo && cd wine
      mep serve models/v1.onnx
      mep local up endpoint.yaml --watch
    """
