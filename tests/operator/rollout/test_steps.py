"""Arithmetic of steps."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelendpoint_operator.api.spec import ModelEndpointSpec, Rollout
from modelendpoint_operator.rollout.steps import pods_in_step, pods_needed, replicas_for, steps_of

PATH = {"http": [{"name": "first", "path": "/v1/models/churn"}]}
URL = {"http": [{"name": "judge", "url": "http://judge/"}]}
REPLAY = {"replay": [{"name": "rows", "input": {"uri": "s3://rows/a.csv"}, "output": {"uri": "s3://reports/"}}]}
TWO = [{"weight": 10, "holdSeconds": 5}, {"weight": 50, "pause": True}]


def a_spec(**rollout: Any) -> ModelEndpointSpec:
    return ModelEndpointSpec.model_validate({"model": {"uri": "s3://models/churn.onnx"}, "rollout": rollout})


def a_rollout(**rollout: Any) -> Rollout:
    return Rollout.model_validate(rollout)


@pytest.mark.parametrize(
    ("rollout", "weights", "weights_if_known"),
    [
        ({"steps": TWO}, [10, 50], []),
        ({"steps": TWO, "gates": URL}, [10, 50], []),
        ({"steps": TWO, "gates": PATH}, [0, 10, 50], [0]),
        ({"steps": []}, [], []),
        ({"steps": [], "gates": PATH}, [0], [0]),
        ({"steps": TWO, "gates": REPLAY}, [0, 10, 50], []),
        ({"steps": TWO, "gates": {**REPLAY, **PATH}}, [0, 10, 50], [0]),
        ({"strategy": "Replace", "gates": REPLAY}, [0], []),
        ({"strategy": "Replace"}, [], []),
        ({"strategy": "Replace", "gates": PATH}, [0], [0]),
        ({"strategy": "BlueGreen"}, [], []),
        ({"strategy": "BlueGreen", "gates": PATH}, [0], [0]),
        ({"strategy": "BlueGreen", "preview": {"holdSeconds": 9}}, [0], []),
        ({"strategy": "BlueGreen", "preview": {"pause": True}, "gates": PATH}, [0], [0]),
    ],
)
def test_a_check_before_traffic_is_a_step_too(
    rollout: dict[str, Any], weights: list[int], weights_if_known: list[int]
) -> None:
    spec = a_spec(**rollout)

    assert [step.weight for step in steps_of(spec)] == weights
    assert [step.weight for step in steps_of(spec, known=True)] == weights_if_known


def test_a_preview_is_a_step_that_lasts_as_it_says() -> None:
    (held,) = steps_of(a_spec(strategy="BlueGreen", preview={"holdSeconds": 9}))
    (paused,) = steps_of(a_spec(strategy="BlueGreen", preview={"pause": True}))
    (check,) = steps_of(a_spec(strategy="BlueGreen", preview={"pause": True}, gates=PATH), known=True)

    assert (held.hold_seconds, held.pause) == (9, None)
    assert (paused.hold_seconds, paused.pause) == (None, True)
    assert (check.hold_seconds, check.pause) == (None, None)


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


@pytest.mark.parametrize(
    ("rollout", "weight", "pods", "needed"),
    [
        ({}, 0, 1, 0),
        ({}, 25, 3, 3),
        ({}, 100, 10, 10),
        ({"candidateReplicas": 2}, 0, 2, 0),
        ({"candidateReplicas": 2}, 5, 2, 1),
        ({"candidateReplicas": 2}, 50, 2, 2),
        ({"candidateReplicas": 12}, 50, 12, 5),
        ({"candidateReplicas": 2}, 100, 10, 10),
        ({"strategy": "BlueGreen"}, 0, 10, 0),
        ({"strategy": "Replace"}, 0, 10, 0),
        ({"strategy": "BlueGreen"}, 100, 10, 10),
    ],
)
def test_a_step_has_its_pods_and_a_weight_needs_some_of_them(
    rollout: dict[str, Any], weight: int, pods: int, needed: int
) -> None:
    assert pods_in_step(a_rollout(**rollout), weight, replicas=10) == pods
    assert pods_needed(a_rollout(**rollout), weight, replicas=10) == needed


@given(st.integers(0, 100), st.integers(1, 50), st.none() | st.integers(1, 60))
def test_a_step_never_waits_for_more_pods_than_it_gets(weight: int, replicas: int, fixed: int | None) -> None:
    rollout = a_rollout(candidateReplicas=fixed)

    assert pods_needed(rollout, weight, replicas=replicas) <= pods_in_step(rollout, weight, replicas=replicas)
    assert (pods_needed(rollout, weight, replicas=replicas) == 0) == (weight == 0)
