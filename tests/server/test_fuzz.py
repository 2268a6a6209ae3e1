"""Whatever comes in: an answer that is documented, in JSON, and the server serves on as before.

``MODELENDPOINT_FUZZ`` multiplies the number of tries.
"""

import gzip
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support import model_zoo
from support.served import client_for

TIMES = int(os.environ.get("MODELENDPOINT_FUZZ", "1"))
PATHS = ["/predict", "/invocations", "/v1/models/churn:predict", "/v2/models/churn/infer"]
DOCUMENTED = {200, 400, 404, 405, 406, 413, 415}
many = settings(max_examples=150 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", params=["one", "columns", "image"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """Serve models with one input, with named columns of several types, and with a deeper shape."""
    data = {
        "one": model_zoo.classifier(features=3, zipmap=False),
        "columns": model_zoo.echo(
            [
                ("age", "FP32", (None, 1)),
                ("city", "BYTES", (None, 1)),
                ("n", "INT8", (None, 1)),
                ("b", "BOOL", (None, 1)),
            ]
        ),
        "image": model_zoo.identity("FP16", (None, 2, 2)),
    }[request.param]
    yield client_for(data, tmp_path_factory.mktemp("fuzz"), max_body_bytes=100_000, max_rows=50)


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["x", "FP32", "BYTES", "age", "city", "churn", ""]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(
            st.sampled_from(
                [
                    "instances",
                    "inputs",
                    "outputs",
                    "name",
                    "shape",
                    "datatype",
                    "data",
                    "parameters",
                    "columns",
                    "age",
                    "n",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=25,
)
documents = st.one_of(
    values,
    st.fixed_dictionaries(
        {}, optional={key: values for key in ("instances", "inputs", "dataframe_split", "id", "outputs")}
    ),
    st.fixed_dictionaries(
        {
            "inputs": st.lists(
                st.fixed_dictionaries(
                    {
                        "name": st.sampled_from(["x", "age", "city", "n", "b", "no"]),
                        "shape": st.lists(st.integers(-2, 4), max_size=4),
                        "datatype": st.sampled_from(["FP32", "FP16", "BYTES", "INT8", "BOOL", "XX"]),
                    },
                    optional={
                        "data": values,
                        "parameters": st.dictionaries(st.sampled_from(["binary_data_size"]), values),
                    },
                ),
                max_size=4,
            )
        },
        optional={"outputs": values, "id": values, "parameters": values},
    ),
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(
            [
                "application/json",
                "text/csv",
                "application/octet-stream",
                "text/csv; header=present",
                "x",
                "image/png; a=b",
            ]
        ),
        "Accept": st.sampled_from(["*/*", "text/csv", "application/json;q=0", ";;,", "text/*", "q"]),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "identity", "br", ""]),
        "Inference-Header-Content-Length": st.sampled_from(["0", "5", "-1", "99999999999999", "x", "²"]),
        "Accept-Encoding": st.sampled_from(["gzip", "*", "gzip;q=0"]),
        "x-request-id": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300),
    },
)


def ask(client: FlaskClient, path: str, body: bytes, head: dict[str, str]) -> None:
    """Ask, and check everything that must hold for any answer; then see that the server is as it was."""
    response = client.post(path, data=body, headers={**head})
    assert response.status_code in DOCUMENTED, (response.status_code, response.data[:500])
    assert response.headers["x-model-revision"] == "7"
    data = gzip.decompress(response.data) if response.headers.get("Content-Encoding") == "gzip" else response.data
    if response.status_code != 200:
        error = json.loads(data)
        assert error["code"] and error["error"]
        assert len(data) < 5000
    elif response.mimetype == "application/json":
        json.loads(data, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@many
@given(path=st.sampled_from(PATHS), body=st.binary(max_size=300), head=headers)
def test_any_bytes(client: FlaskClient, path: str, body: bytes, head: dict[str, str]) -> None:
    ask(client, path, body, head)


@many
@given(path=st.sampled_from(PATHS), document=documents, head=headers)
def test_any_json(client: FlaskClient, path: str, document: Any, head: dict[str, str]) -> None:
    ask(client, path, json.dumps(document).encode(), {"Content-Type": "application/json", **head})


@many
@given(document=documents, tail=st.binary(max_size=60), cut=st.integers(-3, 3), path=st.sampled_from(PATHS))
def test_any_raw_tensors(client: FlaskClient, document: Any, tail: bytes, cut: int, path: str) -> None:
    head = json.dumps(document).encode()
    length = {"Inference-Header-Content-Length": str(len(head) + cut), "Content-Type": "application/octet-stream"}
    ask(client, path, head + tail, length)


cells = st.one_of(
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(["", '"', '""', '"a', "a\nb", "age", "1_0", "٣", "0x1", "nan", "inf", "1e999", "true", "\0", "\r"]),
    st.text(max_size=5),
)


@many
@given(rows=st.lists(st.lists(cells, max_size=6), max_size=6), end=st.sampled_from(["\n", "\r\n", "\r"]), head=headers)
def test_any_csv(client: FlaskClient, rows: list[list[str]], end: str, head: dict[str, str]) -> None:
    text = end.join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")
    ask(client, "/predict", text, {**head, "Content-Type": "text/csv"})


@many
@given(body=st.binary(max_size=200), encoding=st.sampled_from(["gzip", "deflate"]), cut=st.integers(0, 40))
def test_any_packing(client: FlaskClient, body: bytes, encoding: str, cut: int) -> None:
    packed = gzip.compress(body)
    ask(client, "/predict", packed[: len(packed) - cut], {"Content-Encoding": encoding})


def test_after_all_that_the_server_predicts_as_before(client: FlaskClient) -> None:
    page = client.get("/openapi.json").get_json()
    content = page["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert client.post("/predict", json=content["example"]).status_code == 200
