"""A replay gate under ``mep local up``: two real models predict for recorded rows before the candidate gets a request."""

from typing import Any

import pytest

from support.laptop import FIRST, SECOND, SHORT_STEPS, Laptop
from support.onnx_models import linear_model

pytestmark = pytest.mark.timeout(300)

NEARLY_FIRST = linear_model([0.5, -1.5, 2.0], intercept=1.000001)
GATE = {
    "name": "recorded",
    "input": {"uri": "file://rows.csv"},
    "output": {"uri": "file://reports/"},
    "columns": {"features": ["f0", "f1", "f2"], "passThrough": ["id"]},
}


def message(laptop: Laptop) -> str:
    return str(next(told["message"] for told in laptop.status()["conditions"] if told["type"] == "Ready"))


def decisions(laptop: Laptop) -> list[tuple[Any, ...]]:
    return [(told["revision"], told.get("gate"), told["verdict"]) for told in laptop.status().get("decisions", [])]


def test_a_model_that_predicts_otherwise_gets_no_request_and_one_that_predicts_the_same_takes_over(
    laptop: Laptop,
) -> None:
    laptop.write_rows(300)
    rollout = {"steps": SHORT_STEPS, "gates": {"replay": [GATE]}}
    laptop.write_endpoint(rollout=rollout)
    laptop.start("--watch")
    laptop.wait(lambda: laptop.serves(1))

    laptop.write_model(SECOND)
    laptop.wait(lambda: laptop.reason() == "GateFailed")
    assert "candidate and stable disagree about" in message(laptop) and "of 300 recorded rows" in message(laptop)
    (report,) = (laptop.folder / "reports").glob("churn-r2-recorded-*")
    assert list((report / "disagreements").iterdir())
    assert f"file://{report}" in laptop.run("get", "churn").stdout.replace("\n  ", " ")

    laptop.write_model(NEARLY_FIRST)
    laptop.wait(lambda: laptop.serves(3))
    assert (3, "replay/recorded", "Pass") in decisions(laptop)
    assert (2, "replay/recorded", "Fail") in decisions(laptop)
    assert FIRST.sha256 != NEARLY_FIRST.sha256
    assert laptop.interrupt() == 0
