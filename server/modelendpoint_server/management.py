"""The management port: health, readiness, the report and metrics, on threads of its own beside the traffic."""

import threading
from typing import TYPE_CHECKING

import orjson
from flask import Flask, Response
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from modelendpoint_server.report import State
from modelendpoint_server.service import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_IDLE_SECONDS = 10


def create_management_app(service: Service) -> Flask:
    """Make the app of the management port."""
    app = Flask("modelendpoint_server.management", static_folder=None)

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


class _QuietHandler(WSGIRequestHandler):
    """Logs nothing, and lets no idle connection stay."""

    timeout = _IDLE_SECONDS

    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing: probes come every second."""


def serve_management(app: "WSGIApplication", *, host: str, port: int) -> BaseWSGIServer:
    """Serve the app from background threads."""
    server = make_server(host, port, app, threaded=True, request_handler=_QuietHandler)
    server.daemon_threads = True  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, name="management", daemon=True).start()
    return server
