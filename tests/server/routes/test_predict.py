"""Every protocol's predictions, through the whole app, with and without the fast path."""

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from modelendpoint_server.app import create_app
from modelendpoint_server.settings import NonFinite
from support import model_zoo
from support.onnx_models import linear_model
from support.served import client_for, service_for

LINEAR = linear_model([1.0, 10.0, 100.0], intercept=0.5)
JSON = {"Content-Type": "application/json"}
Serve = Callable[..., FlaskClient]


@pytest.fixture(params=[True, False], ids=["fast path", "Flask alone"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    """Serve model bytes, either way in."""

    def start(data: bytes = LINEAR.data, **changes: Any) -> FlaskClient:
        return client_for(data, tmp_path, fast_path=request.param, **changes)

    return start


def ask(client: FlaskClient, document: Any, path: str = "/predict") -> TestResponse:
    return client.post(path, data=json.dumps(document), headers=JSON)


def error_of(response: TestResponse) -> dict[str, Any]:
    body = response.get_json()
    assert set(body) <= {"error", "code", "field"}
    return dict(body)


@pytest.mark.parametrize("path", ["/predict", "/invocations", "/v1/models/churn:predict"])
def test_rows_are_predicted_on_every_path(serve: Serve, path: str) -> None:
    response = ask(serve(), {"instances": [[1, 2, 3], [0, 0, 0]]}, path)
    assert (response.status_code, response.get_json()) == (200, {"predictions": [[321.5], [0.5]]})


def test_every_answer_says_which_revision_and_which_bytes(serve: Serve) -> None:
    client = serve()
    for response in (ask(client, {"instances": [[1, 2, 3]]}), ask(client, {}), client.get("/nowhere")):
        assert response.headers["x-model-revision"] == "7"
        assert response.headers["x-model-sha256"] == LINEAR.sha256


def test_a_request_id_comes_back(serve: Serve) -> None:
    response = serve().post("/predict", data='{"instances": [[1,2,3]]}', headers={**JSON, "x-request-id": "abc"})
    assert response.headers.getlist("x-request-id") == ["abc"]


def test_what_curl_sends_without_being_told_is_read_as_json(serve: Serve) -> None:
    response = serve().post(
        "/predict",
        data='{"instances": [[1,2,3]]}',
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.get_json() == {"predictions": [[321.5]]}


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": [[1, 2, 3]]},
        {"inputs": {"features": [[1, 2, 3]]}},
        {"dataframe_split": {"data": [[1, 2, 3]]}},
        {"dataframe_split": {"columns": ["a", "b", "c"], "index": [0], "data": [[1, 2, 3]]}},
        {"instances": [{"features": [1, 2, 3]}]},
        {"instances": [[1, 2, 3]], "signature_name": "serving_default"},
    ],
)
def test_other_forms_of_rows_are_read(serve: Serve, document: Any) -> None:
    assert ask(serve(), document).get_json() == {"predictions": [[321.5]]}


def test_an_empty_batch_gives_an_empty_answer(serve: Serve) -> None:
    assert ask(serve(), {"instances": []}).get_json() == {"predictions": []}


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        ({"instances": [[1, 2]]}, "InvalidRequest", "shape [1, 2]; the model takes [-1, 3]"),
        ({"instances": [[1, 2, 3], [1]]}, "InvalidRequest", "row 1 has 1 values, row 0 has 3"),
        ({"instances": [[1, "x", 3]]}, "InvalidRequest", "'x' at [0, 1]; a number is expected"),
        ({"instances": [[1, None, 3]]}, "InvalidRequest", "null at [0, 1]"),
        ({"instances": [[1, True, 3]]}, "InvalidRequest", "true at [0, 1]"),
        ({"instances": [[1, 1e39, 3]]}, "InvalidRequest", "[0, 1], which FP32 can't hold"),
        ({"instances": 5}, "InvalidRequest", "instances must be a list"),
        ({"instances": [{"a": 1}]}, "InvalidRequest", "does not name its columns"),
        ({"instances": [[1, 2, 3]], "inputs": []}, "InvalidRequest", "exactly one of"),
        ({"instances": [[1, 2, 3]], "extra": 1}, "InvalidRequest", "'extra' is unknown"),
        ({"inputs": {"nope": [[1, 2, 3]]}}, "InvalidRequest", "no input 'nope'; its inputs are features FP32[-1, 3]"),
        (
            {"dataframe_split": {"columns": ["a"], "data": [[1, 2, 3]]}},
            "InvalidRequest",
            "1 column names for rows of 3 values",
        ),
        ({"instances": [[1, 2, 3]], "outputs": ["zzz"]}, "InvalidRequest", "no output 'zzz'"),
        ([], "InvalidRequest", "no object"),
    ],
)
def test_a_request_that_does_not_fit_is_told_what_is_wrong(serve: Serve, document: Any, code: str, words: str) -> None:
    response = ask(serve(), document)
    assert response.status_code == 400
    assert error_of(response)["code"] == code
    assert words in error_of(response)["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"instances": [[NaN,1,2]]}', b"[" * 100_000, b"nul"])
def test_what_is_no_json_is_refused(serve: Serve, body: bytes) -> None:
    response = serve().post("/predict", data=body, headers=JSON)
    assert response.status_code == 400
    assert "not JSON" in error_of(response)["error"]


def test_deep_nesting_is_refused(serve: Serve) -> None:
    response = serve().post("/predict", data=b'{"instances": ' + b"[" * 60 + b"]" * 60 + b"}", headers=JSON)
    assert "nested deeper than 32" in error_of(response)["error"]


def test_too_many_rows_are_refused(serve: Serve) -> None:
    response = ask(serve(max_rows=2), {"instances": [[1, 2, 3]] * 3})
    assert (response.status_code, "3 rows; at most 2" in error_of(response)["error"]) == (400, True)


def test_a_body_over_the_limit_is_refused(serve: Serve) -> None:
    response = ask(serve(max_body_bytes=100), {"instances": [[1, 2, 3]] * 30})
    assert (response.status_code, error_of(response)["code"]) == (413, "BodyTooLarge")


def test_another_model_and_another_version_are_unknown(serve: Serve) -> None:
    client = serve()
    for path in ("/v1/models/other:predict", "/v2/models/other/infer", "/v2/models/churn/versions/9/infer"):
        response = ask(client, {}, path)
        assert (response.status_code, error_of(response)["code"]) == (404, "UnknownModel")


def test_a_wrong_method_names_the_right_one(serve: Serve) -> None:
    response = serve().get("/predict")
    assert (response.status_code, error_of(response)["error"]) == (405, "This path takes OPTIONS, POST.")
    assert response.headers["Allow"] == "OPTIONS, POST"


# ── CSV ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def ask_csv(client: FlaskClient, text: str | bytes, **headers: str) -> TestResponse:
    return client.post("/predict", data=text, headers={"Content-Type": "text/csv", **headers})


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3\n0,0,0\n",
        "1,2,3\r\n0,0,0",
        "a,b,c\n1,2,3\n0,0,0\n",
        '"1","2","3"\n0,0,0\n',
        "\ufeff1,2,3\n0,0,0\n",
        " 1 , +2,3.\n.0,0e1,0\n\n",
    ],
)
def test_csv_is_read_with_and_without_header(serve: Serve, text: str) -> None:
    assert ask_csv(serve(), text.encode()).get_json() == {"predictions": [[321.5], [0.5]]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2\n", "shape [1, 2]; the model takes [-1, 3]"),
        ("1,2,3\n1,2\n", "Row 1 has 2 values; 3 are expected"),
        ("1,x,3\n", "Row 0, column 1 is 'x'"),
        ("1,,3\n", "Row 0, column 1 is ''"),
        ("1,nan,3\n", "nan at [0, 1]"),
        ("1_0,2,3\n", "Row 0, column 0 is '1_0'"),
        (b"\xff,2,3\n", "not UTF-8 at byte 0"),
        ('1,"2,3\n', "not CSV"),
        ("=1+1,2,3\n", "'=1+1'"),
    ],
)
def test_csv_that_does_not_fit_names_the_cell(serve: Serve, text: str | bytes, words: str) -> None:
    response = ask_csv(serve(), text)
    assert response.status_code == 400
    assert words in error_of(response)["error"]


def test_csv_rows_of_a_deeper_input_must_have_all_its_values(serve: Serve) -> None:
    client = serve(model_zoo.identity("FP32", (None, 2, 2)))
    assert ask_csv(client, "1,2,3,4\n").get_json() == {"predictions": [[[1, 2], [3, 4]]]}
    response = ask_csv(client, "a\n1\n")
    assert (response.status_code, error_of(response)["field"]) == (400, "columns")


def test_csv_is_answered_when_only_csv_is_accepted(serve: Serve) -> None:
    response = ask_csv(serve(), "1,2,3\n0,0,0\n", Accept="text/csv")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert response.data == b"score\r\n321.5\r\n0.5\r\n"


def test_csv_without_header_on_request(serve: Serve) -> None:
    response = ask_csv(serve(), "1,2,3\n", Accept="text/csv; header=absent")
    assert response.data == b"321.5\r\n"


def test_what_is_not_written_is_not_acceptable(serve: Serve) -> None:
    response = ask_csv(serve(), "1,2,3\n", Accept="application/x-npy")
    assert (response.status_code, error_of(response)["code"]) == (406, "NotAcceptable")


def test_what_is_not_read_is_unsupported(serve: Serve) -> None:
    response = serve().post("/predict", data=b"x", headers={"Content-Type": "image/png"})
    assert (response.status_code, error_of(response)["code"]) == (415, "UnsupportedMediaType")


# ── columns, several tensors, maps ────────────────────────────────────────────────────────────────────────────────────

COLUMNS = model_zoo.echo([("age", "FP32", (None, 1)), ("city", "BYTES", (None, 1)), ("vip", "BOOL", (None, 1))])
ROW = {"age_out": [41.5], "city_out": ["Köln"], "vip_out": [True]}


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [{"vip": True, "age": 41.5, "city": "Köln"}]},
        {"instances": [[41.5, "Köln", True]]},
        {"dataframe_records": [{"city": "Köln", "vip": True, "age": 41.5}]},
        {"dataframe_split": {"columns": ["vip", "city", "age"], "data": [[True, "Köln", 41.5]]}},
        {"inputs": {"age": [[41.5]], "city": [["Köln"]], "vip": [[True]]}},
    ],
)
def test_columns_are_found_by_name(serve: Serve, document: Any) -> None:
    assert ask(serve(COLUMNS), document).get_json() == {"predictions": [ROW]}


@pytest.mark.parametrize("text", ["city,age,vip\nKöln,41.5,true\n", "41.5,Köln,1\n"])
def test_csv_columns_are_found_by_name_or_place(serve: Serve, text: str) -> None:
    assert ask_csv(serve(COLUMNS), text.encode()).get_json() == {"predictions": [ROW]}


@pytest.mark.parametrize(
    ("row", "field"), [({"age": 1, "city": "x"}, "vip"), ({"age": 1, "city": "x", "vip": True, "zip": 1}, "zip")]
)
def test_a_missing_and_an_unknown_column_are_named(serve: Serve, row: Any, field: str) -> None:
    response = ask(serve(COLUMNS), {"instances": [row]})
    assert (response.status_code, error_of(response)["field"]) == (400, field)


def test_columns_of_one_wide_input_are_found_by_the_models_metadata(serve: Serve) -> None:
    from onnx import helper

    data = model_zoo.build(
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", "FP32", (None, 2))],
        [("y", "FP32", (None, 2))],
        metadata={"feature_names": '["a", "b"]'},
    )
    client = serve(data)
    assert ask(client, {"instances": [{"b": 2, "a": 1}]}).get_json() == {"predictions": [[1, 2]]}
    assert ask_csv(client, "b,a\n2,1\n").get_json() == {"predictions": [[1, 2]]}


def test_zipmap_answers_are_objects(serve: Serve) -> None:
    document = ask(serve(model_zoo.classifier(features=2, zipmap=True)), {"instances": [[1, 1]]}).get_json()
    (row,) = document["predictions"]
    assert row["label"] == 1
    assert row["probabilities"]["1"] == pytest.approx(1 / (1 + np.exp(-2.25)))


def test_zipmap_answers_in_csv_have_one_column_a_class(serve: Serve) -> None:
    response = ask_csv(serve(model_zoo.classifier(features=2, zipmap=True)), "1,1\n", Accept="text/csv")
    assert response.data.splitlines()[0] == b"label,probabilities_0,probabilities_1"


def test_chosen_outputs_are_the_only_ones(serve: Serve) -> None:
    client = serve(model_zoo.classifier(features=2, zipmap=False))
    assert ask(client, {"instances": [[1, 1]], "outputs": ["label"]}).get_json() == {"predictions": [1]}


def test_answers_that_are_no_numbers_are_null(serve: Serve) -> None:
    response = ask(serve(model_zoo.logarithm()), {"instances": [[-1, 0], [1, 1]]})
    assert response.get_json() == {"predictions": [[None, None], [0, 0]]}


def test_missing_values_are_nan_when_they_are_allowed(serve: Serve) -> None:
    client = serve(non_finite=NonFinite.ALLOW)
    assert ask(client, {"instances": [[1, None, 3]]}).get_json() == {"predictions": [[None]]}
    assert ask_csv(client, "1,,3\n").get_json() == {"predictions": [[None]]}


# ── V2 ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def v2(client: FlaskClient, data: Any, *, datatype: str = "FP32", shape: Any = (1, 3), **more: Any) -> TestResponse:
    entry = {"name": "features", "datatype": datatype, "shape": list(shape), "data": data}
    return ask(client, {"inputs": [entry], **more}, "/v2/models/churn/infer")


@pytest.mark.parametrize("data", [[1, 2, 3], [[1, 2, 3]]])
def test_v2_reads_flat_and_nested_data(serve: Serve, data: Any) -> None:
    assert v2(serve(), data, id="q1").get_json() == {
        "model_name": "churn",
        "model_version": "7",
        "id": "q1",
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [1, 1], "data": [321.5]}],
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": [1, 2]}, "2 values; its shape [1, 3] asks for 3"),
        ({"data": [1, 2, 3], "shape": [3]}, "shape [3]; the model takes [-1, 3]"),
        ({"data": [1, 2, 3], "shape": [1, -3]}, "must be a list of sizes"),
        ({"data": [1, 2, 3], "datatype": "INT64"}, "datatype 'INT64'; the model takes FP32"),
        ({"data": [1, 2, "3"]}, "'3' at [2]"),
        ({"data": [1, 2, 3], "id": 5}, "id must be a string"),
        ({"data": [1, 2, 3], "outputs": [{"name": "q"}]}, "no output 'q'"),
        ({"data": [1, 2, 3], "outputs": [{}]}, "needs a name"),
        ({"data": [1, 2, 3], "sequence": 1}, "'sequence' is not one"),
    ],
)
def test_v2_that_does_not_fit_is_told_what_is_wrong(serve: Serve, changes: Any, words: str) -> None:
    response = v2(serve(), **changes)
    assert response.status_code == 400
    assert words in error_of(response)["error"]


def binary(client: FlaskClient, document: Any, raw: bytes, *, length: str | None = None) -> TestResponse:
    head = json.dumps(document).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": length or str(len(head)),
    }
    return client.post("/v2/models/churn/infer", data=head + raw, headers=headers)


def binary_input(size: int, *, datatype: str = "FP32", shape: Any = (1, 3), name: str = "features") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "parameters": {"binary_data_size": size}}


def test_v2_takes_and_gives_raw_tensors(serve: Serve) -> None:
    document = {"inputs": [binary_input(12)], "parameters": {"binary_data_output": True}}
    response = binary(serve(), document, struct.pack("<3f", 1, 2, 3))
    end = int(response.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(response.data[:end])["outputs"]
    assert output == {"name": "score", "datatype": "FP32", "shape": [1, 1], "parameters": {"binary_data_size": 4}}
    assert struct.unpack("<f", response.data[end:]) == (321.5,)


@pytest.mark.parametrize(
    ("document", "raw", "length", "words"),
    [
        ({"inputs": [binary_input(12)]}, b"\0" * 8, None, "only 8 are left"),
        ({"inputs": [binary_input(12)]}, b"\0" * 16, None, "4 bytes of binary data at the end"),
        ({"inputs": [binary_input(11)]}, b"\0" * 11, None, "no multiple of 4"),
        ({"inputs": [binary_input(8)]}, b"\0" * 8, None, "2 values; its shape"),
        ({"inputs": [binary_input(-1)]}, b"", None, "must be a whole number"),
        ({"inputs": [{**binary_input(12), "data": [1]}]}, b"\0" * 12, None, "both data and"),
        ({"inputs": [binary_input(12)]}, b"\0" * 12, "99999", "Inference-Header-Content-Length is '99999'"),
        ({"inputs": [binary_input(12)]}, b"\0" * 12, "-1", "Inference-Header-Content-Length is '-1'"),
        ({"inputs": [binary_input(12)]}, b"\0\0\x80\x7f" * 3, None, "inf at [0, 0]"),
    ],
)
def test_raw_tensors_that_do_not_fit_are_refused(
    serve: Serve, document: Any, raw: bytes, length: str | None, words: str
) -> None:
    response = binary(serve(), document, raw, length=length)
    assert response.status_code == 400
    assert words in error_of(response)["error"]


VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True],
    "UINT8": [0, 7, 255],
    "UINT16": [0, 7, 65535],
    "UINT32": [0, 7, 2**32 - 1],
    "UINT64": [0, 7, 2**64 - 1],
    "INT8": [-128, 0, 127],
    "INT16": [-32768, 0, 32767],
    "INT32": [-(2**31), 0, 2**31 - 1],
    "INT64": [-(2**63), 0, 2**63 - 1],
    "FP16": [-2.5, 0, 65504],
    "FP32": [-2.5, 0, 1e30],
    "FP64": [-2.5, 0, 1e300],
    "BF16": [-2.5, 0, 1.0078125],
    "BYTES": ["", 'a\n"b"', "日本"],
}


@pytest.mark.parametrize("datatype", model_zoo.DATATYPES)
def test_every_datatype_goes_through_as_json(serve: Serve, datatype: str) -> None:
    client = serve(model_zoo.identity(datatype))
    entry = {"name": "x", "datatype": datatype, "shape": [1, 3], "data": VALUES[datatype]}
    response = ask(client, {"inputs": [entry]}, "/v2/models/churn/infer")
    assert response.status_code == 200, response.data
    (output,) = response.get_json()["outputs"]
    assert (output["datatype"], output["shape"], output["data"]) == (datatype, [1, 3], VALUES[datatype])
    assert ask(client, {"instances": [VALUES[datatype]]}).get_json() == {"predictions": [VALUES[datatype]]}


@pytest.mark.parametrize("datatype", model_zoo.DATATYPES)
def test_every_datatype_goes_through_as_raw_bytes(serve: Serve, datatype: str) -> None:
    client = serve(model_zoo.identity(datatype))
    if datatype == "BYTES":
        texts = [text.encode() for text in VALUES[datatype]]
        raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    elif datatype == "BF16":
        raw = (np.array(VALUES[datatype], dtype="<f4").view("<u4") >> 16).astype("<u2").tobytes()
    else:
        names = {"BOOL": "?", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
        kind = names.get(datatype) or f"<{'u' if datatype[0] == 'U' else 'i'}{int(datatype.lstrip('UINT')) // 8}"
        raw = np.array(VALUES[datatype], dtype=kind).tobytes()
    entry = binary_input(len(raw), datatype=datatype, name="x")
    response = binary(client, {"inputs": [entry], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}, raw)
    end = int(response.headers["Inference-Header-Content-Length"])
    assert response.data[end:] == raw


@pytest.mark.parametrize("shape", [(), (2,), (None,), (0, 3), (None, 2, 2), (2, None)])
def test_every_kind_of_shape_goes_through(serve: Serve, shape: Any) -> None:
    sizes = [3 if size is None else size for size in shape]
    values = np.arange(int(np.prod(sizes)), dtype=np.float32).reshape(sizes)
    entry = {"name": "x", "datatype": "FP32", "shape": sizes, "data": values.reshape(-1).tolist()}
    response = ask(serve(model_zoo.identity("FP32", shape)), {"inputs": [entry]}, "/v2/models/churn/infer")
    (output,) = response.get_json()["outputs"]
    assert (output["shape"], output["data"]) == (sizes, entry["data"])


def test_several_tensors_in_and_out(serve: Serve) -> None:
    client = serve(model_zoo.echo([("a", "FP32", (None, 2)), ("b", "INT64", (None,))]))
    entries = [
        {"name": "b", "datatype": "INT64", "shape": [2], "data": [7, 8]},
        {"name": "a", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]},
    ]
    outputs = ask(client, {"inputs": entries}, "/v2/models/churn/infer").get_json()["outputs"]
    assert [(output["name"], output["data"]) for output in outputs] == [("a_out", [1, 2, 3, 4]), ("b_out", [7, 8])]
    missing = ask(client, {"inputs": entries[:1]}, "/v2/models/churn/infer")
    assert error_of(missing)["field"] == "a"
    assert ask(client, {"instances": [{"a": [1, 2], "b": 7}]}).get_json() == {
        "predictions": [{"a_out": [1, 2], "b_out": 7}]
    }


def test_maps_travel_as_strings_in_v2(serve: Serve) -> None:
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 1]}
    client = serve(model_zoo.classifier(features=2, zipmap=True))
    outputs = ask(client, {"inputs": [entry]}, "/v2/models/churn/infer").get_json()["outputs"]
    assert (outputs[1]["datatype"], outputs[1]["shape"]) == ("BYTES", [1])
    assert set(json.loads(outputs[1]["data"][0])) == {"0", "1"}


# ── packing, failures, metadata ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_packed_bodies_are_unpacked(serve: Serve, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    headers = {**JSON, "Content-Encoding": encoding}
    client = serve()
    response = client.post("/predict", data=pack(b'{"instances": [[1,2,3]]}'), headers=headers)
    assert response.get_json() == {"predictions": [[321.5]]}
    broken = client.post("/predict", data=pack(b"x" * 99)[:-9], headers=headers)
    assert (broken.status_code, error_of(broken)["field"]) == (400, "content-encoding")


def test_a_gzip_bomb_is_too_large(serve: Serve) -> None:
    bomb = gzip.compress(b"[" * 10_000_000)
    response = serve(max_body_bytes=100_000).post("/predict", data=bomb, headers={**JSON, "Content-Encoding": "gzip"})
    assert response.status_code == 413


def test_an_unknown_packing_is_unsupported(serve: Serve) -> None:
    response = serve().post("/predict", data=b"x", headers={**JSON, "Content-Encoding": "br"})
    assert response.status_code == 415


def test_large_answers_are_packed_for_who_likes_that(serve: Serve) -> None:
    client = serve(gzip_min_bytes=100)
    body = json.dumps({"instances": [[1, 2, 3]] * 50})
    packed = client.post("/predict", data=body, headers={**JSON, "Accept-Encoding": "gzip"})
    plain = client.post("/predict", data=body, headers=JSON)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data


def test_an_input_that_the_model_refuses_is_the_clients_mistake(serve: Serve) -> None:
    client = serve(model_zoo.lookup([5, 6]))
    assert ask(client, {"instances": [1, 0]}).get_json() == {"predictions": [6, 5]}
    response = ask(client, {"instances": [99]})
    assert (response.status_code, error_of(response)["code"]) == (400, "InvalidRequest")
    assert "/onnxruntime/" not in error_of(response)["error"]


def test_a_model_that_fails_is_a_documented_500(serve: Serve) -> None:
    client = serve(model_zoo.memory_bomb(), warm_up=False)
    response = ask(client, {"inputs": [10**15]})
    assert (response.status_code, error_of(response)["code"]) == (500, "InferenceFailed")
    assert ask(client, {"inputs": [2]}).get_json() == {"predictions": [0, 0]}


def test_a_run_that_takes_too_long_is_stopped(serve: Serve) -> None:
    client = serve(model_zoo.endless(), warm_up=False, request_timeout_seconds=0.2)
    response = ask(client, {"instances": [[1]]})
    assert (response.status_code, error_of(response)["code"]) == (504, "DeadlineExceeded")


def test_metadata_follows_the_protocols(serve: Serve) -> None:
    client = serve(model_version="3")
    assert client.get("/v2/models/churn").get_json() == {
        "name": "churn",
        "versions": ["3"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}],
    }
    assert client.get("/v1/models/churn").get_json()["ready"] is True
    assert client.get("/v2/health/ready").get_json() == {"ready": True, "live": True}
    assert client.get("/v2/models/churn/versions/3/ready").status_code == 200
    assert client.get("/ping").status_code == 200


def test_vertex_ai_routes_are_served(serve: Serve) -> None:
    client = serve(vertex_predict_route="/vertex/p", vertex_health_route="/vertex/h")
    assert ask(client, {"instances": [[1, 2, 3]]}, "/vertex/p").get_json() == {"predictions": [[321.5]]}
    assert client.get("/vertex/h").status_code == 200


# ── both ways in give the same bytes ──────────────────────────────────────────────────────────────────────────────────

CORPUS: list[tuple[str, str, bytes, dict[str, str]]] = [
    ("POST", "/predict", b'{"instances": [[1,2,3]]}', JSON),
    ("POST", "/predict", b'{"instances": [[1,2,3]]}', {**JSON, "x-request-id": "a", "Accept": "application/json"}),
    ("POST", "/predict", b'{"instances": [[1,2,3]]}', {**JSON, "Accept": "text/csv"}),
    ("POST", "/predict", b'{"instances": [[1,2,3]]}', {**JSON, "Accept-Encoding": "gzip"}),
    ("POST", "/predict", b'{"instances": [[1,2]]}', JSON),
    ("POST", "/predict", b'{"instances": [[1,2', JSON),
    ("POST", "/predict", b"1,2,3\n", {"Content-Type": "text/csv"}),
    ("POST", "/predict", b"1,2\n", {"Content-Type": "text/csv"}),
    ("POST", "/v1/models/churn:predict", b'{"instances": []}', JSON),
    ("POST", "/v2/models/churn/infer", b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1]}]}', JSON),
    (
        "POST",
        "/v2/models/churn/infer",
        b'{"id":"i","inputs":[{"name":"features","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}',
        JSON,
    ),
    ("POST", "/invocations", b"", JSON),
    ("PUT", "/predict", b"{}", JSON),
    ("GET", "/predict", b"", {}),
]


@pytest.mark.parametrize(("method", "path", "body", "headers"), CORPUS)
def test_both_ways_in_answer_byte_for_byte_alike(
    tmp_path: Path, method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    answers = []
    for fast in (True, False):
        service = service_for(LINEAR.data, tmp_path, fast_path=fast, gzip_min_bytes=10)
        response = create_app(service).test_client().open(path, method=method, data=body, headers=headers)
        counted = [line for line in service.metrics.render().decode().splitlines() if "requests_total{" in line]
        answers.append((response.status, list(response.headers), response.data, counted))
    assert answers[0] == answers[1]
