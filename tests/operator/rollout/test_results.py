"""How variants and shadows do: what is counted, when it is compared, and what is written down."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.status import ArmStatus, ModelEndpointStatus, ResultsStatus, RoutesStatus
from modelendpoint_operator.observation import Counters, Leg, Observation, RouterSeen, RoutesSeen
from modelendpoint_operator.rollout.arms import ArmCourse
from modelendpoint_operator.rollout.course import Situation
from modelendpoint_operator.rollout.results import MOST_HISTOGRAMS, Results, measure_arms, time_to_look

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STABLE, CANDIDATE, TREES, NEXT = 1, 2, 3, 4
SPEC: dict[str, Any] = {
    "model": {"uri": "s3://models/churn.onnx"},
    "variants": [{"name": "trees", "model": {"uri": "s3://models/trees.onnx"}, "weight": 20}],
    "shadows": [{"name": "next", "model": {"uri": "s3://models/next.onnx"}, "percent": 50}],
}
REVISIONS = {"trees": TREES, "next": NEXT}
MAIN = (Leg(revision=STABLE, weight=100),)
ARMS = (Leg(revision=TREES, weight=20, arm="trees"), Leg(revision=NEXT, weight=50, arm="next", copies=True))
WITH_CANDIDATE = (Leg(revision=CANDIDATE, weight=10), Leg(revision=STABLE, weight=90))


@dataclass
class Watch:
    """An endpoint whose routers count, and what the operator makes of it in pass after pass."""

    spec: dict[str, Any] = field(default_factory=lambda: SPEC)
    stable: int = STABLE
    legs: tuple[Leg, ...] = (*MAIN, *ARMS)
    version: str = "v1"
    counted: dict[str, dict[int, Counters]] = field(default_factory=lambda: {"a": {}, "b": {}})
    silent: set[str] = field(default_factory=set)
    now: datetime = BEGIN
    known: Results = field(default_factory=Results)
    writes: int = 0

    def count(self, revision: int, answers: int, *, failed: int = 0, milliseconds: int = 5, router: str = "a") -> None:
        before = self.counted[router].get(revision, Counters())
        ends = (float(milliseconds), float(milliseconds + 1))
        self.counted[router][revision] = replace(
            before,
            answers=before.answers + answers,
            server_errors=before.server_errors + failed,
            latency={**before.latency, ends: before.latency.get(ends, 0) + answers},
        )

    def drop(self, revision: int, copies: int) -> None:
        """Let copies be dropped, as Envoy counts that."""
        before = self.counted["a"].get(revision, Counters())
        self.counted["a"][revision] = replace(
            before,
            answers=before.answers + copies,
            server_errors=before.server_errors + copies,
            dropped=before.dropped + copies,
        )

    def look(self, *, after: float = 60.0, wanted: str | None = None) -> Results:
        """Take a pass; ``wanted`` is the version of the routes that it is about to write."""
        self.now += timedelta(seconds=after)
        situation = self.situation()
        routes = RoutesStatus(version=wanted or self.version)
        found = measure_arms(self.arms(), situation, stable=self.stable, routes=routes)
        self.writes += found != self.known
        self.known = found
        again = measure_arms(self.arms(), self.situation(), stable=self.stable, routes=routes)
        assert again == found, "the second pass writes"
        return found

    def change_routes(self, *legs: Leg, version: str) -> None:
        """Do as the operator and the routers do when routes change: a last look, the write, and the first look after."""
        self.look(wanted=version, after=1)
        self.legs, self.version = legs, version
        self.silent = {"a"}
        self.look(after=1)
        self.count(TREES, 500, failed=500)  # One router shares requests in the one way, one in the other.
        self.silent = set()
        self.look(after=1)

    def arms(self) -> list[ArmCourse]:
        arms = ModelEndpoint.from_body(self.body()).spec.arms
        return [ArmCourse(arm=arm, serving=REVISIONS[arm.name], target=REVISIONS[arm.name]) for arm in arms]

    def situation(self) -> Situation:
        told = [ArmStatus(name=name, results=results) for name, results in self.known.by_arm.items()]
        status = ModelEndpointStatus(variants=told, counting=self.known.counting)
        # As it comes back from the API server.
        status = ModelEndpointStatus.model_validate(status.model_dump(mode="json", by_alias=True, exclude_none=True))
        endpoint = replace(ModelEndpoint.from_body(self.body()), status=status)
        return Situation(endpoint=endpoint, seen=self.seen(), records={}, target=self.stable, now=self.now)

    def seen(self) -> Observation:
        routers = tuple(
            RouterSeen(
                name=name,
                terminating=False,
                config=None,
                route_version=None if name in self.silent else self.version,
                counted={} if name in self.silent else dict(counted),
            )
            for name, counted in self.counted.items()
        )
        clusters = frozenset(leg.revision for leg in self.legs)
        return Observation(routers=routers, routes=RoutesSeen(version=self.version, legs=self.legs, clusters=clusters))

    def body(self) -> Mapping[str, Any]:
        return {"metadata": {"name": "churn", "namespace": "shop", "uid": "u", "generation": 1}, "spec": self.spec}

    def of(self, name: str) -> ResultsStatus:
        return self.known.by_arm[name]


def watching(**fields: Any) -> Watch:
    """Count from the first look on."""
    watch = Watch(**fields)
    watch.look()
    return watch


def test_a_variant_and_stable_are_counted_over_the_same_time() -> None:
    watch = Watch()
    for revision in (STABLE, TREES):
        watch.count(revision, 1000, failed=1000)
    watch.look()
    assert watch.of("trees").own.answers == 0, "what was before does not count"

    watch.count(TREES, 200, failed=50, milliseconds=40)
    watch.count(TREES, 0, router="b")
    watch.count(STABLE, 500, milliseconds=20)
    watch.count(STABLE, 300, failed=8, milliseconds=20, router="b")
    watch.look()

    told = watch.of("trees")
    assert (told.own.answers, told.own.server_errors, told.own.error_percent) == (200, 50, 25)
    assert told.stable is not None
    assert (told.stable.answers, told.stable.error_percent) == (800, 1)
    assert (told.revision, told.compared_with, told.percent, told.compared_percent) == (TREES, STABLE, 20, 80)
    assert (told.since, told.resting, told.not_compared) == (BEGIN + timedelta(seconds=60), None, None)
    assert told.errors is not None and told.errors.lower is not None and told.errors.upper is not None
    assert 10 < told.errors.lower < 24 == told.errors.effect < told.errors.upper
    assert told.latency is not None and told.latency.lower is not None
    assert 15 < told.latency.lower <= 20
    assert told.own.p50_milliseconds is not None and 39 <= told.own.p50_milliseconds <= 43
    assert watch.known.summary is not None
    assert watch.known.summary.startswith("trees: 200 requests, 25 % failed (+")
    assert watch.known.summary.endswith("; next: no requests yet")


def test_a_shadow_is_compared_and_copies_that_it_was_too_slow_for_are_left_out() -> None:
    watch = watching()
    watch.count(STABLE, 900)
    watch.count(NEXT, 400, failed=4)
    watch.drop(NEXT, 50)
    watch.look()

    told = watch.of("next")
    assert (told.own.answers, told.own.server_errors) == (400, 4)
    assert (told.percent, told.compared_percent, told.stable.answers if told.stable else 0) == (50, 80, 900)


def test_what_a_variant_is_too_slow_for_is_a_failed_request() -> None:
    watch = watching()
    watch.drop(TREES, 50)
    watch.look()

    assert (watch.of("trees").own.answers, watch.of("trees").own.server_errors) == (50, 50)


# When it is written down.


def test_a_look_with_nothing_new_writes_nothing() -> None:
    watch = watching()
    assert watch.writes == 1
    for _ in range(100):
        watch.look(after=3600)

    assert watch.writes == 1


def test_it_is_written_every_five_seconds_at_first_and_every_minute_later() -> None:
    watch = watching()
    for _ in range(60):
        watch.count(TREES, 1)
        watch.look(after=1)
    assert watch.writes == 1 + 12

    watch.look(after=100_000)
    before = watch.writes
    for _ in range(600):
        watch.count(TREES, 1)
        watch.look(after=1)
    assert watch.writes == before + 10


def test_the_next_look_is_when_the_next_write_is_due() -> None:
    assert time_to_look(Results(), Watch().situation()) is None
    watch = watching()
    assert time_to_look(watch.known, watch.situation()) == timedelta(seconds=5)
    watch.now += timedelta(seconds=3)
    assert time_to_look(watch.known, watch.situation()) == timedelta(seconds=2)
    watch.now += timedelta(days=1)
    assert time_to_look(watch.known, watch.situation()) == timedelta(seconds=60)
    watch.spec = {**SPEC, "replicas": 0}
    assert time_to_look(watch.known, watch.situation()) is None


def test_what_is_remembered_stays_small_for_the_most_arms_and_any_number_of_requests() -> None:
    arms = [{"name": f"v{number}", "model": SPEC["model"], "weight": 5} for number in range(8)]
    shadows = [{"name": f"s{number}", "model": SPEC["model"]} for number in range(4)]
    REVISIONS.update({arm["name"]: 10 + number for number, arm in enumerate([*arms, *shadows])})
    legs = [Leg(revision=REVISIONS[arm["name"]], weight=5, arm=arm["name"]) for arm in arms]
    legs += [Leg(revision=REVISIONS[arm["name"]], weight=100, arm=arm["name"], copies=True) for arm in shadows]
    counters = Counters(
        answers=10**9,
        latency={
            (float(base * 10**power), float((base + 1) * 10**power)): 10**8
            for power in range(4)
            for base in range(10, 100)
        },
    )
    for routers in (9, 50):
        spec = {**SPEC, "variants": arms, "shadows": shadows, "routing": {"replicas": routers}}
        watch = Watch(spec=spec, legs=(*MAIN, *legs))
        watch.counted = {f"churn-router-{number:020}": {} for number in range(routers)}
        watch.look()
        for counted in watch.counted.values():
            counted.update({leg.revision: counters for leg in watch.legs})
        watch.look()
        status = ModelEndpointStatus(
            counting=watch.known.counting,
            variants=[ArmStatus(name=name, results=told) for name, told in watch.known.by_arm.items()],
        )
        size = len(status.model_dump_json(by_alias=True, exclude_none=True))
        # The API server takes about 1.5 MB; and an object is written every few seconds.
        assert size < 300_000, f"{size} bytes"
        has_times = watch.of("v0").own.p95_milliseconds is not None
        assert has_times is (13 * routers <= MOST_HISTOGRAMS)
        assert watch.of("v0").own.answers == routers * 10**9


# When it rests, and when it begins anew.


def test_it_rests_while_a_candidate_has_a_share_and_goes_on_when_it_is_gone() -> None:
    watch = watching()
    watch.count(TREES, 100)
    watch.change_routes(*WITH_CANDIDATE, *ARMS, version="v2")
    told = watch.of("trees")
    assert told.own.answers == 100, "what came before the change counts"
    assert told.resting == "the stable revision shares its requests with a candidate"

    watch.count(TREES, 1000, failed=1000)
    watch.look()
    watch.count(TREES, 1000, failed=1000)
    watch.change_routes(*MAIN, *ARMS, version="v1")
    assert (watch.of("trees").own.answers, watch.of("trees").resting) == (100, None)

    watch.count(TREES, 10, failed=1)
    watch.look()
    assert (watch.of("trees").own.answers, watch.of("trees").own.server_errors) == (110, 1)
    assert watch.of("trees").since == told.since


def test_an_operator_that_was_away_while_routes_changed_counts_from_when_it_is_back() -> None:
    watch = watching()
    watch.change_routes(*WITH_CANDIDATE, *ARMS, version="v2")
    watch.count(TREES, 1000, failed=1000)
    watch.legs, watch.version = (*MAIN, *ARMS), "v3"
    watch.look()
    assert (watch.of("trees").own.answers, watch.of("trees").resting) == (0, None)

    watch.count(TREES, 10)
    watch.look()
    assert watch.of("trees").own.answers == 10


def test_it_begins_anew_with_another_stable_revision() -> None:
    watch = watching()
    watch.count(TREES, 100)
    watch.look()
    watch.legs, watch.stable = (Leg(revision=CANDIDATE, weight=100), *ARMS), CANDIDATE
    watch.look()

    told = watch.of("trees")
    assert (told.compared_with, told.own.answers, told.since) == (CANDIDATE, 0, watch.now)


def test_it_begins_anew_with_another_share_once_the_routers_give_it() -> None:
    watch = watching()
    watch.count(TREES, 100)
    watch.look()
    watch.spec = {**SPEC, "variants": [{**SPEC["variants"][0], "weight": 40}]}
    watch.look(wanted="v2", after=1)
    assert watch.known.by_arm == {}, "a shadow is compared with stable, which has another share then"

    watch.count(TREES, 100)
    watch.legs, watch.version = (*MAIN, replace(ARMS[0], weight=40), ARMS[1]), "v2"
    watch.look()
    watch.count(TREES, 7)
    watch.look()
    told = watch.of("trees")
    assert (told.own.answers, told.percent, told.compared_percent) == (7, 40, 60)
    assert watch.of("next").compared_percent == 60


def test_an_arm_that_loses_its_pods_rests_and_so_do_those_whose_share_of_stable_changes() -> None:
    watch = watching()
    watch.count(TREES, 100)
    watch.count(NEXT, 100)
    watch.change_routes(*MAIN, ARMS[1], version="v2")
    assert watch.of("trees").resting == "it has no pods, or the endpoint is suspended"
    assert watch.of("next").resting == "the main model answers in place of a variant that has no pods"

    watch.change_routes(*MAIN, *ARMS, version="v1")
    assert [(told.resting, told.own.answers) for told in watch.known.by_arm.values()] == [(None, 100), (None, 100)]


def test_one_that_is_removed_is_forgotten_and_without_any_nothing_is_remembered() -> None:
    watch = watching()
    watch.spec = {**SPEC, "variants": []}
    watch.look()
    assert watch.known.by_arm.keys() <= {"next"}
    watch.spec = {**SPEC, "variants": [], "shadows": []}
    assert watch.look() == Results()


def test_routes_that_come_back_before_they_were_ever_live_leave_no_counts_of_theirs() -> None:
    watch = watching()
    watch.count(TREES, 100)
    watch.silent = {"a"}
    watch.look(wanted="v2", after=1)  # written while it is not certain what the routers do
    watch.count(TREES, 1000, failed=1000)
    watch.silent = set()
    watch.look(after=1)  # and taken back
    assert watch.of("trees").own.answers == 0
    watch.count(TREES, 5)
    watch.look()
    assert watch.of("trees").own.answers == 5


# Routers come and go.


def test_a_router_that_does_not_answer_for_a_while_loses_nothing() -> None:
    watch = watching()
    watch.count(TREES, 10)
    watch.silent = {"b"}
    before = watch.writes
    for _ in range(3):
        watch.count(TREES, 10, router="b")
        watch.look()
    assert watch.writes == before
    watch.silent = set()
    watch.look()

    assert watch.of("trees").own.answers == 40


def test_a_router_that_goes_takes_along_only_what_it_counted_since_the_last_look() -> None:
    watch = watching()
    watch.count(TREES, 100, router="b")
    watch.look()
    watch.count(TREES, 7, router="b")
    del watch.counted["b"]
    watch.counted["c"] = {TREES: Counters(answers=5000)}
    watch.look()
    watch.count(TREES, 3, router="c")
    watch.look()

    assert watch.of("trees").own.answers == 103
    assert {entry.router for entry in watch.known.baseline} == {"a", "c"}


Event = tuple[str, str, int]
EVENTS = st.lists(
    st.tuples(st.sampled_from(["count", "count", "count", "restart", "silence", "answer", "look"]),
              st.sampled_from(["a", "b"]), st.integers(0, 50)),
    max_size=40,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_whatever_routers_do_nothing_is_counted_twice_and_only_restarts_lose_anything(events: list[Event]) -> None:
    watch, sent, lost = watching(), 0, 0
    unseen = {"a": 0, "b": 0}
    for what, router, number in [*events, ("answer", "a", 0), ("answer", "b", 0), ("look", "", 60)]:
        if what == "count":
            watch.count(TREES, number, router=router)
            sent, unseen[router] = sent + number, unseen[router] + number
        elif what == "restart":
            watch.counted[router] = {}
            lost, unseen[router] = lost + unseen[router], 0
            watch.look(after=0)  # a watch tells of it before it has as many again
        elif what == "silence":
            watch.silent |= {router}
        elif what == "answer":
            watch.silent -= {router}
        else:
            watch.look(after=number)
            if not watch.silent and number == 60:
                unseen = dict.fromkeys(unseen, 0)

    assert sent - lost <= watch.of("trees").own.answers <= sent
