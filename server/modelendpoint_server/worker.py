"""The worker process: everything that serves, put together."""

import signal
import sys
from wsgiref.types import WSGIApplication

from modelendpoint_server.app import create_app
from modelendpoint_server.cgroup import usable_cores
from modelendpoint_server.lifecycle import Lifecycle
from modelendpoint_server.logs import set_up_logging
from modelendpoint_server.management import create_management_app, serve_management
from modelendpoint_server.metrics import Metrics
from modelendpoint_server.service import Service
from modelendpoint_server.settings import Settings

_SWITCH_SECONDS = 0.0005
"""How soon a thread that is back from ONNX Runtime gets the interpreter; the default of 5 ms costs ten times here."""


def load_worker(settings: Settings) -> WSGIApplication:
    """Start getting the model, open the management port, and return the app of the traffic port."""
    set_up_logging(settings)
    sys.setswitchinterval(_SWITCH_SECONDS)
    lifecycle = Lifecycle(settings, threads=settings.intra_op_threads or usable_cores())
    service = Service(settings, lifecycle, Metrics())
    signal.signal(signal.SIGUSR1, lambda signum, frame: lifecycle.drain())
    lifecycle.start()
    serve_management(create_management_app(service), host=settings.host, port=settings.management_port)
    return create_app(service)
