"""The Flask app of the traffic port: routes, errors, the fast path, and the headers that every answer carries."""

import time

from flask import Flask, Response, request

from modelendpoint_server.access_log import AccessLog
from modelendpoint_server.fast_path import ARRIVED, FastPath
from modelendpoint_server.protocols import Answer
from modelendpoint_server.routes.documents import document_routes
from modelendpoint_server.routes.errors import register_error_handlers
from modelendpoint_server.routes.models import model_routes
from modelendpoint_server.routes.predict import PROTOCOL, predict_routes
from modelendpoint_server.service import Service


def create_app(service: Service) -> Flask:
    """Make the app."""
    app = Flask("modelendpoint_server", static_folder=None)
    # Else a path with two slashes would be answered with a page of HTML that redirects.
    app.url_map.merge_slashes = False
    app.register_blueprint(predict_routes(service))
    app.register_blueprint(model_routes(service))
    if service.settings.page:
        app.register_blueprint(document_routes(service))
    register_error_handlers(app)
    access_log = AccessLog(is_on=service.settings.access_log)
    _watch_requests(app, service, access_log)
    if service.settings.fast_path:
        app.wsgi_app = FastPath(app.wsgi_app, service, access_log)  # type: ignore[method-assign]
    return app


def _watch_requests(app: Flask, service: Service, access_log: AccessLog) -> None:
    """Mark, count and log everything that Flask answers; the fast path does so for itself."""

    @app.before_request
    def arrive() -> None:
        request.environ.setdefault(ARRIVED, time.perf_counter())

    @app.after_request
    def leave(response: Response) -> Response:
        environ = request.environ
        response.headers.extend(service.identity(environ))
        seconds = time.perf_counter() - environ.get(ARRIVED, time.perf_counter())
        service.metrics.count_request(environ.get(PROTOCOL, "other"), response.status_code, seconds)
        if access_log.is_on:
            access_log.write(environ, status=response.status_code, seconds=seconds)
        if PROTOCOL in environ and response.status_code >= 400:
            # That there was one, and no more: its body may be nothing that anybody can read.
            service.capture.take(environ, environ[PROTOCOL], answer=Answer(b""), status=response.status_code)
        return response
