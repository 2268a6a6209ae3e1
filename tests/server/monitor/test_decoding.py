"""From a request to a sample, over the wire: with every protocol, form and kind of model it is what the model got and gave."""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from modelendpoint_server.app import create_app
from modelendpoint_server.errors import InvalidFrame
from modelendpoint_server.monitor.decoding import decode
from modelendpoint_server.monitor.receiver import Inbox, Receiver
from modelendpoint_server.monitor.sample import Sample
from modelendpoint_server.monitor.tables import Privacy, build_table
from modelendpoint_server.settings import NonFinite
from modelendpoint_server.signature import Signature
from support import model_zoo
from support.served import service_for

JSON = {"Content-Type": "application/json"}
V2 = "/v2/models/churn/infer"
NAMED = model_zoo.build(
    [helper.make_node("Identity", ["x"], ["y"])],
    [("x", "FP32", (None, 2))],
    [("y", "FP32", (None, 2))],
    metadata={"feature_names": "age,income"},
)
PEOPLE = model_zoo.echo([("age", "FP32", (None, 1)), ("city", "BYTES", (None, 1))])
CLASSES = model_zoo.classifier(features=2, zipmap=True)
SCORES = model_zoo.classifier(features=2, zipmap=False)
IMAGES = model_zoo.identity("UINT8", (None, 2, 2))
Ask = Callable[..., tuple[Sample, Signature]]


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    inbox = Inbox()
    receiver = Receiver(host="127.0.0.1", port=0, inbox=inbox)
    receiver.start()
    yield inbox, receiver.port
    receiver.stop()


@pytest.fixture
def ask(inbox: tuple[Inbox, int], tmp_path: Path) -> Ask:
    """Send a request through a whole server, and return what came of it at the other end."""

    def send(
        model: bytes, body: Any, *, path: str = "/predict", headers: Mapping[str, str] = JSON, **changes: Any
    ) -> tuple[Sample, Signature]:
        folder = tmp_path / "monitoring"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"percent": 100, "address": f"127.0.0.1:{inbox[1]}"}))
        service = service_for(model, tmp_path, monitoring_dir=folder, **changes)
        service.capture.turn(0.0)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = create_app(service).test_client().post(path, data=data, headers={**headers, "x-request-id": "a"})
        assert response.status_code == 200, response.get_data()
        service.capture.turn(1.0)
        taken = inbox[0].take(timeout=10)
        assert taken is not None
        service.capture.stop()
        return decode(*taken), taken[1].signature

    return send


def plain(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: column.tolist() for name, column in columns.items()}


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [[1, 10], [2, 20]]},
        {"inputs": [[1, 10], [2, 20]]},
        {"dataframe_split": {"columns": ["income", "age"], "data": [[10, 1], [20, 2]]}},
        {"dataframe_records": [{"age": 1, "income": 10}, {"income": 20, "age": 2}]},
        b"age,income\n1,10\n2,20\n",
        b"1,10\n2,20\n",
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/csv"])
@pytest.mark.parametrize("fast_path", [True, False])
def test_rows_get_the_names_of_the_models_columns(ask: Ask, body: Any, accept: str, fast_path: bool) -> None:
    kind = "text/csv" if isinstance(body, bytes) else "application/json"
    sample, _ = ask(NAMED, body, headers={"Content-Type": kind, "Accept": accept}, fast_path=fast_path)
    assert (sample.rows, sample.request_id, sample.revision) == (2, "a", "7")
    assert plain(sample.inputs) == {"age": [1, 2], "income": [10, 20]}
    assert plain(sample.outputs) == {"y": [[1, 10], [2, 20]]}


def test_the_open_inference_protocol_is_read_as_text_and_as_raw_tensors(ask: Ask) -> None:
    head = {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    text = json.dumps(head).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
    sample, _ = ask(NAMED, text + struct.pack("<2f", 1.5, 2.5), path=V2, headers=headers)
    assert plain(sample.inputs) == {"age": [1.5], "income": [2.5]}
    assert plain(sample.outputs) == {"y": [[1.5, 2.5]]}


def test_inputs_that_are_columns_are_columns_and_texts_stay_texts(ask: Ask) -> None:
    sample, _ = ask(PEOPLE, {"instances": [{"age": 1, "city": "Köln"}, {"age": 2, "city": ""}]})
    assert plain(sample.inputs) == {"age": [1, 2], "city": ["Köln", ""]}
    assert plain(sample.outputs) == {"age_out": [1, 2], "city_out": ["Köln", ""]}


@pytest.mark.parametrize("path", ["/predict", V2])
def test_maps_of_a_classifier_are_a_column_for_each_class(ask: Ask, path: str) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    body = {"inputs": [tensor]} if path == V2 else {"instances": [[1, 2]]}
    sample, _ = ask(CLASSES, body, path=path)
    assert plain(sample.outputs).keys() == {"label", "probabilities_0", "probabilities_1"}
    total = sample.outputs["probabilities_0"] + sample.outputs["probabilities_1"]
    assert total.tolist() == pytest.approx([1.0])
    assert sample.outputs["label"].tolist() == [int(sample.outputs["probabilities_1"][0] > 0.5)]


@pytest.mark.parametrize("accept", ["*/*", "text/csv"])
def test_several_outputs_and_those_that_were_asked_for_are_told_apart(ask: Ask, accept: str) -> None:
    headers = {**JSON, "Accept": accept}
    sample, _ = ask(SCORES, {"instances": [[1, 2], [-1, -2]]}, headers=headers)
    assert {name: column.shape for name, column in sample.outputs.items()} == {"label": (2,), "scores": (2, 2)}
    assert sample.outputs["label"].tolist() == sample.outputs["scores"].argmax(axis=1).tolist()


def test_only_outputs_that_were_asked_for_are_there(ask: Ask) -> None:
    sample, _ = ask(SCORES, {"instances": [[1, 2]], "outputs": ["label"]})
    assert set(sample.outputs) == {"label"}


def test_rows_of_many_values_stay_whole(ask: Ask) -> None:
    sample, signature = ask(IMAGES, {"instances": [[[1, 2], [3, 4]]] * 3})
    assert sample.inputs["x"].shape == (3, 2, 2)
    table = build_table([sample, sample], signature, Privacy())
    assert table.column("x").to_pylist() == [[1, 2, 3, 4]] * 6
    assert table.column("_row").to_pylist() == [0, 1, 2, 0, 1, 2]


def test_what_is_no_number_is_missing(ask: Ask) -> None:
    sample, _ = ask(NAMED, {"instances": [[None, 1]]}, non_finite=NonFinite.ALLOW)
    assert np.isnan(sample.inputs["age"]).all()
    assert np.isnan(sample.outputs["y"][:, 0]).all()


def test_hidden_columns_are_meant_by_their_own_name_and_by_that_of_their_input(ask: Ask) -> None:
    sample, signature = ask(NAMED, {"instances": [[1, 10]]})
    for hidden, left in ((("age",), {"income", "y"}), (("x", "y"), set()), (("_request_id",), {"age", "income", "y"})):
        names = build_table([sample], signature, Privacy(redact=hidden)).column_names
        assert {name for name in names if not name.startswith("_")} == left
        assert ("_request_id" in names) == (hidden != ("_request_id",))


def test_an_output_that_is_called_like_an_input_does_not_hide_it(ask: Ask) -> None:
    model = model_zoo.build(
        [helper.make_node("Identity", ["x"], ["age"])],
        [("x", "FP32", (None, 2))],
        [("age", "FP32", (None, 2))],
        metadata={"feature_names": "age,income"},
    )
    sample, signature = ask(model, {"instances": [[1, 10]]})
    table = build_table([sample], signature, Privacy())
    assert (table["age"].to_pylist(), table["output_age"].to_pylist()) == ([1], [[1, 10]])


def test_a_body_that_is_not_what_its_head_says_is_an_invalid_frame(inbox: tuple[Inbox, int], tmp_path: Path) -> None:
    folder = tmp_path / "monitoring"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"percent": 100, "address": f"127.0.0.1:{inbox[1]}"}))
    service = service_for(NAMED, tmp_path, monitoring_dir=folder)
    service.capture.turn(0.0)
    client = create_app(service).test_client()
    assert client.post("/predict", data=b'{"instances": [[1, 2]]}', headers=JSON).status_code == 200
    service.capture.turn(1.0)
    taken = inbox[0].take(timeout=10)
    service.capture.stop()
    assert taken is not None
    exchange, server = taken
    for broken in (
        exchange._replace(answer=b'{"predictions": [[1]'),
        exchange._replace(request=b'{"instances": []'),
        exchange._replace(protocol="v9"),
        exchange._replace(content_type="text/csv"),
    ):
        with pytest.raises(InvalidFrame):
            decode(broken, server)
