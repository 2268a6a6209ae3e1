"""Schemathesis asks what two OpenAPI documents allow: the Open Inference Protocol's, and each endpoint's own.

The protocol's document is the one that MLServer's package brings along, with the model's name filled in.
"""

import copy
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from werkzeug.serving import make_server

from localcluster.commands import locked
from localcluster.folders import Cache
from modelendpoint_server.app import create_app
from support import model_zoo
from support.served import service_for

MLSERVER = "mlserver==1.7.1"
pytestmark = pytest.mark.emulator
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
some = settings(
    max_examples=20 * int(os.environ.get("MODELENDPOINT_FUZZ", "1")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture(scope="module", params=["classifier", "columns"])
def base_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve two models on ports of the loopback."""
    data = {
        "classifier": model_zoo.classifier(features=3, zipmap=True),
        "columns": model_zoo.echo([("age", "FP32", (None, 1)), ("city", "BYTES", (None, 1))]),
    }[request.param]
    app = create_app(service_for(data, tmp_path_factory.mktemp("conformance")))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def protocol() -> dict[str, Any]:
    """The Open Inference Protocol's OpenAPI document."""
    folder = Cache.from_environment(os.environ).root / "python" / MLSERVER.replace("==", "-")
    file = folder / "mlserver" / "rest" / "openapi" / "dataplane.json"
    with locked(folder.with_name(f".{folder.name}.lock")):
        if not file.exists():
            command = [sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--target", str(folder), MLSERVER]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{MLSERVER} can't be installed: {done.stderr[-1000:]}")
    return _for_churn(json.loads(file.read_text()))


def _for_churn(document: dict[str, Any]) -> dict[str, Any]:
    """Name the model and its version, and leave out what is MLServer's alone."""
    document = copy.deepcopy(document)
    extensions = ("infer_stream", "generate", "generate_stream")
    paths = {path: item for path, item in document["paths"].items() if not path.endswith(extensions)}
    for item in paths.values():
        for parameter in item.get("parameters", []):
            parameter["schema"] = {"type": "string", "enum": ["churn" if "name" in parameter["name"] else "7"]}
        for operation in (item.get("get"), item.get("post")):
            if operation is not None:
                # The protocol names the errors of some operations only; all have the same form.
                operation["responses"].setdefault("400", {"$ref": "#/components/responses/Error"})
    document["components"]["responses"] = {
        "Error": {
            "description": "What is wrong.",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["error"],
                        "properties": {"error": {"type": "string"}},
                    }
                }
            },
        }
    }
    # "bytes" is no type of OpenAPI's; and names that exist make more requests go further.
    schemas = document["components"]["schemas"]
    schemas["TensorData"] = {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "string"}]}}
    schemas["RequestInput"]["properties"]["name"] = {"type": "string", "enum": ["x", "age", "city", "other"]}
    schemas["RequestInput"]["properties"]["datatype"] = {"type": "string", "enum": ["FP32", "BYTES", "INT64"]}
    document["paths"] = paths
    return document


def ask_everything(schema: Any, base_url: str) -> int:
    """Ask each operation what the document allows; return how many requests were answered as it says."""
    asked: list[int] = []
    operations = [found.ok() for found in schema.get_all_operations()]
    assert operations
    for operation in operations:

        @some
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            response = case.call(base_url=base_url)
            case.validate_response(response, checks=CHECKS)
            asked.append(response.status_code)

        check()
    return len(asked)


def test_the_protocols_own_document_is_kept(protocol: dict[str, Any], base_url: str) -> None:
    assert ask_everything(schemathesis.openapi.from_dict(protocol), base_url) > 40


def test_each_endpoints_own_document_is_kept(base_url: str) -> None:
    assert ask_everything(schemathesis.openapi.from_url(f"{base_url}/openapi.json"), base_url) > 40
