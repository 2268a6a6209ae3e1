"""What ends a command early, and with which exit code. No click here: engines raise these, ``__main__`` shows them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script may look at; the table of docs/cli.md says the same."""

    OK = 0
    FAILED = 1
    """What was asked for is not so, or could not be done: a difference, a finding, a failed request."""
    USAGE = 2
    """The command line can't be understood."""
    TIMED_OUT = 124
    """What was waited for has not come in time; the same code as timeout(1) has."""
    INTERRUPTED = 130
    """Ctrl-C, where it is not the usual way to end the command."""


class CliError(Exception):
    """A command can't go on. The message is for people: what is wrong, and the next command if there is one."""

    exit_code = ExitCode.FAILED


class TimedOut(CliError):
    """What was waited for has not come in time."""

    exit_code = ExitCode.TIMED_OUT
