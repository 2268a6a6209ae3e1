"""The process ``mep``, also ``kubectl mep``: runs a command and turns what went wrong into a sentence and a code.

The only reader of the environment.
"""

import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

import click

from modelendpoint.commands.root import mep
from modelendpoint.errors import CliError, ExitCode

_LIBRARIES = {
    # ONNX Runtime reports what it runs to its maker, unless it is told not to before it is imported.
    "ORT_DISABLE_TELEMETRY": "1",
    # NumPy's own thread pool would only take memory: ONNX Runtime does the arithmetic.
    "OPENBLAS_NUM_THREADS": "1",
}


def main(
    arguments: Sequence[str] | None = None, environment: MutableMapping[str, str] = os.environ, *, name: str = ""
) -> int:
    """Run the command line; return the exit code."""
    environment.update(_LIBRARIES)
    words = sys.argv[1:] if arguments is None else list(arguments)
    # https://no-color.org: set to anything but nothing.
    color = False if environment.get("NO_COLOR") else None
    try:
        code = mep.main(
            words,
            prog_name=name or _program_name(sys.argv[0]),
            standalone_mode=False,
            color=color,
            obj=environment,
            complete_var="_MEP_COMPLETE",
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CliError as error:
        click.echo(f"{click.style('Error:', fg='red')} {error}", err=True, color=color)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.OK


def _program_name(path: str) -> str:
    """Say what people have typed: kubectl runs ``kubectl-mep`` for ``kubectl mep``."""
    return "kubectl mep" if Path(path).name.startswith("kubectl-") else "mep"


if __name__ == "__main__":
    sys.exit(main())
