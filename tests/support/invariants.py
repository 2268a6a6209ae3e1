"""What must be true in every state of the toy world, after every single write and every turn."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.spec import Rollout
from modelendpoint_operator.api.status import ModelEndpointStatus, Phase, RolloutStatus
from modelendpoint_operator.plan import Plan
from modelendpoint_operator.planner import make_plan
from support.world import NAME, Key, World, sleeping_in, weights_in


class Invariants:
    """Looks at a world from now on. ``hurt`` names revisions whose pods a test took away, until they are back."""

    def __init__(self, world: World, *, plan_twice: bool = False) -> None:
        self._world = world
        self._plan_twice = plan_twice
        self.hurt: set[int] = set()
        self._templates: dict[str, Any] = {}
        self._written = world.written_weights()
        world.watchers.append(self.check)
        world.before_plan.append(self.check_plan)

    def check(self) -> None:
        """Check the state of the cluster."""
        self._weights_are_whole()
        self._weights_are_written_for_ready_pods()
        self._traffic_finds_pods()
        self._pod_templates_stay()
        self._note_who_is_back()

    def check_plan(self, endpoint: ModelEndpoint, plan: Plan) -> None:
        """Check what the operator is about to do."""
        if plan.applies or plan.pokes or plan.deletes:  # else it may be a report that work has to stop
            if self._plan_twice:
                again = make_plan(endpoint, self._world.observe(endpoint), self._world.settings, now=self._world.now)
                assert plan == again, "the same input, another plan"
            self._weights_are_allowed(endpoint, plan.status or endpoint.status, self._weights_after(plan))
        self._only_what_is_held_falls_asleep(plan)
        self._nothing_in_use_is_taken_away(plan)
        self._what_is_kept_stays(endpoint, plan)
        self._no_failing_candidate_goes_on(endpoint, plan.status or endpoint.status)

    def _weights_after(self, plan: Plan) -> dict[int, float]:
        configs = [write.manifest for write in plan.applies if Key(*_named(write.manifest)) == ROUTER_CONFIG]
        return weights_in(configs[0]) if configs else self._world.written_weights()

    def _weights_are_allowed(
        self, endpoint: ModelEndpoint, status: ModelEndpointStatus, weights: dict[int, float]
    ) -> None:
        in_status = {part.revision for part in (status.stable, status.candidate, *status.variants) if part}
        assert weights.keys() <= in_status, f"{weights} has a revision that status lacks"
        # One that was rejected after its promotion serves until another one has taken over.
        rejected = {entry.revision for entry in status.rejected} - {status.stable.revision if status.stable else 0}
        assert not weights.keys() & rejected, f"{weights} has a rejected revision of {rejected}"
        if status.candidate and status.rollout:
            arms = {arm.revision for arm in status.variants}
            weight = among(weights, status.candidate.revision, without=arms)
            most = most_weight(endpoint.spec.rollout, status.rollout)
            assert weight <= most, f"{weight} % in phase {status.rollout.phase}, step {status.rollout.step}"
            before = endpoint.status.rollout
            waits = before and before.held_by and before.phase is not Phase.SHIFTING and status.rollout.held_by
            if waits and _is_same_spec(endpoint):
                written = among(self._world.written_weights(), status.candidate.revision, without=arms)
                assert weight <= written, "more while paused"

    def _no_failing_candidate_goes_on(self, endpoint: ModelEndpoint, status: ModelEndpointStatus) -> None:
        rollout = status.rollout
        if rollout and any(finding.verdict == "Fail" for finding in rollout.findings):
            assert rollout.held_by or endpoint.spec.rollout.on_failure == "Pause", "a failed gate has no consequence"

    def _what_is_kept_stays(self, endpoint: ModelEndpoint, plan: Plan) -> None:
        """The previous revision is not scaled down or deleted before its time."""
        status, rollout = plan.status or endpoint.status, endpoint.spec.rollout
        rejected = {entry.revision for entry in status.rejected}
        if len(status.history) < 2 or not status.stable or endpoint.spec.replicas == 0:
            return
        now, last = status.history[0], status.history[1]
        seconds = rollout.keep_seconds if rollout.strategy == "BlueGreen" else 0
        is_over = now.promoted_at + timedelta(seconds=seconds) <= self._world.now
        is_baking = status.rollout is not None and status.rollout.phase is Phase.BAKING
        if (is_over and not is_baking) or last.revision in rejected or now.revision != status.stable.revision:
            return
        name = names.revision_name(NAME, last.revision)
        assert name not in {gone.ref.name for gone in plan.deletes if gone.ref.kind != "ControllerRevision"}

    def _only_what_is_held_falls_asleep(self, plan: Plan) -> None:
        """Envoy takes up clusters and routes one after the other: where routes still lead, no cluster may go."""
        configs = [write.manifest for write in plan.applies if Key(*_named(write.manifest)) == ROUTER_CONFIG]
        falling = sleeping_in(configs[0]) - self._world.written_sleeping() if configs else frozenset()
        for router in self._world.serving_routers():
            assert not falling & router.weights.keys() - router.held, (
                f"{router.name} sends to {falling}, which fall asleep"
            )

    def _nothing_in_use_is_taken_away(self, plan: Plan) -> None:
        in_use = {revision for weights in self._world.live_weights() for revision in weights}
        deleted = {gone.ref.name for gone in plan.deletes if gone.ref.kind != "ControllerRevision"}
        assert not deleted & {names.revision_name(NAME, revision) for revision in in_use}

    def _weights_are_whole(self) -> None:
        for weights in [self._world.written_weights(), *self._world.live_weights()]:
            assert round(sum(weights.values()), 6) in (0, 100), weights

    def _weights_are_written_for_ready_pods(self) -> None:
        written = self._world.written_weights()
        if written != self._written:
            for revision in written.keys() - self._written.keys() - self.hurt - self._world.written_held():
                assert self._world.ready_pods(revision) > 0, f"{written} while revision {revision} has no ready pod"
            self._written = written

    def _traffic_finds_pods(self) -> None:
        for router in self._world.serving_routers():
            for revision in router.weights.keys() - (router.held & router.sleeping):
                assert (self._world.replicas(revision) or 0) >= 1, f"{router.name} sends to revision {revision}"
                hosts = [name for name in router.hosts.get(revision, []) if name in self._world.pods]
                assert hosts or revision in self.hurt | router.held, (
                    f"{router.name} knows no pod of revision {revision}"
                )

    def _note_who_is_back(self) -> None:
        routers = self._world.serving_routers()
        self.hurt -= {
            revision
            for revision in self.hurt
            if self._world.ready_pods(revision) and all(router.hosts.get(revision) for router in routers)
        }

    def _pod_templates_stay(self) -> None:
        for key, body in self._world.objects.items():
            if key.kind == "Deployment" and names.LABEL_REVISION in body["metadata"].get("labels", {}):
                template = body["spec"]["template"]
                assert self._templates.setdefault(key.name, template) == template, f"the pods of {key.name} restart"


ROUTER_CONFIG = Key("ConfigMap", f"{NAME}-router")


def most_weight(rollout: Rollout, status: RolloutStatus) -> int:
    """The most that a candidate may have where it is."""
    if status.phase in (Phase.DEPLOYING, Phase.PROMOTING):
        return 0 if status.phase is Phase.DEPLOYING else 100
    asked_first = bool(rollout.gates.replay) or any(gate.path for gate in rollout.gates.http)
    checked = rollout.preview is not None or asked_first
    weights = [step.weight for step in rollout.steps] if rollout.strategy == "Canary" else []
    weights = [0, *weights] if checked else weights
    return weights[status.step] if status.step < len(weights) else 100


def among(weights: Mapping[int, float], revision: int, *, without: Collection[int | None]) -> float:
    """Say what share of the main model's traffic a revision has, in whole percent; ``without`` are the variants."""
    main = {number: weight for number, weight in weights.items() if number not in without}
    return round(100 * main.get(revision, 0) / sum(main.values())) if main else 0


def _is_same_spec(endpoint: ModelEndpoint) -> bool:
    return endpoint.status.observed_generation == endpoint.generation


def _named(manifest: Any) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def assert_clean(world: World, *, kept: Collection[int] = ()) -> None:
    """Check that nothing is left of what is not in use, after things came to rest."""
    status = world.status
    in_use = [part["revision"] for part in (status.get("stable"), status.get("candidate")) if part] + [*kept]
    for arm in [*status.get("variants", []), *status.get("shadows", [])]:
        in_use += [arm[field] for field in ("revision", "nextRevision") if field in arm]
    children = {names.revision_name(NAME, revision) for revision in in_use}
    others = {f"{NAME}-router"} | ({f"{NAME}-monitor"} if "monitoring" in world.body["spec"] else set())
    assert world.kept("Deployment") == world.kept("ConfigMap") == children | others
    assert world.kept("Service") == children | {NAME} | others - {f"{NAME}-router"}
    assert children <= world.kept("ControllerRevision")
    assert {pod.owner for pod in world.pods.values()} <= children | others
