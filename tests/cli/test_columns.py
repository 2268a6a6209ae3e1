"""The columns of ``mep get`` are those of ``kubectl get``."""

from datetime import UTC, datetime, timedelta
from typing import Any

from modelendpoint.columns import cells, headings
from modelendpoint_operator.api.batch_crd import BATCH_PREDICTION
from modelendpoint_operator.api.crd import MODEL_ENDPOINT

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def a_batch(**status: Any) -> dict[str, Any]:
    created = (NOW - timedelta(minutes=5)).isoformat()
    return {"metadata": {"name": "weekly", "creationTimestamp": created}, "status": status}


def cell(body: dict[str, Any], heading: str) -> str:
    return cells(BATCH_PREDICTION, body, now=NOW)[headings(BATCH_PREDICTION).index(heading)]


def test_every_column_of_the_crd_is_there() -> None:
    assert headings(BATCH_PREDICTION) == ["NAME", "STATUS", "PROGRESS", "REJECTED", "ROWS/S", "ETA", "LAST RUN", "AGE"]


def test_every_path_of_our_columns_leads_to_what_is_there() -> None:
    conditions = [{"type": "Stalled", "reason": "wrong"}, {"type": "Ready", "reason": "Working", "message": "so far"}]
    progress = {"text": "3/9", "rowsRejected": 0, "rowsPerSecond": 7, "eta": "8s"}
    last = (NOW - timedelta(hours=3)).isoformat()
    body = a_batch(conditions=conditions, progress=progress, schedule={"lastScheduleTime": last})
    assert cells(BATCH_PREDICTION, body, now=NOW) == ["weekly", "Working", "3/9", "0", "7", "8s", "3h0m", "5m0s"]


def test_what_is_not_there_is_empty() -> None:
    assert cells(BATCH_PREDICTION, a_batch(), now=NOW) == ["weekly", "", "", "", "", "", "", "5m0s"]
    assert cell(a_batch(conditions=[]), "STATUS") == cell(a_batch(progress={}), "ETA") == ""


def test_columns_of_endpoints_are_understood_too() -> None:
    body = {"metadata": {"name": "churn"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    found = dict(zip(headings(MODEL_ENDPOINT), cells(MODEL_ENDPOINT, body, now=NOW), strict=True))
    assert (found["NAME"], found["READY"]) == ("churn", "True")
