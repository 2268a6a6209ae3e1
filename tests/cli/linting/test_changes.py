"""What the API server lets nobody change."""

from typing import Any

import pytest

from modelendpoint.linting.lint import lint_change


def a_batch(**spec: Any) -> dict[str, Any]:
    given = {"model": {"uri": "s3://m/a"}, "input": {"uri": "s3://rows/a"}, "output": {"uri": "s3://out/a/"}, **spec}
    return {"kind": "BatchPrediction", "metadata": {"name": "weekly"}, "spec": given}


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        pytest.param({}, {}, [], id="nothing"),
        pytest.param({}, {"parallelism": 3, "suspend": True}, [], id="what a run can take"),
        pytest.param({}, {"columns": {"passThrough": []}}, [], id="a default that is written out"),
        pytest.param({}, {"input": {"uri": "s3://rows/b"}}, ["spec.input"], id="the input"),
        pytest.param({}, {"retries": 1, "shardRows": 2}, ["spec.shardRows", "spec.retries"], id="two fields"),
        pytest.param({}, {"compareWith": {"model": {"uri": "s3://m/b"}}}, ["spec.compareWith"], id="a field more"),
        pytest.param({}, {"schedule": {"cron": "0 6 * * MON"}}, ["spec.schedule"], id="a run becomes a schedule"),
        pytest.param(
            {"schedule": {"cron": "0 6 * * MON"}},
            {"schedule": {"cron": "0 7 * * MON"}, "input": {"uri": "s3://rows/b"}},
            [],
            id="a schedule's next runs",
        ),
    ],
)
def test_changes_are_refused_by_field(before: dict[str, Any], after: dict[str, Any], fields: list[str]) -> None:
    assert [said.partition(":")[0] for said in lint_change(a_batch(**before), a_batch(**after))] == fields


def test_other_kinds_may_be_changed() -> None:
    assert lint_change({"kind": "ConfigMap", "data": {}}, {"kind": "ConfigMap", "data": {"a": "b"}}) == []
