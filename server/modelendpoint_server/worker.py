"""The worker process: everything that serves, put together."""

import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelendpoint_server.admission import Admission
from modelendpoint_server.app import create_app
from modelendpoint_server.cgroup import memory_size, usable_cores
from modelendpoint_server.lifecycle import Lifecycle
from modelendpoint_server.logs import set_up_logging
from modelendpoint_server.management import create_management_app, serve_management
from modelendpoint_server.memory_cap import cap_memory
from modelendpoint_server.metrics import Metrics
from modelendpoint_server.report import State
from modelendpoint_server.saturation import Machine, Saturation
from modelendpoint_server.service import Service
from modelendpoint_server.settings import Settings, http_threads
from modelendpoint_server.watchdog import Watchdog

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_SWITCH_SECONDS = 0.0005
"""How soon a thread that is back from ONNX Runtime gets the interpreter; the default of 5 ms costs ten times here."""
_LEAST_PLACES = 2
_BODIES_SHARE = 8
"""One part in so many of the memory limit is for request bodies: decoded, one takes about four times its size."""


def load_worker(settings: Settings) -> "WSGIApplication":
    """Start getting the model, open the management port, and return the app of the traffic port."""
    set_up_logging(settings)
    sys.setswitchinterval(_SWITCH_SECONDS)
    # NumPy's warnings of overflows: every place where one may happen looks at the result.
    warnings.simplefilter("ignore", RuntimeWarning)
    memory = memory_size()
    port = PortProbe(settings.host, settings.port)
    service = build_service(settings, cores=usable_cores(), memory=memory, is_listening=port.is_open)
    _drain_on_signal(service.lifecycle)
    service.capture.start()
    serve_management(create_management_app(service), host=settings.host, port=settings.management_port)
    # After the threads that shall work when there is no memory left: their stacks are theirs already.
    cap_memory(memory - settings.memory_reserve_bytes)
    service.lifecycle.start()
    return create_app(service)


def _drain_on_signal(lifecycle: Lifecycle) -> None:
    """Drain on SIGUSR1, and see every other signal handled, whichever thread the kernel hands it to.

    The main thread sleeps in a lock, and Python runs handlers in the main thread only: a signal that another thread gets
    would wait until it wakes up. What is written to the wake-up socket is read at once.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.signal(signal.SIGUSR1, lambda signum, frame: None)
    signal.set_wakeup_fd(writer.fileno())
    main = threading.main_thread()

    def watch() -> None:
        # The thread keeps both ends open.
        while (number := reader.recv(1)) and writer.fileno() >= 0:
            if number[0] == signal.SIGUSR1:
                lifecycle.drain()
            elif main.ident is not None:
                # A SIGTERM on the heels of a SIGUSR1 goes to another thread: this makes the main thread run its handler.
                signal.pthread_kill(main.ident, signal.SIGUSR1)

    threading.Thread(target=watch, name="signals", daemon=True).start()


def build_service(
    settings: Settings, *, cores: int, memory: int, is_listening: Callable[[], bool] = lambda: True
) -> Service:
    """Put the parts together; nothing but the watchdog runs yet."""
    places = settings.max_concurrency or max(_LEAST_PLACES, cores)
    if settings.batch_max_size != 1:
        # Whoever waits in a batch holds a place; the batcher itself runs one batch at a time for each leader.
        places = max(places, http_threads(settings, cores))
    most_waiting = settings.max_waiting or http_threads(settings, cores)
    admission = Admission(places=places, most_waiting=most_waiting)
    metrics = Metrics(endpoint=settings.name, revision=settings.revision)
    lifecycle = Lifecycle(
        settings,
        threads=settings.intra_op_threads or cores,
        admission=admission,
        watchdog=Watchdog(),
        metrics=metrics,
        is_listening=is_listening,
    )
    saturation = Saturation(
        endpoint=settings.name,
        revision=settings.revision,
        machine=Machine(cores=cores, memory=max(1, memory - settings.memory_reserve_bytes)),
        admission=admission,
        is_ready=lambda: lifecycle.report().state is State.READY,
    )
    metrics.registry.register(saturation)
    budget = memory // _BODIES_SHARE
    return Service(
        settings,
        lifecycle,
        metrics=metrics,
        body_budget=max(budget, settings.max_body_bytes),
        threads=http_threads(settings, cores),
    )


class PortProbe:
    """Tells whether a port of this process has been opened; once it has, it is not looked at again."""

    def __init__(self, host: str, port: int) -> None:
        self._address = ("::1" if ":" in host else "127.0.0.1") if host in ("0.0.0.0", "::") else host, port
        self._is_open = False

    def is_open(self) -> bool:
        """Look."""
        if not self._is_open:
            try:
                socket.create_connection(self._address, timeout=1).close()
            except OSError:
                return False
            self._is_open = True
        return True
