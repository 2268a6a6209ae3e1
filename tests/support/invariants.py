"""What must be true in every state of the toy world, after every single write and every turn."""

from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.status import ModelEndpointStatus, Phase
from modelendpoint_operator.plan import Plan
from modelendpoint_operator.planner import make_plan
from support.world import NAME, Key, World, weights_in


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
        self._nothing_in_use_is_taken_away(plan)

    def _weights_after(self, plan: Plan) -> dict[int, int]:
        configs = [write.manifest for write in plan.applies if Key(*_named(write.manifest)) == ROUTER_CONFIG]
        return weights_in(configs[0]) if configs else self._world.written_weights()

    def _weights_are_allowed(
        self, endpoint: ModelEndpoint, status: ModelEndpointStatus, weights: dict[int, int]
    ) -> None:
        in_status = {part.revision for part in (status.stable, status.candidate) if part}
        assert weights.keys() <= in_status, f"{weights} has a revision that status lacks"
        rejected = {entry.revision for entry in status.rejected}
        assert not weights.keys() & rejected, f"{weights} has a rejected revision of {rejected}"
        if status.candidate and status.rollout:
            steps = endpoint.spec.rollout.steps if endpoint.spec.rollout.strategy == "Canary" else []
            weight = weights.get(status.candidate.revision, 0)
            most = {Phase.DEPLOYING: 0, Phase.PROMOTING: 100}.get(status.rollout.phase)
            if most is None:
                most = steps[status.rollout.step].weight if status.rollout.step < len(steps) else 100
            assert weight <= most, f"{weight} % in phase {status.rollout.phase}, step {status.rollout.step}"

    def _nothing_in_use_is_taken_away(self, plan: Plan) -> None:
        in_use = {revision for weights in self._world.live_weights() for revision in weights}
        deleted = {gone.ref.name for gone in plan.deletes if gone.ref.kind != "ControllerRevision"}
        assert not deleted & {names.revision_name(NAME, revision) for revision in in_use}

    def _weights_are_whole(self) -> None:
        for weights in [self._world.written_weights(), *self._world.live_weights()]:
            assert sum(weights.values()) in (0, 100), weights

    def _weights_are_written_for_ready_pods(self) -> None:
        written = self._world.written_weights()
        if written != self._written:
            for revision in written.keys() - self._written.keys() - self.hurt:
                assert self._world.ready_pods(revision) > 0, f"{written} while revision {revision} has no ready pod"
            self._written = written

    def _traffic_finds_pods(self) -> None:
        for router in self._world.serving_routers():
            for revision in router.weights:
                assert (self._world.replicas(revision) or 0) >= 1, f"{router.name} sends to revision {revision}"
                hosts = [name for name in router.hosts.get(revision, []) if name in self._world.pods]
                assert hosts or revision in self.hurt, f"{router.name} knows no pod of revision {revision}"

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


def _named(manifest: Any) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def assert_clean(world: World) -> None:
    """Check that nothing is left of what is not in use, after things came to rest."""
    status = world.status
    in_use = [part["revision"] for part in (status.get("stable"), status.get("candidate")) if part]
    children = {names.revision_name(NAME, revision) for revision in in_use}
    assert world.kept("Deployment") == children | {f"{NAME}-router"}
    assert world.kept("ConfigMap") == children | {f"{NAME}-router"}
    assert world.kept("Service") == children | {NAME}
    assert children <= world.kept("ControllerRevision")
    assert {pod.owner for pod in world.pods.values()} <= children | {f"{NAME}-router"}
