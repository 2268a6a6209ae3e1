"""A toy world for the operator: one namespace with one endpoint, in memory, on time that stands still until moved.

It is the reconciler's ``Cluster`` port, on the same reduction as the real one, and what a cluster does by itself: pods
start, roll and end, DNS follows a turn later, routers read their files when they are poked. Like the real operator it
takes a pass only when a watch would have told of something, or when the last plan asked to look again.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from modelendpoint_operator import names
from modelendpoint_operator.adapters.envoy import ClusterStats, RouterStats
from modelendpoint_operator.adapters.reduction import (
    is_monitor,
    is_ready,
    is_router,
    reduce_monitor,
    reduce_observation,
    serves,
)
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.errors import ForeignObject, WriteRefused
from modelendpoint_operator.observation import Check, Counters, Measurement, Observation, PodReport
from modelendpoint_operator.plan import Plan
from modelendpoint_operator.reconciler import Reconciler
from modelendpoint_operator.settings import Settings

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TURN = timedelta(seconds=1)
NAMESPACE, NAME = "shop", "churn"
BROKEN = "broken"
"""A version whose model is no model, until a test takes it out of ``World.broken``."""

TURNS_TO_START = 2
TURNS_TO_END = 3
TURNS_TO_COMPARE = 3
TURNS_TO_READ = 60
"""Turns after which a kubelet refreshes mounted files without being poked."""

PASSES_AT_ONCE = 6
"""More passes without anything happening in the cluster means that the operator answers its own writes for ever."""


class Crash(Exception):
    """The operator was killed in the middle of a pass."""


class Key(NamedTuple):
    """Kind and name of an object."""

    kind: str
    name: str


@dataclass
class Pod:
    """A pod, and what goes on inside it."""

    body: dict[str, Any]
    owner: str
    template: dict[str, Any]
    age: int = 0
    turns_left: int | None = None
    report: PodReport | None = None
    poked_for: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    """Of a router: the versions of the files that it uses."""
    weights: dict[int, float] = field(default_factory=dict)
    copies: dict[int, float] = field(default_factory=dict)
    """Of a router: percent of the requests of which a revision gets a copy."""
    hosts: dict[int, list[str]] = field(default_factory=dict)
    """Of a router: the pods that it sends requests to, by revision."""
    monitoring: dict[str, Any] | None = None
    """Of a server: what it knows of monitoring."""
    troubles: dict[str, str] = field(default_factory=dict)
    """Of a router: what is wrong with the Secrets that it mounts."""
    counted: dict[int, Counters] = field(default_factory=dict)
    """Of a router: what it counted, by revision."""
    held: frozenset[int] = frozenset()
    """Of a router: the revisions whose requests it holds while it knows no pod of them."""
    sleeping: frozenset[int] = frozenset()
    """Of a router: the revisions that it takes for having no pods."""
    waiting: int = 0
    """Of a router: the requests that it holds."""
    knocks: int | None = 0
    """Of a router: times that such a request asked for a pod; None for one that can hold none."""

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def is_ready(self) -> bool:
        return is_ready(self.body) and self.turns_left is None

    @property
    def revision(self) -> int | None:
        number = self.body["metadata"]["labels"].get(names.LABEL_REVISION)
        return None if number is None else int(number)

    def stats(self) -> RouterStats:
        """What Envoy tells about itself."""
        counts = {revision: len(hosts) for revision, hosts in self.hosts.items()}
        return RouterStats(
            route_version=self.versions.get(names.ROUTES_FILE),
            cluster_version=self.versions.get(names.CLUSTERS_FILE),
            listener_version=next((self.versions[file] for file in self.versions if file.startswith("lds")), None),
            troubles=self.troubles,
            knocks=self.knocks,
            clusters={number: self._cluster(number, hosts=count) for number, count in counts.items()},
        )

    def _cluster(self, revision: int, *, hosts: int) -> ClusterStats:
        counters = self.counted.get(revision, Counters())
        return ClusterStats(
            hosts=hosts,
            healthy_hosts=hosts,
            answers=counters.answers,
            answers_4xx=counters.client_errors,
            answers_5xx=counters.server_errors,
            latency=counters.latency,
        )

    def count(self, revision: int, requests: int, *, failing: float, milliseconds: int) -> None:
        """Answer requests; the share that fails is met as exactly as whole numbers can."""
        before = self.counted.get(revision, Counters())
        answers, ends = before.answers + requests, (float(milliseconds), float(milliseconds + 1))
        self.counted[revision] = Counters(
            answers=answers,
            client_errors=before.client_errors,
            server_errors=max(before.server_errors, int(answers * failing)),
            latency={**before.latency, ends: before.latency.get(ends, 0) + requests},
        )


class World:
    """The namespace, its cluster, and the operator."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        metadata = {"name": NAME, "namespace": NAMESPACE, "uid": "endpoint-uid", "generation": 1, "annotations": {}}
        self.body: dict[str, Any] = {"metadata": metadata, "spec": dict(spec), "status": {"observedGeneration": -1}}
        self.now = EPOCH
        self.objects: dict[Key, dict[str, Any]] = {}
        self.foreign: set[Key] = set()
        self.pods: dict[str, Pod] = {}
        self.events: list[tuple[str, str]] = []
        self.writes = 0
        self.crash_at: int | None = None
        self.refused: dict[str, str] = {}
        """Kinds that the API server refuses, and what it says."""
        self.unknown_kinds: set[str] = set()
        """Kinds that the API server does not know."""
        self.frozen_routers: set[str] = set()
        """Router pods whose files are never refreshed."""
        self.broken = {BROKEN: PodReport(state="Failed", reason="ModelInvalid", message="not an ONNX model")}
        self.digests: dict[str, str] = {}
        """What the store holds for a version, where it is not ``digest_of`` it."""
        self.answers: dict[str, Measurement] = {}
        """What is measured for a gate, by its name; nothing where nothing is set."""
        self.replayed: dict[str, Mapping[str, Any]] = {}
        """How the runs of a replay gate end (see ``compared``), by the gate's name; without it they never do."""
        self.asked: list[Check] = []
        """What was to be measured so far."""
        self.unanswered = 0
        """Requests that a router could send nowhere, and did not hold."""
        self.traffic = 0
        """Requests that the routers get in a turn, all together."""
        self.failing: dict[int, float] = {}
        """Share of the requests to a revision that it answers with 500."""
        self.slow: dict[int, int] = {}
        """Milliseconds that a revision takes for an answer, where that is not 5."""
        self.monitor_report: object = {
            "servers": {"sampled": 0, "dropped": 0},
            "received": 0,
            "dropped": 0,
            "capture": {"captured": 0, "dropped": 0, "reason": None, "message": None},
        }
        """What a monitor tells."""
        self.resync: timedelta | None = None
        """Time after which the operator looks without having heard of anything; None is never."""
        self.heard = 0
        """Times that a watch told of something."""
        self.deaf_to: int | None = None
        """The one of them that does not reach the operator."""
        self.watchers: list[Callable[[], None]] = []
        """Called after every write and every turn."""
        self.before_plan: list[Callable[[ModelEndpoint, Plan], None]] = []
        """Called with every plan before it is carried out."""
        self.settings = Settings(drain_seconds=5, router_image="router:1", server_image="server:1")
        self.reconciler = Reconciler(self, self.settings, clock=lambda: self.now)
        self._count, self._knocks = 0, 0
        self._news = True
        self._wake: datetime | None = None
        self._looked = EPOCH

    def copy(self) -> "World":
        """Make another world of the same state, which nobody watches yet."""
        other = World({})
        kept = ("settings", "reconciler", "watchers", "before_plan")
        vars(other).update(copy.deepcopy({name: value for name, value in vars(self).items() if name not in kept}))
        return other

    # What people do.

    def edit(self, **spec: Any) -> None:
        """Change fields of the spec, as ``kubectl apply`` does; None takes one out."""
        changed = {**self.body["spec"], **spec}
        self.body["spec"] = {name: value for name, value in changed.items() if value is not None}
        self.body["metadata"]["generation"] += 1
        self.hear_of_it()

    def use_model(self, version: str) -> None:
        """Ask for another version of the model."""
        self.edit(model=model_of(version))

    def annotate(self, **orders: str | None) -> None:
        """Set annotations such as ``promote="2"``; None removes one."""
        changed = {**self.body["metadata"]["annotations"]}
        changed |= {f"{names.GROUP}/{verb}": value for verb, value in orders.items()}
        self.body["metadata"]["annotations"] = {name: value for name, value in changed.items() if value is not None}
        self.hear_of_it()

    def remove(self, kind: str, name: str) -> None:
        """Delete an object by hand."""
        del self.objects[Key(kind, name)]
        self.hear_of_it()

    def tamper(self, kind: str, name: str) -> dict[str, Any]:
        """Hand out an object to be changed by hand."""
        self.hear_of_it()
        return self.objects[Key(kind, name)]

    def put_foreign(self, kind: str, name: str) -> None:
        """Create an object that is not the endpoint's."""
        self.foreign.add(Key(kind, name))

    def hear_of_it(self) -> None:
        """Let a watch tell of something, unless this is the one time that it does not get through."""
        self.heard += 1
        self._news = self._news or self.heard != self.deaf_to

    def fail_pods(self, revision: int) -> None:
        """Let the pods of a revision lose their readiness; they start over."""
        for pod in self.pods_of(revision):
            pod.body["status"]["conditions"] = []
            pod.age, pod.report = 0, None
        self.hear_of_it()

    # What the operator sees and does: the Cluster port.

    def find(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Read the endpoint."""
        assert (namespace, name) == (NAMESPACE, NAME)
        return copy.deepcopy(self.body)

    def observe(self, endpoint: ModelEndpoint, checks: Sequence[Check] = ()) -> Observation:
        """Read all that there is, and measure what is due."""
        pods = self.pods.values()
        self.asked += checks
        observation = reduce_observation(
            self.objects.values(),
            [pod.body for pod in pods],
            routers={pod.name: pod.stats() for pod in pods if is_router(pod.body)},
            reports={pod.name: pod.report for pod in pods if pod.report},
            measurements={check.name: self.answers[check.name] for check in checks if check.name in self.answers},
            unknown_kinds=frozenset(self.unknown_kinds),
        )
        told = {pod.name: self.monitor_report for pod in pods if is_monitor(pod.body) and pod.is_ready}
        return replace(observation, monitor=reduce_monitor([pod.body for pod in pods], told))

    def apply(self, endpoint: ModelEndpoint, plan: Plan, *, now: datetime) -> None:
        """Carry out a plan, in its order."""
        for look in self.before_plan:
            look(endpoint, plan)
        for write in plan.applies:
            self._count_write()
            self._store(dict(write.manifest), uid=write.uid)
            self._tell()
        for poke in plan.pokes:
            self._count_write()
            self.pods[poke.pod].body["metadata"]["annotations"][poke.annotation] = poke.value
            self._tell()
        for gone in plan.deletes:
            self._count_write()
            assert self.objects.pop(Key(gone.ref.kind, gone.ref.name))["metadata"]["uid"] == gone.uid
            self._tell()
        for note in plan.events:
            self._count_write()
            told = (note.reason, note.message)
            self.events += [told] if told not in self.events[-3:] else []
        if plan.status is not None:
            self._count_write()
            self.body["status"] = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
            self._tell()

    # What happens by itself.

    def reconcile(self) -> Plan | None:
        """Take one pass; None when the operator was killed in it."""
        self._news, self._looked = False, self.now
        try:
            plan = self.reconciler.reconcile(NAMESPACE, NAME)
        except Crash:
            self._news = True
            return None
        assert plan is not None
        self._wake = None if plan.look_again_after is None else self.now + plan.look_again_after
        return plan

    def history(self, *, turns: int, turn: timedelta = TURN) -> Iterator["World"]:
        """Go on turn by turn, for those who look at every state in between."""
        for _ in range(turns):
            self._work()
            yield self
            self.turn()
            self.now += turn
            yield self

    def _work(self) -> None:
        """Take passes until there is nothing new and no time to look again has come."""
        for _ in range(PASSES_AT_ONCE):
            if not self._news and not self._is_time_to_look():
                return
            self.reconcile()
            if not self._news:
                return
        raise AssertionError(f"the operator does not come to rest: {self.events[-3:]}")

    def _is_time_to_look(self) -> bool:
        times = [self._wake] if self._wake is not None else []
        if self.resync is not None:
            times.append(self._looked + self.resync)
        return bool(times) and min(times) <= self.now

    def settle(self, *, turns: int = 40, turn: timedelta = TURN) -> None:
        """Go on until ``turns`` turns have passed."""
        for _ in self.history(turns=turns, turn=turn):
            pass

    def turn(self) -> None:
        """Let the cluster go on by one turn."""
        before = self._pods_as_watched()
        for pod in [pod for pod in self.pods.values() if is_router(pod.body)]:
            self._let_router_look(pod)
        for pod in [pod for pod in self.pods.values() if pod.revision is not None]:
            self._let_server_look(pod)
        self._send_requests()
        self._let_runs_go_on()
        self._ring()
        for deployment in [body for key, body in self.objects.items() if key.kind == "Deployment"]:
            self._scale(deployment)
        for pod in list(self.pods.values()):
            if Key("Deployment", pod.owner) not in self.objects:
                self._end(pod)
            self._go_on(pod)
        if before != self._pods_as_watched():
            self.hear_of_it()
        for look in self.watchers:
            look()

    # What a test asks.

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.body["status"])

    @property
    def endpoint(self) -> ModelEndpoint:
        return ModelEndpoint.from_body(self.body)

    def condition(self, kind: str) -> dict[str, Any] | None:
        return next((told for told in self.status.get("conditions", []) if told["type"] == kind), None)

    def reason(self) -> str:
        """The one word that ``kubectl get`` shows."""
        ready = self.condition("Ready")
        return str(ready["reason"]) if ready else ""

    def serving_routers(self) -> list[Pod]:
        """Router pods that a client may still reach."""
        return [pod for pod in self.pods.values() if is_router(pod.body) and serves(pod.body)]

    def live_weights(self) -> list[dict[int, float]]:
        """What each serving router does: weight by revision."""
        return [dict(pod.weights) for pod in self.serving_routers()]

    def written_weights(self) -> dict[int, float]:
        """What the router's ConfigMap says."""
        config = self.objects.get(Key("ConfigMap", f"{NAME}-router"))
        return weights_in(config) if config else {}

    def written_held(self) -> frozenset[int]:
        """The revisions whose requests are held, as the router's ConfigMap says."""
        config = self.objects.get(Key("ConfigMap", f"{NAME}-router"))
        return held_in(config) if config else frozenset()

    def written_sleeping(self) -> frozenset[int]:
        """The revisions that routers shall take for having no pods, as the router's ConfigMap says."""
        config = self.objects.get(Key("ConfigMap", f"{NAME}-router"))
        return sleeping_in(config) if config else frozenset()

    def pods_of(self, revision: int) -> list[Pod]:
        """The pods of a revision that were not told to end."""
        return [pod for pod in self.pods.values() if pod.revision == revision and pod.turns_left is None]

    def ready_pods(self, revision: int) -> int:
        return sum(pod.is_ready for pod in self.pods_of(revision))

    def replicas(self, revision: int) -> int | None:
        """How many pods a revision's Deployment wants; None when there is none."""
        deployment = self.objects.get(Key("Deployment", f"{NAME}-r{revision}"))
        return None if deployment is None else int(deployment["spec"]["replicas"])

    def kept(self, kind: str) -> set[str]:
        """Names of the objects of a kind."""
        return {key.name for key in self.objects if key.kind == kind}

    def told(self) -> list[str]:
        """Reasons of the Events so far."""
        return [reason for reason, _ in self.events]

    # Inner workings.

    def _count_write(self) -> None:
        if self.crash_at is not None and self.writes >= self.crash_at:
            self.crash_at = None
            raise Crash
        self.writes += 1

    def _tell(self) -> None:
        """Let everybody know that something was written."""
        self.hear_of_it()
        for look in self.watchers:
            look()

    def _store(self, manifest: dict[str, Any], *, uid: str | None) -> None:
        key = Key(manifest["kind"], manifest["metadata"]["name"])
        if key in self.foreign:
            raise ForeignObject(" ".join(key))
        assert key.kind not in self.unknown_kinds, f"the API server knows no {key.kind}"
        if key.kind in self.refused:
            raise WriteRefused(" ".join(key), self.refused[key.kind])
        before = self.objects.get(key)
        assert (before["metadata"]["uid"] if before else None) == uid
        assert not before or key.kind != names.BATCH_KIND, "the spec of a BatchPrediction can't be changed"
        if before and key.kind == "ControllerRevision":
            assert before["data"] == manifest["data"], "the data of a ControllerRevision can't be changed"
        self._count += 1
        self.objects[key] = as_stored(manifest, uid=uid or f"uid-{self._count}")

    def _pods_as_watched(self) -> list[tuple[object, ...]]:
        return [
            (pod.name, pod.body["status"]["phase"], pod.is_ready, pod.turns_left is None) for pod in self.pods.values()
        ]

    def _scale(self, deployment: dict[str, Any]) -> None:
        """Give a Deployment its pods; one pod more while those of an older template are replaced."""
        owner, template = deployment["metadata"]["name"], deployment["spec"]["template"]
        own = [pod for pod in self.pods.values() if pod.owner == owner and pod.turns_left is None]
        old = [pod for pod in own if pod.template != template]
        wanted = deployment["spec"]["replicas"] + (1 if old and deployment["spec"]["replicas"] else 0)
        for _ in range(wanted - len(own)):
            self._create_pod(owner, template)
        surplus = [*old, *sorted((pod for pod in own if pod not in old), key=lambda pod: pod.is_ready)]
        if len(own) > deployment["spec"]["replicas"] and (len(own) > wanted or all(pod.is_ready for pod in own)):
            for pod in surplus[: len(own) - deployment["spec"]["replicas"]]:
                self._end(pod)

    def _send_requests(self) -> None:
        """Let each router divide its part of the requests by its weights, and hold those to a revision that sleeps."""
        routers = self.serving_routers()
        for router in routers:
            for revision, weight in (*router.weights.items(), *router.copies.items()):
                if revision in router.held:
                    # What pods answer of such requests is in no counter of the revision.
                    waiting = router.waiting + int(self.traffic // len(routers))
                    router.waiting = 0 if router.hosts[revision] else waiting
                    router.knocks = (router.knocks or 0) + router.waiting
                    continue
                if revision in router.weights and not router.hosts.get(revision):
                    self.unanswered += int(self.traffic // len(routers))
                router.count(
                    revision,
                    int(self.traffic * weight // (100 * len(routers))),
                    failing=self.failing.get(revision, 0.0),
                    milliseconds=self.slow.get(revision, 5),
                )

    def _let_runs_go_on(self) -> None:
        """Let the runs of replay gates work for some turns, and then end as a test has set it."""
        for run in [body for key, body in self.objects.items() if key.kind == names.BATCH_KIND]:
            status = run.setdefault("status", {"phase": "Working"})
            age = int(run["metadata"].setdefault("age", 0)) + 1
            run["metadata"]["age"] = age
            end = self.replayed.get(run["metadata"]["labels"][names.LABEL_GATE])
            if end is not None and age >= TURNS_TO_COMPARE and "completionTime" not in status:
                run["status"] = {**end, "completionTime": self.now.isoformat()}
                self.hear_of_it()

    def _ring(self) -> None:
        """Do what the operator's doorbell does."""
        knocks = sum(router.knocks or 0 for router in self.serving_routers())
        is_asleep = self.status.get("scale", {}).get("replicas") == 0
        if is_asleep and knocks != self._knocks:
            self._news = True
        self._knocks = knocks

    def _create_pod(self, owner: str, template: dict[str, Any]) -> None:
        self._count += 1
        body = {
            "metadata": {
                "name": f"{owner}-{self._count}",
                "labels": dict(template["metadata"]["labels"]),
                "annotations": dict(template["metadata"].get("annotations", {})),
            },
            "status": {"phase": "Pending", "conditions": []},
        }
        self.pods[body["metadata"]["name"]] = Pod(body=body, owner=owner, template=copy.deepcopy(template))  # type: ignore[index]

    def _end(self, pod: Pod) -> None:
        if pod.turns_left is None:
            pod.turns_left = TURNS_TO_END
            pod.body["metadata"]["deletionTimestamp"] = self.now.isoformat()

    def _go_on(self, pod: Pod) -> None:
        if pod.turns_left is not None:
            pod.turns_left -= 1
            if pod.turns_left == 1:
                # The signal: from now on it says that it is not ready.
                pod.body["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
            if pod.turns_left <= 0:
                del self.pods[pod.name]
            return
        pod.age += 1
        pod.body["status"]["phase"] = "Running"
        if pod.age < TURNS_TO_START or pod.is_ready:
            return
        if pod.revision is not None:
            pod.report = self._load_model(pod.revision)
        if pod.report is None or pod.report.state == "Ready":
            pod.body["status"]["conditions"] = [{"type": "Ready", "status": "True"}]

    def _load_model(self, revision: int) -> PodReport:
        """Do what a model server does: get the bytes, compare their digest, load them."""
        name = names.revision_name(NAME, revision)
        template = json.loads(
            self.objects[Key("Deployment", name)]["metadata"]["annotations"][names.ANNOTATION_TEMPLATE]
        )
        version = str(template["model"].get("version"))
        if version in self.broken:
            return self.broken[version]
        digest = self.digests.get(version, digest_of(version))
        config = self.objects.get(Key("ConfigMap", name))
        wanted = template["model"].get("sha256") or (config["data"][names.DIGEST_KEY] if config else "")
        if wanted and wanted != digest:
            return PodReport(state="Failed", sha256=digest, reason="DigestMismatch", message="other bytes than before")
        return PodReport(state="Ready", sha256=digest)

    def _let_server_look(self, pod: Pod) -> None:
        """Let a server read what it is told of monitoring, if its kubelet refreshes that now."""
        poke = pod.body["metadata"]["annotations"].get(names.ANNOTATION_MONITORING)
        if pod.age <= 1 or poke != pod.poked_for:
            config = self.objects.get(Key("ConfigMap", f"{NAME}-monitor"))
            pod.poked_for, pod.monitoring = poke, json.loads(config["data"]["config.json"]) if config else None

    def _let_router_look(self, pod: Pod) -> None:
        """Let Envoy read its files if the kubelet refreshes them now, look its hosts up in DNS, and ask them.

        One that DNS does not name any more stays as long as it says that it is ready.
        """
        config = self.objects.get(Key("ConfigMap", f"{NAME}-router"))
        poke = pod.body["metadata"]["annotations"].get(names.ANNOTATION_ROUTER_CONFIG)
        is_right = config is not None and all(json.loads(text) for text in config["data"].values())
        is_due = not pod.versions or poke != pod.poked_for or pod.age % TURNS_TO_READ == 0
        if config and is_right and is_due and pod.turns_left is None and pod.name not in self.frozen_routers:
            pod.poked_for = poke
            pod.weights, pod.copies = weights_in(config), copies_in(config)
            pod.versions = {
                file: json.loads(config["data"][file])["version_info"]
                for file in config["data"]
                if file != names.BOOTSTRAP_FILE
            }
            clusters = json.loads(config["data"][names.CLUSTERS_FILE])["resources"]
            pod.hosts = {revision_in(cluster): [] for cluster in clusters}
            pod.sleeping = sleeping_in(config)
            pod.held = held_in(config)
        for revision, known in pod.hosts.items():
            servers = [server for server in self.pods.values() if server.revision == revision]
            pod.hosts[revision] = [
                server.name
                for server in servers
                if revision not in pod.sleeping
                and (server.is_ready or (server.name in known and is_ready(server.body)))
            ]


def model_of(version: str) -> dict[str, Any]:
    """Build ``spec.model`` for a version."""
    return {"uri": f"s3://models/churn/{version}.onnx", "version": version}


def digest_of(version: str) -> str:
    """Name the sha256 of a version's bytes."""
    return version.encode().hex().ljust(64, "0")[:64]


def compared(disagreeing: int, *, rows: int = 1000, rejected: int = 0) -> dict[str, Any]:
    """Build the status of a run that has compared two models on so many rows."""
    progress = {"text": f"{rows} of {rows} rows", "shards": 1, "rowsIn": rows, "measuredAt": EPOCH.isoformat()}
    return {
        "phase": "Complete",
        "comparison": {"rows": rows - rejected, "disagreeing": disagreeing, "largestDifference": 0.25},
        "progress": progress,
        "manifest": "s3://reports/churn/_MANIFEST.json",
    }


def weights_in(config: Mapping[str, Any]) -> dict[int, float]:
    """Read the weights by revision from the router's ConfigMap, as Envoy does, in percent of all requests."""
    return dict(_weights_in(config["data"][names.ROUTES_FILE]))


def copies_in(config: Mapping[str, Any]) -> dict[int, float]:
    """Read of how many percent of the requests a revision gets copies."""
    routes = json.loads(config["data"][names.ROUTES_FILE])
    route = routes["resources"][0]["virtual_hosts"][0]["routes"][-1].get("route", {}) if routes else {}
    return {
        int(policy["cluster"].rpartition("-r")[2]): policy["runtime_fraction"]["default_value"]["numerator"]
        for policy in route.get("request_mirror_policies", [])
    }


@lru_cache
def _weights_in(text: str) -> Mapping[int, float]:
    routes = json.loads(text)
    if not routes:
        return {}
    route = routes["resources"][0]["virtual_hosts"][0]["routes"][-1].get("route", {})
    if "cluster" in route:
        return {revision_in({"name": route["cluster"]}): 100}
    clusters = route.get("weighted_clusters", {}).get("clusters", [])
    total = sum(cluster["weight"] for cluster in clusters)
    percents = {int(cluster["name"].rpartition("-r")[2]): 100 * cluster["weight"] / total for cluster in clusters}
    return {revision: int(percent) if percent == int(percent) else percent for revision, percent in percents.items()}


def held_in(config: Mapping[str, Any]) -> frozenset[int]:
    """Read the revision whose requests are held, from the router's ConfigMap."""
    routes = json.loads(config["data"][names.ROUTES_FILE])
    last = routes["resources"][0]["virtual_hosts"][0]["routes"][-1] if routes else {}
    cluster = last.get("route", {}).get("cluster", "")
    return frozenset({revision_in({"name": cluster})} if cluster.endswith(names.HELD_SUFFIX) else ())


def sleeping_in(config: Mapping[str, Any]) -> frozenset[int]:
    """Read the revisions that routers shall take for having no pods, from the router's ConfigMap."""
    clusters = json.loads(config["data"][names.CLUSTERS_FILE]).get("resources", [])
    return frozenset(revision_in(cluster) for cluster in clusters if cluster.get("type") == "STATIC")


def revision_in(cluster: Mapping[str, Any]) -> int:
    """Read the revision that a cluster is named after."""
    return int(cluster["name"].removesuffix(names.HELD_SUFFIX).rpartition("-r")[2])


def as_stored(manifest: Mapping[str, Any], *, uid: str) -> dict[str, Any]:
    """Do what the API server does with what it stores: drop what is empty, add what it knows."""
    stored: dict[str, Any] = _without_empty(dict(manifest))
    stored["metadata"] |= {"uid": uid, "resourceVersion": "1", "creationTimestamp": EPOCH.isoformat()}
    if stored["kind"] == "ConfigMap":
        stored["data"] = dict(manifest["data"])
    if stored["kind"] == "Deployment":
        stored["spec"]["progressDeadlineSeconds"] = 600
        stored["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    if stored["kind"] == "Service" and "clusterIP" not in stored["spec"]:
        stored["spec"]["clusterIP"] = "10.0.0.1"
    return stored


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without_empty(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part not in ("", [], {}, None) or name == "emptyDir"}
    return [_without_empty(part) for part in value] if isinstance(value, list) else value
