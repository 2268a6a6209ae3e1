"""Predictions through Flask: every protocol's paths."""

from flask import Blueprint, Response, request
from werkzeug.http import parse_options_header

from modelendpoint_server.errors import BodyTooLarge, UnknownModel
from modelendpoint_server.protocols import Head, Rows, WireProtocol
from modelendpoint_server.service import Service


def predict_routes(service: Service) -> Blueprint:
    """Make the routes that predict."""
    routes = Blueprint("predict", __name__)
    plain, v1, sagemaker = Rows("rest"), Rows("v1"), Rows("invocations")

    @routes.post("/predict")
    def predict() -> Response:
        """Rows as JSON or CSV, by content type."""
        return _answer(service, plain)

    @routes.post("/invocations")
    def invocations() -> Response:
        """SageMaker's and MLflow's path."""
        return _answer(service, sagemaker)

    @routes.post("/v1/models/<name>:predict")
    def v1_predict(name: str) -> Response:
        """TensorFlow Serving's and KServe's V1."""
        _check_name(service, name)
        return _answer(service, v1)

    @routes.get("/v1/models")
    def v1_models() -> dict[str, object]:
        return {"models": [service.name]}

    @routes.get("/v1/models/<name>")
    def v1_model(name: str) -> dict[str, object]:
        _check_name(service, name)
        return {"name": name, "ready": service.lifecycle.serving is not None}

    return routes


def _answer(service: Service, protocol: WireProtocol) -> Response:
    content_type, parameters = parse_options_header(request.headers.get("Content-Type"))
    head = Head(content_type.lower(), parameters, request.headers.get("Accept", ""))
    answer = service.answer(_body(service), protocol, head)
    return Response(answer.body, content_type=answer.content_type)


def _body(service: Service) -> bytes:
    most = service.settings.max_body_bytes
    length = request.content_length
    body = b"" if length is not None and length > most else request.stream.read(most + 1)
    if len(body) > most or (length or 0) > most:
        raise BodyTooLarge(f"The body is larger than {most} bytes. Send the rows in several requests.")
    return body


def _check_name(service: Service, name: str) -> None:
    if name != service.name:
        raise UnknownModel(f"There is no model {name!r} here; this endpoint's model is {service.name!r}.", field="name")
