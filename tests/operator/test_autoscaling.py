"""The number of pods under a load: enough of them, no more for long, and no other one while the load stays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.status import RevisionStatus, ScaleStatus
from modelendpoint_operator.autoscaling import LOOK, choose_scale, note_of_change, time_to_look
from modelendpoint_operator.observation import Counters, ObjectRef, Observation, RouterSeen
from support.invariants import Invariants
from support.stories import a_serving_world, a_world, everything_is, split
from support.world import EPOCH, NAME, Key, World, model_of

TARGET = 10.0
AUTOSCALING = {"minReplicas": 1, "maxReplicas": 20, "targetRequestsPerSecond": TARGET, "scaleDownAfterSeconds": 60}
LOOKS_TO_SHRINK = 60 // 15 + 1


@dataclass
class Load:
    """An endpoint that is looked at every 15 s, and routers that count its requests."""

    autoscaling: dict[str, Any] = field(default_factory=lambda: AUTOSCALING)
    replicas: int = 1
    status: dict[str, Any] = field(default_factory=dict)
    scale: ScaleStatus | None = None
    counted: dict[str, dict[int, int] | None] = field(default_factory=lambda: {"a": {1: 0}, "b": {1: 0}})
    """By router; None for one that does not answer."""
    seconds: float = 0
    objects: dict[ObjectRef, dict[str, Any]] = field(default_factory=dict)
    main: Sequence[int] = (1, 2)

    def choose(self) -> ScaleStatus | None:
        metadata = {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1}
        spec = {"model": {"uri": "s3://m/k"}, "replicas": self.replicas, "autoscaling": self.autoscaling}
        status = self.status | ({"scale": self.scale.model_dump(by_alias=True)} if self.scale else {})
        self.endpoint = ModelEndpoint.from_body({"metadata": metadata, "spec": spec, "status": status})
        seen = Observation(routers=tuple(self._routers()), objects=self.objects)
        return choose_scale(self.endpoint, seen, self.main, now=EPOCH + timedelta(seconds=self.seconds))

    def _routers(self) -> Iterable[RouterSeen]:
        for name, counted in self.counted.items():
            version = None if counted is None else "v1"
            counters = {number: Counters(answers=answers) for number, answers in (counted or {}).items()}
            yield RouterSeen(name=name, terminating=False, config=None, route_version=version, counted=counters)

    def look(self, *, rate: float = 0, seconds: float = 15) -> int:
        """Let time pass under a load, and look; returns the number of pods."""
        self.seconds += seconds
        for number, router in enumerate(self.counted.values()):
            if router is not None:
                router[1] = router.get(1, 0) + (round(rate * seconds) + number) // len(self.counted)
        self.scale = self.choose()
        assert self.scale is not None
        return self.scale.replicas

    def looks(self, *rates: float) -> list[int]:
        return [self.look(rate=rate) for rate in rates]


def test_it_begins_with_the_fewest_and_learns_of_the_load_in_two_looks() -> None:
    assert Load().looks(30, 30, 30) == [1, 3, 3]


def test_it_begins_with_the_pods_that_there_are_so_that_asking_for_it_takes_none_away_at_once() -> None:
    load = Load(status={"stable": RevisionStatus(revision=1, replicas=6).model_dump(by_alias=True)})

    assert load.looks(40, 40, 40) == [6, 6, 6]
    assert load.looks(*[40] * LOOKS_TO_SHRINK)[-1] == 4


def test_at_once_come_at_most_four_more_or_twice_as_many() -> None:
    assert Load().looks(0, 200, 200, 200, 200) == [1, 5, 10, 20, 20]


def test_never_more_than_the_most_and_never_fewer_than_the_fewest() -> None:
    load = Load(autoscaling=AUTOSCALING | {"minReplicas": 2, "maxReplicas": 4})

    assert load.looks(0, 900, 900) == [2, 4, 4]
    assert load.looks(*[0] * 9)[-1] == 2


def test_fewer_come_only_after_all_looks_for_long_enough_agreed_and_then_as_many_as_any_of_them_needed() -> None:
    load = Load()
    load.looks(0, 55, 55)

    assert load.looks(10, 34, 10, 10, 10) == [6, 6, 6, 6, 4]
    assert load.looks(10, 10, 10, 10, 10) == [4, 4, 4, 4, 1]


def test_one_look_that_needs_all_of_them_starts_the_wait_anew() -> None:
    load = Load()
    load.looks(0, 50)

    assert load.looks(10, 10, 10, 50, 10, 10, 10, 10) == [5] * 8
    assert load.look(rate=10) == 1


@pytest.mark.parametrize("rate", [19, 21.5, 18])
def test_a_tenth_of_the_load_more_or_less_changes_nothing(rate: float) -> None:
    load = Load()
    load.looks(0, 20)

    assert load.looks(*[rate] * 12) == [2] * 12


def test_the_spec_has_the_least_number_whoever_wrote_it() -> None:
    load = Load()
    load.looks(0, 20)
    load.replicas = 5

    assert load.looks(*[20] * 30) == [5] * 30
    load.replicas = 1
    assert load.look(rate=20) == 2


def test_a_number_beyond_the_most_is_not_followed() -> None:
    assert Load(replicas=99).look() == 20


def test_a_suspended_endpoint_stays_so() -> None:
    load = Load(replicas=0)

    assert load.choose() is None


def test_without_autoscaling_nothing_is_chosen() -> None:
    load = Load(autoscaling=None)  # type: ignore[arg-type]

    assert load.choose() is None


def test_with_a_target_for_the_cpu_only_the_number_is_the_specs() -> None:
    load = Load(autoscaling={"minReplicas": 2, "maxReplicas": 9, "targetCPUUtilizationPercent": 60})

    assert load.looks(500, 500) == [2, 2]
    load.replicas = 7
    assert load.look() == 7
    assert load.scale is not None and load.scale.for_requests is None and load.scale.counted == []


# What the routers tell.


def test_a_router_that_does_not_answer_lets_everything_stay() -> None:
    load = Load()
    load.looks(0, 50)
    kept, load.counted["a"] = load.counted["a"], None

    assert load.looks(*[0] * 20) == [5] * 20
    load.counted["a"] = kept
    assert load.look(rate=50) == 5


def test_without_any_router_everything_stays() -> None:
    load = Load()
    load.looks(0, 50)
    load.counted = {}

    assert load.looks(*[0] * 20) == [5] * 20


def test_what_a_new_router_counted_before_is_no_load() -> None:
    load = Load()
    load.looks(0, 20)
    load.counted["c"] = {1: 100_000}

    assert load.looks(20, 20) == [2, 2]


def test_a_router_that_started_anew_counts_from_nothing() -> None:
    load = Load(counted={"a": {1: 100_000}})
    load.looks(20, 20)
    load.counted["a"] = {1: 0}

    assert load.looks(20, 20) == [2, 2]


def test_requests_of_variants_are_none_of_the_main_models() -> None:
    load = Load(main=(1,), counted={"a": {1: 0, 7: 0}})
    load.look()
    load.counted["a"] = {1: 0, 7: 10_000}

    assert load.look(rate=10) == 1


def test_a_canary_is_load_of_the_main_model_as_well() -> None:
    load = Load(counted={"a": {1: 0, 2: 0}})
    load.look()
    load.counted["a"] = {1: 0, 2: 300}

    assert load.look(rate=10) == 3


# What is written down, and when it looks again.


def test_the_same_pass_again_and_a_pass_in_between_change_nothing() -> None:
    load = Load()
    load.looks(0, 30)

    assert load.choose() == load.scale
    load.counted["a"] = {1: 100_000}
    load.seconds += 14
    assert load.choose() == load.scale


def test_nothing_is_written_while_there_are_no_requests() -> None:
    load = Load()
    load.looks(0, 30, *[0] * 20)
    rest = load.scale

    load.looks(*[0] * 20)
    assert load.scale == rest
    assert load.looks(30, 30)[-1] == 3


def test_it_looks_again_when_the_time_of_counting_is_over() -> None:
    load = Load()
    load.looks(0, 30)
    now = EPOCH + timedelta(seconds=load.seconds)

    assert time_to_look(load.endpoint, Observation(), load.scale, now=now + timedelta(seconds=6)) == timedelta(
        seconds=9
    )
    assert time_to_look(load.endpoint, Observation(), load.scale, now=now + timedelta(days=1)) == LOOK
    assert time_to_look(load.endpoint, Observation(), None, now=now) is None


def test_people_are_told_why_the_number_is_another_one() -> None:
    load = Load()
    load.look()
    before = load.scale
    load.look(rate=30)
    note = note_of_change(before, load.scale)

    assert note is not None
    assert (note.reason, note.message) == ("Scaled", "From 1 to 3 pods for 30 requests per second")
    load.replicas, before = 5, load.scale
    load.look(rate=30)
    assert note_of_change(before, load.scale) is None  # whoever changed the spec knows why


def test_other_limits_hold_at_once_and_need_no_explanation() -> None:
    load = Load()
    load.look()
    before = load.scale
    load.autoscaling = AUTOSCALING | {"minReplicas": 4}

    assert load.look(seconds=1) == 4
    assert note_of_change(before, load.scale) is None


def test_an_autoscaler_that_knows_no_cpu_says_what_it_lacks() -> None:
    load = Load(autoscaling={"maxReplicas": 9, "targetCPUUtilizationPercent": 60})
    ref = ObjectRef(api_version="autoscaling/v2", kind="HorizontalPodAutoscaler", name="churn")
    told = {
        "type": "ScalingActive",
        "status": "False",
        "reason": "FailedGetResourceMetric",
        "message": "no metrics API",
    }
    load.objects = {ref: {"status": {"conditions": [told]}}}
    load.look()

    assert load.scale is not None and load.scale.message is not None
    assert load.scale.message.endswith("does not know the pods' CPU, so it does not scale: no metrics API")
    load.objects = {ref: {"status": {"conditions": [told | {"reason": "ScalingDisabled"}]}}}
    load.look()
    assert load.scale.message is None


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ([], 5),
        ([{"type": "AbleToScale", "status": "True"}], 5),
        ([{"type": "ScalingActive", "status": "False"}], 15),
        ([{"type": "ScalingActive", "status": "True"}], None),
    ],
)
def test_an_autoscaler_is_asked_until_it_works_because_no_watch_tells(told: list[Any], seconds: int | None) -> None:
    load = Load(autoscaling={"maxReplicas": 9, "targetCPUUtilizationPercent": 60})
    load.look()
    ref = ObjectRef(api_version="autoscaling/v2", kind="HorizontalPodAutoscaler", name="churn")
    seen = Observation(objects={ref: {"status": {"conditions": told}}})

    wait = time_to_look(load.endpoint, seen, load.scale, now=EPOCH)
    assert wait == (None if seconds is None else timedelta(seconds=seconds))


# Whatever the load.

RATES = st.lists(st.floats(0, 260), min_size=1, max_size=60)


@given(rates=RATES, least=st.integers(1, 30))
@settings(deadline=None)
def test_pods_are_taken_away_only_if_fewer_were_enough_for_every_look_of_the_wait(
    rates: list[float], least: int
) -> None:
    load = Load(replicas=least)
    load.look()
    number, seen = load.look(), [0.0]
    for rate in rates:
        before, number = number, load.look(rate=rate)
        assert load.scale is not None and load.scale.requests_per_second is not None
        seen.append(load.scale.requests_per_second)
        assert min(least, 20) <= number <= 20
        if number < before:
            assert all(measured <= number * TARGET + 0.01 for measured in seen[-LOOKS_TO_SHRINK:])


@given(rate=st.floats(0, 220), start=st.integers(1, 20))
@settings(deadline=None)
def test_a_load_that_stays_gets_its_pods_within_five_looks_and_keeps_them(rate: float, start: int) -> None:
    load = Load(status={"stable": RevisionStatus(revision=1, replicas=start).model_dump(by_alias=True)})
    numbers = load.looks(*[rate] * 6)
    assert numbers[-1] * TARGET * 1.1 + 0.2 >= min(rate, 20 * TARGET * 1.1)

    numbers = load.looks(*[rate] * 25)
    assert len(set(numbers[LOOKS_TO_SHRINK:])) == 1, numbers
    # No more than what is needed, but for the tenth that counts as near.
    assert (numbers[-1] - 1) * TARGET * 0.9 <= max(rate, TARGET * 0.1) + 0.2


@given(rate=st.floats(5, 220), noise=st.lists(st.floats(-0.04, 0.04), min_size=40, max_size=40))
@settings(deadline=None)
def test_a_load_that_trembles_by_a_twentieth_makes_it_go_up_and_down_at_most_once(
    rate: float, noise: list[float]
) -> None:
    numbers = Load().looks(*(rate * (1 + part) for part in noise))
    steps = [after - before for before, after in pairwise(numbers) if after != before]
    assert steps == sorted(steps, key=lambda step: step < 0), f"it oscillates: {numbers}"


# In the life of an endpoint. (The invariants are checked after every write and turn.)


def autoscaled(**autoscaling: Any) -> World:
    world = a_world(replicas=1, autoscaling=AUTOSCALING | autoscaling)
    world.settle()
    assert everything_is(world, 1)
    return world


def replicas_in(world: World, *, turns: int) -> list[int]:
    """Go on, and tell each number of pods that the stable revision's Deployment wanted."""
    numbers: list[int] = []
    for state in world.history(turns=turns):
        number = state.replicas(1)
        if number is not None and numbers[-1:] != [number]:
            numbers.append(number)
    return numbers


def test_pods_come_with_the_requests_and_go_after_them() -> None:
    world = autoscaled()

    world.traffic = 30
    assert replicas_in(world, turns=60) == [1, 3]
    assert world.ready_pods(1) == 3
    world.traffic = 0
    # The look in which they end needs two.
    assert replicas_in(world, turns=180) == [3, 2, 1]
    assert everything_is(world, 1)
    assert [reason for reason in world.told() if reason == "Scaled"] == ["Scaled"] * 3


def test_the_endpoint_is_ready_while_pods_come_and_says_what_they_wait_for() -> None:
    world = autoscaled()
    world.traffic = 30
    reasons = {(state.reason(), state.condition("Ready")["status"]) for state in world.history(turns=60)}  # type: ignore[index]

    assert reasons == {("Serving", "True")}


def test_a_person_who_scales_is_not_fought() -> None:
    world = autoscaled()
    world.edit(replicas=4)
    world.settle(turns=200)

    assert world.replicas(1) == 4
    assert world.body["spec"]["replicas"] == 4


def test_a_rollout_under_load_takes_its_pods_from_the_number_that_the_load_needs() -> None:
    world = autoscaled()
    world.traffic = 40
    world.settle(turns=60)
    world.use_model("2")
    world.settle(turns=60)

    assert (world.reason(), split(world)) == ("Paused", {2: 20, 1: 80})
    assert (world.replicas(1), world.replicas(2)) == (4, 1)
    world.annotate(promote="2")
    world.settle(turns=90)
    assert everything_is(world, 2)
    assert world.replicas(2) == 4


def test_a_second_pass_writes_nothing_under_load_and_at_rest() -> None:
    world = autoscaled()
    for traffic, turns in ((30, 60), (30, 7), (0, 150), (0, 7)):
        world.traffic = traffic
        world.settle(turns=turns)
        world.reconcile()
        plan = world.reconcile()
        assert plan is not None and plan.is_empty


def test_an_autoscaler_by_cpu_comes_with_its_target_and_goes_with_it() -> None:
    world = a_world(replicas=1, autoscaling={"minReplicas": 2, "maxReplicas": 5, "targetCPUUtilizationPercent": 70})
    world.settle()
    body = world.objects[Key("HorizontalPodAutoscaler", NAME)]

    assert body["spec"] == {
        "scaleTargetRef": {"apiVersion": "modelendpoint.dev/v1alpha1", "kind": "ModelEndpoint", "name": NAME},
        "minReplicas": 2,
        "maxReplicas": 5,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }
        ],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    assert world.replicas(1) == 2
    world.edit(autoscaling=None)
    world.settle()
    assert world.kept("HorizontalPodAutoscaler") == set()
    assert (world.replicas(1), world.status.get("scale")) == (1, None)


def test_a_suspended_endpoint_comes_back_with_the_fewest_pods() -> None:
    world = autoscaled(minReplicas=2)
    world.traffic = 90
    world.settle(turns=40)
    world.edit(replicas=0)
    world.settle(turns=60)
    assert (world.reason(), world.ready_pods(1)) == ("Suspended", 0)

    world.traffic = 0
    world.edit(replicas=1)
    world.settle(turns=60)
    assert world.replicas(1) == 2


def test_asking_for_autoscaling_takes_no_pod_away_at_once() -> None:
    world = a_serving_world(replicas=6)
    world.traffic = 30
    world.edit(replicas=1, autoscaling=AUTOSCALING)

    assert replicas_in(world, turns=120) == [6, 3]


def test_its_memory_survives_the_operator() -> None:
    world = autoscaled()
    world.traffic = 30
    world.settle(turns=30)
    other = world.copy()
    Invariants(other)
    for state in (world, other):
        state.use_model("1")
        state.settle(turns=70)

    assert world.status["scale"] == other.status["scale"]
    assert model_of("1") == world.body["spec"]["model"]
