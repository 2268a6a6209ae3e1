"""Metrics of the endpoints that the operator looks after, told by lives of an endpoint."""

from datetime import datetime

from modelendpoint_operator.fleet import RESULTS, Fleet
from modelendpoint_operator.reconciler import Reconciler
from modelendpoint_operator.telemetry import Telemetry
from support.stories import BY_TIME, a_paused_world, a_serving_world
from support.world import NAME, NAMESPACE, World, digest_of, model_of

OWNER = {"namespace": NAMESPACE, "endpoint": NAME}


class Scrapes:
    """What Prometheus would get from the operator that works on a world."""

    def __init__(self, world: World) -> None:
        self._registry = (telemetry := Telemetry()).registry
        self.fleet: Fleet = telemetry.fleet
        world.reconciler = Reconciler(world, world.settings, clock=lambda: world.now, audience=telemetry.fleet)
        world.reconciler.reconcile(NAMESPACE, NAME)

    def value(self, metric: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(metric, OWNER | labels)

    def series(self, metric: str) -> list[dict[str, str]]:
        samples = (sample for family in self._registry.collect() for sample in family.samples)
        return [sample.labels for sample in samples if sample.name == metric]


def promoted_at(world: World, revision: int) -> float:
    (past,) = (entry for entry in world.status["history"] if entry["revision"] == revision)
    return datetime.fromisoformat(past["promotedAt"]).timestamp()


def test_an_endpoint_that_serves_is_told_of_by_an_operator_that_just_started() -> None:
    world = a_serving_world()
    scrapes = Scrapes(world)

    assert scrapes.value("modelendpoint_info", strategy="Canary") == 1
    assert scrapes.value("modelendpoint_condition", type="Ready", reason="Serving") == 1
    assert scrapes.value("modelendpoint_condition", type="Stalled", reason="") == 0
    assert scrapes.value("modelendpoint_routes_live") == 1
    stable = {"revision": "1", "role": "stable", "variant": ""}
    assert scrapes.value("modelendpoint_revision_info", **stable, version="1", sha256=digest_of("1")) == 1
    assert scrapes.value("modelendpoint_traffic_weight", **stable) == 100
    assert scrapes.value("modelendpoint_replicas", **stable) == 4
    assert scrapes.value("modelendpoint_replicas_ready", **stable) == 4
    assert scrapes.value("modelendpoint_promoted_timestamp_seconds", revision="1") == promoted_at(world, 1)
    assert not scrapes.series("modelendpoint_rollout_phase_timestamp_seconds")
    # What an operator before it decided is not counted again.
    assert scrapes.value("modelendpoint_rollouts_total", result="Promoted") == 0


def test_a_rollout_under_way_has_its_phase_its_step_and_both_weights() -> None:
    world = a_paused_world()
    scrapes = Scrapes(world)

    since = datetime.fromisoformat(world.status["rollout"]["since"]).timestamp()
    assert scrapes.value("modelendpoint_rollout_phase_timestamp_seconds", phase="Paused") == since
    assert scrapes.value("modelendpoint_rollout_step") == 0
    assert scrapes.value("modelendpoint_traffic_weight", revision="1", role="stable", variant="") == 80
    assert scrapes.value("modelendpoint_traffic_weight", revision="2", role="candidate", variant="") == 20
    assert scrapes.value("modelendpoint_condition", type="Ready", reason="Paused") == 0
    assert scrapes.value("modelendpoint_condition", type="Reconciling", reason="Paused") == 1


def test_exposed_is_told_only_of_endpoints_that_ask_for_it() -> None:
    world = a_serving_world()
    scrapes = Scrapes(world)
    assert not [labels for labels in map(str, scrapes.series("modelendpoint_condition")) if "Exposed" in labels]

    world.edit(routing={"ingress": {"hostnames": ["churn.example.com"]}})
    world.settle(turns=12)
    assert scrapes.value("modelendpoint_condition", type="Exposed", reason="Waiting") == 0


def test_what_a_gate_knows_is_told() -> None:
    world = a_serving_world(rollout={**BY_TIME, "gates": {"errorRate": {}}})
    scrapes = Scrapes(world)
    world.use_model("2")
    for _ in world.history(turns=20):
        pass

    assert scrapes.value("modelendpoint_gate_verdict", gate="errorRate", verdict="InsufficientData") == 1


def test_the_results_of_variants_and_shadows_are_told() -> None:
    world = a_serving_world(
        variants=[{"name": "b", "model": model_of("2"), "weight": 20}], shadows=[{"name": "s", "model": model_of("3")}]
    )
    world.traffic, world.failing = 1000, {2: 0.25}
    world.settle(turns=30)
    scrapes = Scrapes(world)
    told = world.status["variants"][0]["results"]

    variant = {"revision": "2", "role": "variant", "variant": "b"}
    assert scrapes.value("modelendpoint_variant_requests", **variant) == told["own"]["answers"] > 0
    assert scrapes.value("modelendpoint_variant_error_ratio", **variant) == told["own"]["errorPercent"] / 100 > 0.2
    bounds = {
        bound: scrapes.value("modelendpoint_variant_error_ratio_difference", **variant, bound=bound)
        for bound in ("effect", "lower", "upper")
    }
    assert bounds == {bound: told["errors"][bound] / 100 for bound in bounds}
    slower = scrapes.value("modelendpoint_variant_latency_difference_seconds", **variant, bound="upper")
    assert slower == told["latency"]["upper"] / 1000
    shadow = {"revision": "3", "role": "shadow", "variant": "s"}
    assert (scrapes.value("modelendpoint_variant_requests", **shadow) or 0) > 0


def test_each_end_of_a_rollout_is_counted_once() -> None:
    world = a_paused_world()
    scrapes = Scrapes(world)
    world.annotate(abort="2")
    world.settle()
    assert scrapes.value("modelendpoint_rollouts_total", result="Aborted") == 1

    world.use_model("3")
    world.settle()
    world.annotate(promote="3")
    world.settle()
    for _ in range(3):
        world.reconciler.reconcile(NAMESPACE, NAME)

    ends = {result: scrapes.value("modelendpoint_rollouts_total", result=result) for result in RESULTS}
    assert ends == {"Promoted": 1, "RolledBack": 0, "Aborted": 1}


def test_the_pods_of_a_variant_have_series_of_their_own() -> None:
    world = a_serving_world(variants=[{"name": "challenger", "model": model_of("9"), "weight": 10}])
    scrapes = Scrapes(world)

    (variant,) = (labels for labels in scrapes.series("modelendpoint_traffic_weight") if labels["role"] == "variant")
    assert variant["variant"] == "challenger"
    assert scrapes.value("modelendpoint_traffic_weight", **variant) == 10


def test_the_pods_of_a_shadow_are_told_from_those_that_answer() -> None:
    world = a_serving_world(shadows=[{"name": "next", "model": model_of("9"), "percent": 50}])
    scrapes = Scrapes(world)

    (shadow,) = (labels for labels in scrapes.series("modelendpoint_traffic_weight") if labels["role"] == "shadow")
    assert shadow["variant"] == "next"
    assert scrapes.value("modelendpoint_traffic_weight", **shadow) == 50
    assert scrapes.value("modelendpoint_traffic_weight", revision="1", role="stable", variant="") == 100


def test_an_endpoint_that_is_gone_leaves_no_series() -> None:
    world = a_serving_world()
    scrapes = Scrapes(world)
    scrapes.fleet.gone(NAMESPACE, NAME)

    for metric in ("modelendpoint_info", "modelendpoint_condition", "modelendpoint_rollouts_total"):
        assert not scrapes.series(metric)


def test_a_spec_that_can_t_be_read_is_told_as_stalled() -> None:
    world = World({"model": {"uri": 5}})
    scrapes = Scrapes(world)

    assert scrapes.value("modelendpoint_condition", type="Stalled", reason="InvalidSpec") == 1
