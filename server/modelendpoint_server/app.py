"""The Flask app of the traffic port."""

from flask import Flask, Response, request

from modelendpoint_server.routes.errors import register_error_handlers
from modelendpoint_server.routes.predict import predict_routes
from modelendpoint_server.service import Service


def create_app(service: Service) -> Flask:
    """Make the app: routes, errors, and the headers that every answer carries."""
    app = Flask("modelendpoint_server", static_folder=None)
    app.register_blueprint(predict_routes(service))
    register_error_handlers(app)

    @app.after_request
    def identify(response: Response) -> Response:
        """Say which revision and which bytes made the answer."""
        response.headers["x-model-revision"] = service.settings.revision
        if (serving := service.lifecycle.serving) is not None:
            response.headers["x-model-sha256"] = serving.sha256
        if (request_id := request.headers.get("x-request-id")) is not None:
            response.headers["x-request-id"] = request_id
        if service.lifecycle.draining:
            response.headers["Connection"] = "close"
        return response

    return app
