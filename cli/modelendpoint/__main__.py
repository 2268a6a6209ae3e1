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

TRACEBACK = "MEP_TRACEBACK"
"""Variable that asks for the whole story of a bug."""

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
    # https://no-color.org: set to anything but nothing.
    color = False if environment.get("NO_COLOR") else None
    try:
        return _run(arguments, environment, name=name or _program_name(sys.argv[0]), color=color)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CliError as error:
        _complain(str(error), color)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` does. Nothing more may be written when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception as error:
        if environment.get(TRACEBACK):
            raise
        _complain(f"mep has a bug ({type(error).__name__}: {error}). See where: {TRACEBACK}=1 mep …", color)
        return ExitCode.FAILED


def _run(
    arguments: Sequence[str] | None, environment: MutableMapping[str, str], *, name: str, color: bool | None
) -> int:
    words = sys.argv[1:] if arguments is None else list(arguments)
    # Not standalone: click would print what it thinks of an error, and end the process.
    code = mep.main(
        words, prog_name=name, standalone_mode=False, color=color, obj=environment, complete_var="_MEP_COMPLETE"
    )
    sys.stdout.flush()
    return code if isinstance(code, int) else ExitCode.OK


def _complain(sentence: str, color: bool | None) -> None:
    click.echo(f"{click.style('Error:', fg='red')} {sentence}", err=True, color=color)


def _program_name(path: str) -> str:
    """Say what people have typed: kubectl runs ``kubectl-mep`` for ``kubectl mep``."""
    return "kubectl mep" if Path(path).name.startswith("kubectl-") else "mep"


if __name__ == "__main__":
    sys.exit(main())
