"""A toy world for the planner: stores what is applied, and lets pods, DNS and routers follow as a cluster would.

Implements the reconciler's ``Cluster`` port in memory, on the same reduction as the real one. Time stands still until
a test moves it.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.adapters.envoy import ClusterStats, RouterStats
from modelendpoint_operator.adapters.reduction import is_ready, reduce_observation, serves
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.errors import ForeignObject
from modelendpoint_operator.observation import Observation, PodReport
from modelendpoint_operator.plan import Plan
from modelendpoint_operator.reconciler import Reconciler
from modelendpoint_operator.settings import Settings

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BROKEN = "broken"
"""A model whose version is this never gets ready."""


class Crash(Exception):
    """The operator was killed in the middle of a pass."""


class World:
    """One namespace with one endpoint in it."""

    def __init__(self, spec: Mapping[str, Any], *, settings: Settings | None = None) -> None:
        self.now = EPOCH
        self.body: dict[str, Any] = {
            "metadata": {
                "name": "churn",
                "namespace": "shop",
                "uid": "endpoint-uid",
                "generation": 1,
                "annotations": {},
            },
            "spec": dict(spec),
            "status": {"observedGeneration": -1},
        }
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.writes = 0
        self.events: list[tuple[str, str]] = []
        self.crash_at: int | None = None
        self.frozen_routers = False
        self._count = 0
        self.settings = settings or Settings(drain_seconds=5, router_image="router:1", server_image="server:1")
        self.reconciler = Reconciler(self, self.settings, clock=lambda: self.now)

    # What a user does.

    def edit(self, **spec: Any) -> None:
        """Change fields of the spec, as ``kubectl apply`` does."""
        self.body["spec"] = {**self.body["spec"], **spec}
        self.body["metadata"]["generation"] += 1

    def use_model(self, version: str) -> None:
        """Ask for another version of the model."""
        self.edit(model={"uri": f"s3://models/churn/{version}.onnx", "version": version})

    def annotate(self, **orders: str | None) -> None:
        """Set annotations such as ``promote="2"``; None removes one."""
        for verb, value in orders.items():
            name = f"{names.GROUP}/{verb}"
            if value is None:
                self.body["metadata"]["annotations"].pop(name, None)
            else:
                self.body["metadata"]["annotations"][name] = value

    # What the operator sees and does.

    def find(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return copy.deepcopy(self.body)

    def observe(self, endpoint: ModelEndpoint) -> Observation:
        pods = list(copy.deepcopy(self.pods).values())
        routers = {pod["metadata"]["name"]: pod["_stats"] for pod in pods if "_stats" in pod}
        reports = {pod["metadata"]["name"]: pod["_report"] for pod in pods if "_report" in pod}
        return reduce_observation(copy.deepcopy(list(self.objects.values())), pods, routers=routers, reports=reports)

    def apply(self, endpoint: ModelEndpoint, plan: Plan, *, now: datetime) -> None:
        for write in plan.applies:
            key = (write.manifest["kind"], write.manifest["metadata"]["name"])
            if write.uid is None and key in self.objects:
                raise ForeignObject(" ".join(key))
            self._write()
            self._store(key, copy.deepcopy(dict(write.manifest)))
        for poke in plan.pokes:
            self._write()
            self.pods[poke.pod]["metadata"].setdefault("annotations", {})[names.ANNOTATION_ROUTER_CONFIG] = poke.config
        for gone in plan.deletes:
            self._write()
            self.objects.pop((gone.ref.kind, gone.ref.name), None)
        self.events += [(note.reason, note.message) for note in plan.events]
        if plan.status is not None:
            self._write()
            self.body["status"] = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)

    # What the cluster does by itself.

    def turn(self) -> None:
        """Let the cluster catch up by one turn: pods start and end, routers read what is written."""
        for deployment in [body for (kind, _), body in self.objects.items() if kind == "Deployment"]:
            self._scale(deployment)
        owners = {name for kind, name in self.objects if kind == "Deployment"}
        for name, pod in list(self.pods.items()):
            if pod["_owner"] not in owners:
                self._end(name)
            elif "deletionTimestamp" not in pod["metadata"]:
                self._start(pod)
        if not self.frozen_routers:
            self._let_routers_read()

    def settle(self, *, turns: int = 60, step: timedelta = timedelta(seconds=1)) -> None:
        """Reconcile and let the cluster follow until ``turns`` turns have passed."""
        for _ in self.history(turns=turns, step=step):
            pass

    def history(self, *, turns: int, step: timedelta = timedelta(seconds=1)) -> Iterator["World"]:
        """Settle turn by turn, for tests that look at every state in between."""
        for _ in range(turns):
            self.reconcile()
            yield self
            self.turn()
            self.now += step
            yield self

    def reconcile(self) -> Plan | None:
        """Take one pass; a crash in it is survived."""
        try:
            return self.reconciler.reconcile("shop", "churn")
        except Crash:
            return None

    # What a test asks.

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.body["status"])

    def condition(self, kind: str) -> dict[str, Any] | None:
        return next((told for told in self.status.get("conditions", []) if told["type"] == kind), None)

    def reason(self) -> str:
        ready = self.condition("Ready")
        return ready["reason"] if ready else ""

    def live_weights(self) -> list[dict[int, int]]:
        """What each serving router does: weight by revision."""
        return [dict(pod["_weights"]) for pod in self.pods.values() if "_weights" in pod and serves(pod)]

    def ready_pods(self, revision: int) -> int:
        return sum(
            is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
            for pod in self.pods.values()
            if pod["metadata"]["labels"].get(names.LABEL_REVISION) == str(revision)
        )

    def replicas(self, revision: int) -> int | None:
        deployment = self.objects.get(("Deployment", f"churn-r{revision}"))
        return None if deployment is None else int(deployment["spec"]["replicas"])

    # Inner workings.

    def _write(self) -> None:
        if self.crash_at is not None and self.writes >= self.crash_at:
            self.crash_at = None
            raise Crash
        self.writes += 1

    def _store(self, key: tuple[str, str], manifest: dict[str, Any]) -> None:
        before = self.objects.get(key)
        if before and key[0] == "ControllerRevision":
            assert before["data"] == manifest["data"], "the data of a ControllerRevision can't be changed"
        self._count += 1
        manifest["metadata"]["uid"] = before["metadata"]["uid"] if before else f"uid-{self._count}"
        self.objects[key] = manifest

    def _scale(self, deployment: dict[str, Any]) -> None:
        name = deployment["metadata"]["name"]
        own = [
            key
            for key, pod in self.pods.items()
            if pod["_owner"] == name and "deletionTimestamp" not in pod["metadata"]
        ]
        for key in own[deployment["spec"]["replicas"] :]:
            self._end(key)
        for _ in range(deployment["spec"]["replicas"] - len(own)):
            self._count += 1
            pod_name = f"{name}-{self._count}"
            labels = dict(deployment["spec"]["template"]["metadata"]["labels"])
            self.pods[pod_name] = {
                "metadata": {"name": pod_name, "labels": labels},
                "status": {"phase": "Pending", "conditions": []},
                "_owner": name,
                "_age": 0,
            }

    def _end(self, name: str) -> None:
        pod = self.pods[name]
        if "deletionTimestamp" in pod["metadata"]:
            del self.pods[name]
        else:
            pod["metadata"]["deletionTimestamp"] = self.now.isoformat()

    def _start(self, pod: dict[str, Any]) -> None:
        pod["_age"] += 1
        pod["status"]["phase"] = "Running"
        revision = pod["metadata"]["labels"].get(names.LABEL_REVISION)
        version = self._version(int(revision)) if revision else None
        if version == BROKEN:
            pod["_report"] = PodReport(state="Failed", reason="ModelInvalid", message="not an ONNX model")
        elif pod["_age"] >= 2:
            pod["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
            if version:
                pod["_report"] = PodReport(state="Ready", sha256=digest_of(version))

    def _version(self, revision: int) -> str:
        return str(self.objects["ControllerRevision", f"churn-r{revision}"]["data"]["model"]["version"])

    def _let_routers_read(self) -> None:
        observation = self.observe(ModelEndpoint.from_body(self.body))
        config = self.objects.get(("ConfigMap", "churn-router"))
        if observation.routes is None or config is None:
            return
        for pod in self.pods.values():
            if pod["metadata"]["labels"][names.LABEL_COMPONENT] != names.COMPONENT_ROUTER or not is_ready(pod):
                continue
            if "deletionTimestamp" in pod["metadata"]:
                continue
            pod["_weights"] = {leg.revision: leg.weight for leg in observation.routes.legs}
            pod["_stats"] = RouterStats(
                route_version=observation.routes.version,
                cluster_version=_version_info(config, names.CLUSTERS_FILE),
                listener_version=_version_info(config, names.LISTENERS_FILE),
                clusters={
                    number: ClusterStats(hosts=self.ready_pods(number), healthy_hosts=self.ready_pods(number))
                    for number in observation.routes.clusters
                },
            )


def digest_of(version: str) -> str:
    """The sha256 that the toy world's servers report for a version."""
    return version.encode().hex().ljust(64, "0")[:64]


def _version_info(config: Mapping[str, Any], file: str) -> str:
    return str(json.loads(config["data"][file])["version_info"])
