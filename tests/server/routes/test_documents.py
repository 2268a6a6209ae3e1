"""The page and the OpenAPI document, read by a program and looked at in a real browser."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from modelendpoint_server.app import create_app
from modelendpoint_server.made_up import example_csv, example_request, example_v2
from modelendpoint_server.worker import build_service
from support import model_zoo
from support.browser import Browser, open_browser
from support.onnx_models import linear_model
from support.served import client_for, service_for, settings_for

MODELS = {
    "one input": linear_model([1.0, 10.0], intercept=0.5).data,
    "classifier": model_zoo.classifier(features=3, zipmap=True),
    "columns": model_zoo.echo([("age", "FP32", (None, 1)), ("city", "BYTES", (None, 1)), ("vip", "BOOL", (None, 1))]),
    "several tensors": model_zoo.echo([("a", "FP32", (None, 2)), ("b", "INT64", (None,))]),
    "fixed": model_zoo.identity("FP16", (2, 2)),
    "scalar": model_zoo.identity("INT64", ()),
    "image": model_zoo.identity("UINT8", (None, 2, 2, 3)),
    "text": model_zoo.identity("BYTES", (None, 1)),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_example_works(tmp_path: Path, name: str) -> None:
    client = client_for(MODELS[name], tmp_path)
    metadata = client.get("/v2/models/churn").get_json()
    document = client.get("/openapi.json").get_json()
    content = {
        path: item["post"]["requestBody"]["content"] for path, item in document["paths"].items() if "post" in item
    }
    for path, kinds in content.items():
        response = client.post(path, json=kinds["application/json"]["example"])
        assert response.status_code == 200, (path, response.data, metadata)


def test_examples_have_the_form_that_people_would_write(tmp_path: Path) -> None:
    signature = service_for(MODELS["columns"], tmp_path).lifecycle.predictor().signature
    assert example_request(signature) == {"instances": [{"age": 0.0, "city": "", "vip": False}]}
    assert example_csv(signature) == "age,city,vip\n0.0,text,false\n"
    assert [entry["name"] for entry in example_v2(signature)["inputs"]] == ["age", "city", "vip"]


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    response = client_for(MODELS["one input"], tmp_path).get("/")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", response.text)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_names_can_not_break_out_of_the_page(tmp_path: Path) -> None:
    client = client_for(MODELS["one input"], tmp_path, name="</script><script>alert(1)</script>")
    assert "<script>alert" not in client.get("/").text


def test_before_the_model_is_ready_the_page_says_why(tmp_path: Path) -> None:
    service = build_service(settings_for("file:///nowhere/m.onnx", tmp_path), cores=1, memory=2**30)
    client = create_app(service).test_client()
    data = re.search(r'id="data">(.*?)</script>', client.get("/").text)
    assert data is not None
    assert json.loads(data.group(1))["report"]["state"] == "Downloading"
    assert client.get("/openapi.json").status_code == 503


def test_the_page_can_be_switched_off(tmp_path: Path) -> None:
    client = client_for(MODELS["one input"], tmp_path, page=False)
    assert client.get("/").status_code == client.get("/openapi.json").status_code == 404


# ── in a browser ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all."""
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    """Serve an app on a port of the loopback; return its URL."""
    servers: list[Any] = []

    def start(app: Flask) -> str:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.emulator
def test_a_person_sees_the_model_and_gets_a_prediction(browser: Browser, serve: Any, tmp_path: Path) -> None:
    browser.open(serve(create_app(service_for(MODELS["one input"], tmp_path))))
    assert browser.text("h1") == "churn"
    assert browser.text("#state") == "Ready"
    assert "features" in browser.text("#tensors") and "FP32" in browser.text("#tensors")
    browser.click("#send")
    browser.wait_for("#outcome", text="200")
    assert json.loads(browser.text("#answer")) == {"predictions": [[0.5]]}
    browser.type("#request", '{"instances": [[1, 2], [3]]}')
    browser.click("#send")
    browser.wait_for("#outcome", text="400")
    assert "row 1 has 1 values" in browser.text("#answer")
    browser.click("input[value=csv]")
    assert browser.value("#request") == "0.0,0.0\n"
    browser.click("#send")
    browser.wait_for("#outcome", text="200")
    browser.click("input[value=v2]")
    browser.click("#send")
    browser.wait_for("#answer", text='"model_name": "churn"')
    # The refused request is the only thing that the browser complains of: no script, style or policy does.
    assert all("400" in line for line in browser.complaints())


@pytest.mark.emulator
def test_a_person_sees_why_a_model_is_not_ready(browser: Browser, serve: Any, tmp_path: Path) -> None:
    service = build_service(settings_for("file:///nowhere/m.onnx", tmp_path), cores=1, memory=2**30)
    browser.open(serve(create_app(service)))
    browser.wait_for("#state", text="Downloading")
    browser.wait_for("#message", text="being fetched")
