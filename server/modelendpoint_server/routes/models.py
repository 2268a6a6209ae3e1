"""What the protocols say about the model, and their health paths on the traffic port."""

from typing import Any

import orjson
from flask import Blueprint, Response

from modelendpoint_server import __version__
from modelendpoint_server.report import State, signature_as_json
from modelendpoint_server.routes.predict import check_model
from modelendpoint_server.service import Service


def model_routes(service: Service) -> Blueprint:
    """Make the routes that tell, and do not predict."""
    routes = Blueprint("models", __name__)
    _add_v1(routes, service)
    _add_v2(routes, service)

    @routes.get("/ping")
    def ping() -> Response:
        """SageMaker's health."""
        return _json({}, status=200 if _is_ready(service) else 503)

    if service.settings.vertex_health_route:
        routes.add_url_rule(service.settings.vertex_health_route, "vertex_health", ping, methods=["GET"])
    return routes


def _add_v1(routes: Blueprint, service: Service) -> None:
    @routes.get("/v1/models")
    def v1_models() -> Response:
        return _json({"models": [service.name]})

    @routes.get("/v1/models/<name>")
    def v1_model(name: str) -> Response:
        """KServe's answer and, beside it, TensorFlow Serving's."""
        check_model(service, name)
        ready = _is_ready(service)
        state = {"version": service.version, "state": "AVAILABLE" if ready else "LOADING"}
        return _json({"name": name, "ready": ready, "model_version_status": [state]})


def _add_v2(routes: Blueprint, service: Service) -> None:
    @routes.get("/v2")
    @routes.get("/v2/")
    def v2_server() -> Response:
        return _json({"name": "modelendpoint", "version": __version__, "extensions": ["binary_tensor_data"]})

    @routes.get("/v2/health/live")
    def v2_live() -> Response:
        return _json({"live": True})

    @routes.get("/v2/health/ready")
    def v2_ready() -> Response:
        """The protocol's text and its OpenAPI file name the key differently; both are there."""
        ready = _is_ready(service)
        return _json({"ready": ready, "live": ready}, status=200 if ready else 503)

    @routes.get("/v2/models/<name>")
    @routes.get("/v2/models/<name>/versions/<version>")
    def v2_model(name: str, version: str | None = None) -> Response:
        check_model(service, name, version)
        signature = service.lifecycle.predictor().signature
        head = {"name": name, "versions": [service.version], "platform": "onnx_onnxv1"}
        return _json({**head, **signature_as_json(signature)})

    @routes.get("/v2/models/<name>/ready")
    @routes.get("/v2/models/<name>/versions/<version>/ready")
    def v2_model_ready(name: str, version: str | None = None) -> Response:
        check_model(service, name, version)
        ready = _is_ready(service)
        return _json({"name": name, "ready": ready}, status=200 if ready else 503)


def _is_ready(service: Service) -> bool:
    return service.lifecycle.report().state is State.READY


def _json(document: dict[str, Any], *, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status=status, mimetype="application/json")
