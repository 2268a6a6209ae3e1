"""One model server as a process of this machine: start it, see it ready, end it with all its children. No printing."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelendpoint.errors import CliError
from modelendpoint.lifeline import Lifeline
from modelendpoint.sockets import family_of, is_free

FIRST_PORT = 8080
_TRIED_PORTS = 100
_LOOK_EVERY_SECONDS = 0.02
_LONGEST_END_SECONDS = 10
_OURS = "MODELENDPOINT_"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class ModelServer:
    """A running server. Leaving the context ends it."""

    def __init__(self, uri: str, *, name: str, host: str, port: int, environment: Mapping[str, str]) -> None:
        self.host, self.port, self.name = host, port, name
        self.management_port = _free_port(host)
        self._folder = tempfile.TemporaryDirectory(prefix="mep-serve-")
        self._lifeline = Lifeline(Path(self._folder.name))
        # -P: what lies in the folder that we stand in is not the server's code.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "modelendpoint_server"],
            env=_environment(self, uri, Path(self._folder.name), environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        pid_file = Path(self._folder.name) / "server" / "pid"
        pid_file.parent.mkdir()
        pid_file.write_text(f"{self._process.pid}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where applications send requests."""
        return f"http://{_in_url(self.host)}:{self.port}"

    def wait_until_ready(self) -> dict[str, Any]:
        """Return the server's report when it is ready; raise ``CliError`` with its reason when it can't be."""
        while True:
            report = self._report()
            if report.get("state") == "Ready":
                return report
            if report.get("state") == "Failed":
                raise CliError(str(report["message"]))
            if self._process.poll() is not None:
                raise CliError(f"The server ended with code {self._process.returncode}; what it said is above.")
            time.sleep(_LOOK_EVERY_SECONDS)

    def openapi(self) -> dict[str, Any]:
        """Return the server's description of its interface."""
        return _get(f"{self.url}/openapi.json")

    def wait(self) -> int:
        """Wait until the server ends by itself; return its exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """Let it answer what it is at, and end it; a second Ctrl-C ends it at once."""
        try:
            self._process.terminate()
            self._process.wait(_LONGEST_END_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._lifeline.close()
            self._folder.cleanup()

    def _report(self) -> dict[str, Any]:
        with suppress(OSError, urllib.error.URLError):
            return _get(f"http://{_in_url(self.host)}:{self.management_port}/report")
        return {}


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Treat SIGTERM and a closed terminal like Ctrl-C, so that what was started is ended."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def choose_port(host: str, wanted: int | None) -> int:
    """Return the port that is wanted, or the first free one from 8080 on; raise ``CliError`` when it is taken."""
    if wanted is not None:
        if not is_free(host, wanted):
            raise CliError(f"Port {wanted} of {host} is taken. Choose another one, or none: --port {wanted + 1}")
        return wanted
    free = next((port for port in range(FIRST_PORT, FIRST_PORT + _TRIED_PORTS) if is_free(host, port)), None)
    if free is None:
        raise CliError(f"No port of {host} from {FIRST_PORT} on is free. Choose one: --port NUMBER")
    return free


def name_of(place: str) -> str:
    """Name a model after its file, if that makes a name; it is part of the protocols' paths."""
    stem = Path(place).name.partition(".")[0].lower().replace("_", "-")
    return stem if _NAME.fullmatch(stem) else "model"


def _environment(server: ModelServer, uri: str, folder: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    ours = {
        "MODEL_URI": uri,
        "NAME": server.name,
        "HOST": server.host,
        "PORT": str(server.port),
        "MANAGEMENT_PORT": str(server.management_port),
        "MODEL_DIR": str(folder),
        "REVISION_DIR": str(folder),
        "CREDENTIALS_DIR": str(folder / "credentials"),
        "DRAIN_SECONDS": "0",
        "LOG_LEVEL": "CRITICAL",
        "LOG_FORMAT": "text",
    }
    others = {name: value for name, value in inherited.items() if not name.startswith((_OURS, "AIP_"))}
    return others | {_OURS + name: value for name, value in ours.items()}


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return dict(json.load(answer))


def _free_port(host: str) -> int:
    with closing(socket.socket(family_of(host))) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise CliError(f"{host} is no address of this machine. Leave --host out, or say 0.0.0.0.") from error
        return int(probe.getsockname()[1])


def _in_url(host: str) -> str:
    """Write an address as a URL has it; all addresses of a machine are reached by its own."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host
