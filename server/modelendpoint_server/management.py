"""The management port: health, readiness, the report and metrics, on threads of its own beside the traffic."""

import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask, Response
from waitress.server import TcpWSGIServer, create_server
from waitress.wasyncore import close_all

from modelendpoint_server.report import State
from modelendpoint_server.service import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_LOG = logging.getLogger(__name__)
_THREADS = 4
_BACKLOG = 128
_MOST_CONNECTIONS = 500
_IDLE_SECONDS = 10
_MOST_HEADER_BYTES = 16 * 1024
_MOST_BODY_BYTES = 1024
"""Nothing here reads a body."""


def create_management_app(service: Service) -> Flask:
    """Make the app of the management port."""
    app = Flask("modelendpoint_server.management", static_folder=None)
    settings = service.settings
    identity = f"{settings.namespace}/{settings.name}-r{settings.revision}"

    @app.after_request
    def tell_identity(response: Response) -> Response:
        # The router takes no pod for one of the revision that does not call itself so.
        response.headers["x-envoy-upstream-healthchecked-cluster"] = identity
        return response

    @app.get("/livez")
    def live() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/readyz")
    def ready() -> Response:
        report = service.lifecycle.report()
        if report.state is State.READY:
            return Response("ok\n", mimetype="text/plain")
        body = {"state": report.state, "reason": report.reason, "message": report.message}
        return Response(orjson.dumps(body), status=503, mimetype="application/json")

    @app.get("/report")
    def report() -> Response:
        return Response(orjson.dumps(service.lifecycle.report().as_json()), mimetype="application/json")

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(service.metrics.render(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def serve_management(app: "WSGIApplication", *, host: str, port: int) -> "Management":
    """Serve the app from background threads, all started now: probes must be answered when no memory is left for more.

    Raise ``OSError`` if the port can't be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, dualstack_ipv6=host == "::", backlog=_BACKLOG)
    return Management(app, listener)


class Management:
    """The management port while it serves. Slow and idle clients hold a connection each, and no thread."""

    def __init__(self, app: "WSGIApplication", listener: socket.socket) -> None:
        self.port = int(listener.getsockname()[1])
        self._sockets: dict[int, Any] = {}
        server = create_server(
            app,
            map=self._sockets,
            sockets=[listener],
            threads=_THREADS,
            ident=None,
            connection_limit=_MOST_CONNECTIONS,
            channel_timeout=_IDLE_SECONDS,
            cleanup_interval=_IDLE_SECONDS // 2,
            max_request_header_size=_MOST_HEADER_BYTES,
            max_request_body_size=_MOST_BODY_BYTES,
            asyncore_use_poll=True,
            log_socket_errors=False,
        )
        assert isinstance(server, TcpWSGIServer)  # as always with one socket
        # What goes wrong with one connection, such as too little memory for it, would otherwise close the port.
        server.handle_error = self._note_error  # type: ignore[method-assign]
        self._server = server
        self._thread = threading.Thread(target=self._server.run, name="management", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """Close the port, after the answers that are being made."""
        self._server.task_dispatcher.shutdown()
        close_all(self._sockets)

    @staticmethod
    def _note_error() -> None:
        _LOG.warning("A connection to the management port failed", exc_info=True)
