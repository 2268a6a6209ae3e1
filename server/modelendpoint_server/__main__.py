"""The process: environment → settings → one worker under granian, a batch pod or a monitor. The only reader of the environment."""

import datetime
import os
import pkgutil
import signal
import sys
import threading
import time
from collections.abc import MutableMapping, Sequence
from types import FrameType
from typing import Any

from granian.constants import Interfaces
from granian.server import MPServer

from modelendpoint_server.cgroup import usable_cores
from modelendpoint_server.errors import InvalidSettings
from modelendpoint_server.settings import Settings, http_threads

_LIBRARIES = {
    # ONNX Runtime's wheel reports what it runs to its maker and keeps a database in the home folder, unless it is told
    # not to before it is imported.
    "ORT_DISABLE_TELEMETRY": "1",
    # NumPy's own thread pool would only take memory here: ONNX Runtime does the arithmetic.
    "OPENBLAS_NUM_THREADS": "1",
}


def main(environment: MutableMapping[str, str] = os.environ, arguments: Sequence[str] = ()) -> int:
    """Serve until SIGTERM or SIGINT, or do the work of a batch pod or a monitor; return the exit code."""
    environment.update(_LIBRARIES)
    if arguments and arguments[0] == "batch":
        # Named, not imported: a server shall not carry what only batch pods need.
        batch = pkgutil.resolve_name("modelendpoint_server.batch.command:main")
        return int(batch(arguments[1:], environment, now=lambda: datetime.datetime.now(datetime.UTC)))
    if arguments and arguments[0] == "monitor":
        monitor = pkgutil.resolve_name("modelendpoint_server.monitor.command:main")
        return int(monitor(arguments[1:], environment, clock=time.time))
    try:
        settings = Settings.from_environment(environment)
    except InvalidSettings as error:
        print(f"modelendpoint_server: {error}", file=sys.stderr)
        return 2
    server = MPServer(
        "modelendpoint_server",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=http_threads(settings, usable_cores()),
        backpressure=4096,
        backlog=2048,
        log_level="error",  # type: ignore[arg-type]
    )
    server.on_startup(lambda: _drain_on_sigterm(server, settings.drain_seconds))
    server.serve(target_loader=_Loader(settings), wrap_loader=False)
    return 0


class _Loader:
    """Makes the app inside the worker process, after the fork: ONNX Runtime's threads do not survive one.

    The worker's modules are named, not imported: this process only supervises and shall stay small.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self) -> Any:
        # The supervisor's handler came along with the fork; a signal that comes before granian sets its own just ends
        # this process.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return pkgutil.resolve_name("modelendpoint_server.worker:load_worker")(self._settings)


def _drain_on_sigterm(server: MPServer, seconds: float) -> None:
    """On SIGTERM: let the worker say that it drains, and stop it a little later; a second one stops it at once."""

    def drain(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, server.signal_handler_interrupt)
        for worker in server.wrks:
            os.kill(worker.inner.pid, signal.SIGUSR1)
        timer = threading.Timer(seconds, server.signal_handler_interrupt)
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, drain)


if __name__ == "__main__":
    sys.exit(main(arguments=sys.argv[1:]))
