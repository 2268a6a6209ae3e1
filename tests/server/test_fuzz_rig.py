"""A few seconds of the fuzz rig, and what its long runs have found: it stays mended."""

import dataclasses
import json
from pathlib import Path

import pytest

from support import fuzz
from support.fuzz import Finding, Reply, Target, check
from support.fuzz_cases import NAME, Case, served_models

JSON = (("Content-Type", "application/json"),)
CSV = (("Content-Type", "text/csv"),)
RAW = (("Content-Type", "application/octet-stream"),)
V2 = f"/v2/models/{NAME}/infer".encode()


def tensor(data: object, shape: object, *, datatype: str = "FP32", name: str = "x") -> bytes:
    entry = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return json.dumps({"inputs": [entry]}).encode()


FOUND: dict[str, tuple[str, Case, int]] = {
    "a lone carriage return ends a line of CSV": ("maps", Case("POST", b"/predict", CSV, b"0.0\r,0.0"), 400),
    "a number of 500 digits is one in CSV as in JSON": (
        "maps",
        Case("POST", b"/predict", CSV, b"0.5,0." + b"1" * 500),
        200,
    ),
    "an empty list is no list of one": (
        "free-int",
        Case("POST", b"/predict", JSON, b'{"instances": [[[0], [], [0]]]}'),
        400,
    ),
    "a list within flat data is none of its values": (
        "bfloat",
        Case("POST", V2, JSON, tensor([0, [0]], [1, 2], datatype="BF16")),
        400,
    ),
    "deep lists within flat data are too deep": (
        "bfloat",
        Case(
            "POST",
            V2,
            JSON,
            b'{"inputs":[{"name":"x","datatype":"BF16","shape":[1,2],"data":[0,'
            + b"[" * 33
            + b"0"
            + b"]" * 33
            + b"]}]}",
        ),
        400,
    ),
    "a shape of 153 sizes is none of the model's": (
        "free-int",
        Case("POST", V2, JSON, tensor([1], [1] * 153, datatype="INT64")),
        400,
    ),
    "a size is no true": ("free-int", Case("POST", V2, JSON, tensor([0], [True, 1, 1], datatype="INT64")), 400),
    "beside a size of 0 others have bounds, too": ("free", Case("POST", V2, JSON, tensor([], [0, 2**39, 2**39])), 400),
    "a path with two slashes is another path": ("one", Case("POST", b"/v2//models/churn/infer", JSON, b"{}"), 404),
    "an error is short whatever it is about": ("one", Case("POST", V2, JSON, tensor([1], [1], name="a" * 9000)), 400),
}


@pytest.mark.parametrize("finding", FOUND)
def test_what_was_found_stays_mended(finding: str, tmp_path: Path) -> None:
    name, case, status = FOUND[finding]
    target = Target(name, served_models()[name], tmp_path)
    assert target.send(case, both=True).status == status


def test_a_number_makes_the_same_case_each_time(tmp_path: Path) -> None:
    cases = Target("one", served_models()["one"], tmp_path).cases
    assert [cases.make(number) for number in range(50)] == [cases.make(number) for number in range(50)]
    assert len({cases.make(number) for number in range(50)}) > 45


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, {"content-type": "application/json", "x-model-revision": "7"}, b'{"predictions": [NaN]}'),
        Reply(200, {"content-type": "application/json"}, b"{}"),
        Reply(500, {"x-model-revision": "7"}, b'{"error": "A bug.", "code": "InternalError"}'),
        Reply(400, {"x-model-revision": "7"}, b'{"error": "", "code": "InvalidRequest"}'),
        Reply(308, {"x-model-revision": "7"}, b"<html>"),
        Reply(400, {"x-model-revision": "7"}, json.dumps({"error": "a" * 6000, "code": "InvalidRequest"}).encode()),
    ],
)
def test_the_rig_sees_what_must_not_be(reply: Reply) -> None:
    with pytest.raises(Finding):
        check(Case("POST", b"/predict", (), b""), reply)


def test_the_rig_sees_two_different_answers() -> None:
    one = Reply(200, {}, b'{"predictions":[1]}')
    for other in (dataclasses.replace(one, body=b'{"predictions":[2]}'), dataclasses.replace(one, status=400)):
        with pytest.raises(Finding):
            fuzz.compare(one, other)


def test_thousands_of_requests_that_are_nearly_right_find_nothing(tmp_path: Path) -> None:
    result = fuzz.run_in_process(requests=20_000, seed=0, folder=tmp_path, seconds=25, tell=print)
    assert result.findings == {}
    assert result.requests >= 2000
    assert result.statuses[200] and result.statuses[400]


def test_a_server_process_lives_through_them(tmp_path: Path) -> None:
    result = fuzz.run_over_sockets(requests=600, seed=0, folder=tmp_path, models=("one", "text"), tell=print)
    assert result.findings == {}
    assert result.statuses[200] and result.statuses[400]
