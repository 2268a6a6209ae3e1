"""What the demo prints: steps with their time, commands as a person would type them, and what these answered.

Runs the very commands that it prints. No knowledge of the story.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

BOLD, DIM, GREEN, RED, PLAIN = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m"

LINES_OF_A_FAILURE = 20
LONGEST_SILENCE_SECONDS = 30.0


class DemoFailed(Exception):
    """The demo can't go on; the message says what a person should do."""


class Terminal:
    """Prints, runs, and keeps the time."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        folder: Path,
        out: TextIO = sys.stdout,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.environment = dict(environment)
        """What the commands find in their environment; the story adds to it."""
        self._folder = folder
        self._out = out
        self._clock = clock
        self._start = self._last_print = clock()
        self._is_coloured = out.isatty()

    @property
    def elapsed(self) -> str:
        """The time since the start, as m:ss."""
        minutes, seconds = divmod(int(self._clock() - self._start), 60)
        return f"{minutes}:{seconds:02}"

    def step(self, number: int, of: int, title: str) -> None:
        """Begin a step."""
        self._print(f"\n{self._style(BOLD, f'[{number}/{of}] {title}')}  {self._style(DIM, f'({self.elapsed})')}")

    def say(self, text: str = "") -> None:
        """Print text of our own."""
        for line in text.splitlines() or [""]:
            self._print(f"  {line}".rstrip())

    def succeed(self, text: str) -> None:
        """Print a fact that was checked."""
        self._print(f"  {self._style(GREEN, '✓')} {text}")

    def fail(self, text: str) -> None:
        """Print why the demo ends here."""
        self._print(f"\n{self._style(RED, '✗')} {text}  {self._style(DIM, f'({self.elapsed})')}")

    def run(self, command: str, *, most_characters: int | None = None) -> str:
        """Print a command, run it in a shell, print what it says while it says it, and return that.

        With ``most_characters`` only the beginning of the answer is shown, when it is complete.
        Raises ``DemoFailed`` with the command when it ends with another code than 0.
        """
        self._show(command)
        code, said = self._follow(command, self._ignore if most_characters is not None else self.say)
        if most_characters is not None:
            self.say(said if len(said) <= most_characters else f"{said[:most_characters]}…")
        _require_success(code, command)
        return said

    def run_long(self, command: str) -> str:
        """Run a command that takes its time: of its details, which are indented, only the latest one is shown.

        In a log, where nothing can be shown in the place of something else, that is one every half minute.
        """
        self._show(command)
        code, said = self._follow(command, self._say_or_flash)
        self._flash("")
        if code:
            last = said.splitlines()[-LINES_OF_A_FAILURE:]
            self.say("\n".join(line for line in last if line.startswith("  ")))  # the others are there already
        _require_success(code, command)
        return said

    def _follow(self, command: str, show: Callable[[str], None]) -> tuple[int, str]:
        said = ""
        with subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=self.environment,
            cwd=self._folder,
        ) as process:
            assert process.stdout
            for line in process.stdout:
                said += line
                show(line.rstrip())
        return process.returncode, said

    def _ignore(self, line: str) -> None:
        pass

    def _say_or_flash(self, line: str) -> None:
        if line.startswith("  "):
            self._flash(line)
        else:
            self._flash("")
            self.say(line)

    def _flash(self, line: str) -> None:
        """Show a line in the place of the one before; in a log, only after a long silence."""
        if not self._is_coloured:
            if line and self._clock() - self._last_print >= LONGEST_SILENCE_SECONDS:
                self.say(line)
        else:
            room = shutil.get_terminal_size().columns - 3
            print(
                f"\r\033[K  {self._style(DIM, line[:room])}" if line else "\r\033[K", end="", file=self._out, flush=True
            )

    def export(self, name: str, value: str) -> str:
        """Print an ``export`` of a value that the shell works out, and keep it for all later commands."""
        self._show(f'export {name}="{value}"')
        self.environment[name] = self.quietly("bash", "-c", f'printf %s "{value}"')
        return self.environment[name]

    def quietly(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a program that a person need not see, and return what it printed."""
        done = subprocess.run(
            arguments, input=stdin, capture_output=True, text=True, env=self.environment, cwd=self._folder, check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise DemoFailed(f"{' '.join(arguments[:8])} failed with exit code {done.returncode}: {said}")
        return done.stdout

    @contextmanager
    def background(self, command: str, *, ready: str) -> Iterator[None]:
        """Print a command and leave it running for the block, which begins when it has printed ``ready``."""
        self._show(f"{command} &")
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self.environment,
            cwd=self._folder,
        ) as process:
            try:
                self.say(_read_until(process, ready).splitlines()[0])
                yield
            finally:
                process.terminate()

    def _show(self, command: str) -> None:
        first, *more = command.splitlines()
        self._print(f"  {self._style(BOLD, f'$ {first}')}")
        for line in more:
            self._print(f"  {self._style(BOLD, f'  {line}')}")

    def _style(self, code: str, text: str) -> str:
        return f"{code}{text}{PLAIN}" if self._is_coloured else text

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)
        self._last_print = self._clock()


def _require_success(code: int, command: str) -> None:
    if code:
        raise DemoFailed(f"The command failed with exit code {code}: {command}")


def _read_until(process: subprocess.Popen[str], ready: str) -> str:
    assert process.stdout
    said = ""
    while ready not in said:
        line = process.stdout.readline()
        if not line:
            raise DemoFailed(f"The command ended too early: {process.args!r}\n{said}")
        said += line
    return said
