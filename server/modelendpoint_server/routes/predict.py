"""Predictions through Flask: every protocol's paths."""

from flask import Blueprint, Response, request
from werkzeug.http import parse_options_header

from modelendpoint_server.errors import UnknownModel
from modelendpoint_server.fast_path import FAILURE
from modelendpoint_server.protocols import Head, WireProtocol
from modelendpoint_server.routes.body import read_body
from modelendpoint_server.service import Service

PROTOCOL = "modelendpoint.protocol"
"""Key of the environ: the protocol that the request came by, for the metrics."""


def predict_routes(service: Service) -> Blueprint:
    """Make the routes that predict."""
    routes = Blueprint("predict", __name__)

    @routes.post("/predict")
    def predict() -> Response:
        """Rows as JSON or CSV, by content type."""
        return _answer(service, service.rest)

    @routes.post("/invocations")
    def invocations() -> Response:
        """SageMaker's and MLflow's path."""
        return _answer(service, service.invocations)

    @routes.post("/v1/models/<name>:predict")
    def v1_predict(name: str) -> Response:
        """TensorFlow Serving's and KServe's V1."""
        return _answer(service, service.v1, name)

    @routes.post("/v2/models/<name>/infer")
    @routes.post("/v2/models/<name>/versions/<version>/infer")
    def v2_infer(name: str, version: str | None = None) -> Response:
        """Open Inference Protocol."""
        return _answer(service, service.v2, name, version)

    if service.settings.vertex_predict_route:
        routes.add_url_rule(service.settings.vertex_predict_route, "vertex", predict, methods=["POST"])
    return routes


def check_model(service: Service, name: str | None, version: str | None = None) -> None:
    """Raise ``UnknownModel`` unless this is the one that is served here."""
    if name is not None and name != service.name:
        raise UnknownModel(f"There is no model {name!r} here; this endpoint's model is {service.name!r}.", field="name")
    if version is not None and version not in (service.version, service.settings.revision):
        raise UnknownModel(
            f"There is no version {version!r} here; this is version {service.version!r}.", field="version"
        )


def _answer(service: Service, protocol: WireProtocol, name: str | None = None, version: str | None = None) -> Response:
    environ = request.environ
    environ[PROTOCOL] = protocol.name
    if FAILURE in environ:
        raise environ[FAILURE]
    check_model(service, name, version)
    body = read_body(request, most=service.settings.max_body_bytes, large=service.large_bodies)
    head = _head()
    answer = service.answer(body, protocol, head)
    content, headers = service.finish(answer, environ)
    service.capture.take(environ, protocol.name, head=head, request=body, answer=answer)
    return Response(content, headers=headers)


def _head() -> Head:
    content_type, parameters = parse_options_header(request.headers.get("Content-Type"))
    return Head(
        content_type.lower(),
        parameters,
        accept=request.headers.get("Accept", ""),
        header_length=request.headers.get("Inference-Header-Content-Length"),
    )
