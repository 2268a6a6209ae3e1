"""Arithmetic of steps."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelendpoint_operator.api.spec import ModelEndpointSpec
from modelendpoint_operator.rollout.steps import replicas_for, step_at, steps_of, weight_before


def a_spec(*weights: int, strategy: str = "Canary") -> ModelEndpointSpec:
    rollout: dict[str, Any] = {"strategy": strategy, "steps": [{"weight": weight} for weight in weights]}
    return ModelEndpointSpec.model_validate({"model": {"uri": "s3://models/churn.onnx"}, "rollout": rollout})


def test_replace_has_no_steps() -> None:
    assert steps_of(a_spec(10, 50, strategy="Replace")) == ()
    assert [step.weight for step in steps_of(a_spec(10, 50))] == [10, 50]


def test_past_the_last_step_there_is_none() -> None:
    spec = a_spec(10, 50)

    assert [step and step.weight for step in (step_at(spec, index) for index in range(4))] == [10, 50, None, None]


@pytest.mark.parametrize(("index", "weight"), [(0, 0), (1, 10), (2, 50), (7, 50)])
def test_before_a_step_the_candidate_has_the_weight_of_the_one_before(index: int, weight: int) -> None:
    assert weight_before(a_spec(10, 50), index) == weight


@pytest.mark.parametrize(
    ("weight", "replicas", "pods"),
    [
        (0, 10, 1),
        (1, 10, 1),
        (10, 10, 1),
        (11, 10, 2),
        (50, 3, 2),
        (99, 10, 10),
        (100, 10, 10),
        (100, 1, 1),
        (50, 1, 1),
    ],
)
def test_a_share_of_the_traffic_gets_its_share_of_pods_rounded_up(weight: int, replicas: int, pods: int) -> None:
    assert replicas_for(weight, replicas=replicas) == pods


@given(st.integers(0, 100), st.integers(1, 1000))
def test_no_pod_of_a_candidate_has_more_to_do_than_one_of_stable(weight: int, replicas: int) -> None:
    pods = replicas_for(weight, replicas=replicas)

    assert 1 <= pods <= replicas
    assert weight / pods <= 100 / replicas or weight == 0
