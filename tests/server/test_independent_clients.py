"""The server judged by clients that others wrote: Triton's, and the request forms of MLflow and SageMaker."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype
from werkzeug.serving import make_server

from modelendpoint_server.app import create_app
from support import model_zoo
from support.onnx_models import linear_model
from support.served import client_for, service_for

LINEAR = linear_model([1.0, 10.0, 100.0], intercept=0.5)


@contextlib.contextmanager
def serving(data: bytes, folder: Path) -> Iterator[InferenceServerClient]:
    """Serve on a port of the loopback, and connect Triton's client to it."""
    import threading

    server = make_server("127.0.0.1", 0, create_app(service_for(data, folder)), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    client = InferenceServerClient(f"127.0.0.1:{server.server_port}")
    try:
        yield client
    finally:
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()


def tensor(name: str, value: np.ndarray[Any, Any], *, binary: bool) -> InferInput:
    entry = InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
    entry.set_data_from_numpy(value, binary_data=binary)
    return entry


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tritons_client_gets_right_answers(tmp_path: Path, binary_in: bool, binary_out: bool) -> None:
    x = np.array([[1, 2, 3], [0, 0, 0]], dtype=np.float32)
    with serving(LINEAR.data, tmp_path) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("churn")
        assert client.get_model_metadata("churn")["inputs"][0]["shape"] == [-1, 3]
        answer = client.infer(
            "churn",
            [tensor("features", x, binary=binary_in)],
            outputs=[InferRequestedOutput("score", binary_data=binary_out)],
            request_id="42",
        )
    np.testing.assert_allclose(answer.as_numpy("score"), [[321.5], [0.5]])
    assert answer.get_response()["id"] == "42"


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.uint8, np.int16, np.int64, np.float16, np.float32, np.float64, np.object_]
)
def test_tritons_client_exchanges_every_type(tmp_path: Path, dtype: Any) -> None:
    x = np.array([["a", "ü", ""]], dtype=dtype) if dtype is np.object_ else np.array([[0, 1, 2]]).astype(dtype)
    datatype = np_to_triton_dtype(np.dtype(dtype))
    with serving(model_zoo.identity(datatype), tmp_path) as client:
        y = client.infer("churn", [tensor("x", x, binary=True)]).as_numpy("y")
    if dtype is np.object_:
        y = np.array([[text.decode() for text in row] for row in y], dtype=object)
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritons_client_may_pack_its_requests(tmp_path: Path, algorithm: str) -> None:
    x = np.ones((50, 3), dtype=np.float32)
    with serving(LINEAR.data, tmp_path) as client:
        answer = client.infer(
            "churn",
            [tensor("features", x, binary=True)],
            request_compression_algorithm=algorithm,
            response_compression_algorithm="gzip",
        )
    assert answer.as_numpy("score").shape == (50, 1)


def test_tritons_client_understands_our_errors(tmp_path: Path) -> None:
    with serving(LINEAR.data, tmp_path) as client:
        with pytest.raises(InferenceServerException, match=r"the model takes \[-1, 3\]"):
            client.infer("churn", [tensor("features", np.ones((1, 2), dtype=np.float32), binary=True)])
        with pytest.raises(InferenceServerException, match="There is no model 'other'"):
            client.get_model_metadata("other")


def test_mlflows_request_forms_are_understood(tmp_path: Path) -> None:
    """As ``mlflow.pyfunc.scoring_server`` documents them: a frame as pandas writes it, split or as records."""
    data = model_zoo.echo([("age", "FP32", (None, 1)), ("city", "BYTES", (None, 1))])
    client = client_for(data, tmp_path)
    row = {"age_out": [41.0], "city_out": ["Rome"]}
    for document in (
        {"dataframe_split": {"index": [0], "columns": ["city", "age"], "data": [["Rome", 41.0]]}},
        {"dataframe_records": [{"city": "Rome", "age": 41.0}], "params": {}},
        {"inputs": {"age": [[41.0]], "city": [["Rome"]]}},
    ):
        response = client.post("/invocations", json=document)
        assert response.get_json() == {"predictions": [row]}
    text = client.post("/invocations", data="city,age\nRome,41.0\n", headers={"Content-Type": "text/csv"})
    assert text.get_json() == {"predictions": [row]}


def test_sagemakers_request_forms_are_understood(tmp_path: Path) -> None:
    """As the ``sagemaker`` SDK's CSVSerializer and JSONSerializer send, and its CSV deserializer reads."""
    client = client_for(LINEAR.data, tmp_path)
    assert client.get("/ping").status_code == 200
    rows = io.StringIO()
    np.savetxt(rows, [[1, 2, 3], [0, 0, 0]], delimiter=",", fmt="%g")
    headers = {"Content-Type": "text/csv", "Accept": "text/csv; header=absent"}
    response = client.post("/invocations", data=rows.getvalue().rstrip("\n"), headers=headers)
    assert np.loadtxt(io.StringIO(response.text), delimiter=",").tolist() == [321.5, 0.5]
    answer = client.post("/invocations", data=json.dumps({"instances": [[1, 2, 3]]}), content_type="application/json")
    assert answer.get_json() == {"predictions": [[321.5]]}
