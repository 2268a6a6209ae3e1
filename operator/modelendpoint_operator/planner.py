"""From what was seen to what shall be written: the operator's one decision, as a table of contents.

Two rules keep every request answered, whatever the rollout machine wants next:

* what may still get traffic stays as it is: nothing is scaled down or deleted before every router pod uses routes
  without it, and its requests in flight had time to end;
* children first, status last: after a crash in between, the same pass is planned again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from modelendpoint_operator import autoscaling, drift, exposure, idling, monitoring, names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.revision import RevisionTemplate
from modelendpoint_operator.api.status import (
    ArmStatus,
    ModelEndpointStatus,
    MonitoringStatus,
    Phase,
    RevisionStatus,
    RoutesStatus,
    ScaleStatus,
)
from modelendpoint_operator.conditions import (
    View,
    derive_conditions,
    stalled_conditions,
    tell_arm,
)
from modelendpoint_operator.manifests.autoscaler import build_autoscaler
from modelendpoint_operator.manifests.difference import differs, with_applied_hash
from modelendpoint_operator.manifests.envoy import build_documents, config_version
from modelendpoint_operator.manifests.exposure import build_exposure
from modelendpoint_operator.manifests.metadata import selector_labels
from modelendpoint_operator.manifests.model_server import build_model_server, build_revision_record
from modelendpoint_operator.manifests.monitor import (
    build_monitor,
    build_monitoring_config,
    monitoring_config,
    monitoring_version,
)
from modelendpoint_operator.manifests.mounts import router_mounts
from modelendpoint_operator.manifests.replay import build_replay
from modelendpoint_operator.manifests.router import build_router
from modelendpoint_operator.manifests.routes import route_version
from modelendpoint_operator.manifests.xds import Document
from modelendpoint_operator.observation import Leg, ObjectRef, Observation, RevisionRecord
from modelendpoint_operator.plan import Apply, Delete, EventNote, Plan, Poke
from modelendpoint_operator.rollout.arms import ArmCourse, advance_arms, arm_legs, arm_replicas, notes_of_removed
from modelendpoint_operator.rollout.course import Course, Situation, previous_revision
from modelendpoint_operator.rollout.machine import advance
from modelendpoint_operator.rollout.results import Results, measure_arms, time_to_look
from modelendpoint_operator.rollout.waking import time_to_wake
from modelendpoint_operator.rollout.weights import stable_is_held, wanted_legs, wanted_replicas
from modelendpoint_operator.router_story import RouterConfig, lagging
from modelendpoint_operator.settings import Settings

POLL = timedelta(seconds=0.5)
"""While something is under way that no watch tells of: a router that takes up routes, a server that loads a model."""
POLL_LATER = timedelta(seconds=5)
FRESH = timedelta(seconds=60)
"""Age of a phase from which on it is looked at less often."""
POKE_AGAIN = timedelta(seconds=3)
"""A kubelet may see the poke before it sees the new ConfigMap; then it needs another one."""

POKE_FOR_MODEL = timedelta(seconds=15)
LOOK_AT_MOUNTS = timedelta(seconds=30)
"""No watch tells that somebody deleted a Secret that routers mount: the operator may not read any."""

MAY_BE_MOUNTED_LATER = ("ModelNotFound", "ModelForbidden", "DigestMismatch")
"""Reasons of a server that a changed ConfigMap or Secret may take away."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What shall be, before it is compared with what is."""

    situation: Situation
    settings: Settings
    course: Course
    arms: Sequence[ArmCourse]
    """The variants and shadows."""
    results: Results
    """How they do."""
    scale: ScaleStatus | None
    """Where autoscaling stands."""
    replicas: Mapping[int, int]
    """Pods of the revisions that shall have some: stable, candidate, the previous one while it is kept, the variants'."""
    documents: Mapping[str, Document]
    """The routers' files."""
    config: RouterConfig
    """Their versions."""
    monitoring: Mapping[str, Any] | None
    """What servers are told of monitoring; None while nobody wants samples."""
    routes: RoutesStatus
    leaving: frozenset[int]
    """Revisions whose pods are not needed any more and can't get a request."""
    wake: timedelta | None
    """When time alone will change something."""

    @property
    def endpoint(self) -> ModelEndpoint:
        """The endpoint that is planned for."""
        return self.situation.endpoint

    @property
    def seen(self) -> Observation:
        """What was seen of it."""
        return self.situation.seen

    @property
    def deadline(self) -> timedelta:
        """Time that pods have to get ready."""
        return timedelta(seconds=self.settings.progress_deadline_seconds)

    @property
    def records(self) -> Mapping[int, RevisionRecord]:
        """Its revisions."""
        return self.situation.records


def make_plan(endpoint: ModelEndpoint, seen: Observation, settings: Settings, *, now: datetime) -> Plan:
    """Plan one pass. The same input gives the same plan."""
    outline = _outline(endpoint, seen, settings, now=now)
    manifests = _manifests(outline)
    status = _status(outline)
    changed = status != endpoint.status
    return Plan(
        applies=(*_changes(manifests, seen), *_missing_replays(outline)),
        pokes=(
            *_pokes(outline),
            *_pokes_for_secrets(outline),
            *_pokes_for_models(outline),
            *monitoring.pokes_for_monitoring(seen, monitoring_version(outline.monitoring), now=now),
        ),
        deletes=(*_deletes(outline), *_unwanted(manifests, seen), *_unneeded_replays(outline)),
        events=_events(outline, status) if changed else (),
        status=status if changed else None,
        look_again_after=_look_again_after(outline),
    )


def plan_stop(endpoint: ModelEndpoint, reason: str, message: str, *, now: datetime) -> Plan:
    """Plan to report that nothing can be done for an endpoint until a person acts."""
    conditions = stalled_conditions(endpoint, reason, message, now=now)
    status = endpoint.status.model_copy(
        update={"observed_generation": endpoint.generation, "conditions": conditions},
    )
    if status == endpoint.status:
        return Plan()
    return Plan(status=status, events=(EventNote(reason=reason, message=message, warning=True),))


def _outline(endpoint: ModelEndpoint, seen: Observation, settings: Settings, *, now: datetime) -> Outline:
    records = _with_digests(seen)
    target, targets = _number_targets(endpoint, records, server_image=settings.server_image)
    main_model = [number for number, record in records.items() if record.template.arm is None]
    scale = autoscaling.choose_scale(endpoint, seen, main_model, now=now)
    situation = Situation(
        endpoint=endpoint,
        seen=seen,
        records=records,
        target=target,
        now=now,
        scaled_to=scale.replicas if scale else None,
    )
    course, arms = advance(situation), advance_arms(situation, targets)
    rest = idling.choose_rest(course, situation, main_model)
    scale = idling.with_rest(scale, rest, endpoint, now=now)
    situation = replace(situation, asleep=rest.asleep)
    # Without the main model there is nothing to take a share of.
    legs = (*main, *arm_legs(arms, situation)) if (main := wanted_legs(course, situation)) else ()
    shadows = {number for arm in arms if arm.is_shadow for number in arm.revisions}
    documents = build_documents(
        endpoint,
        legs,
        _clusters(seen, legs),
        shadows=shadows,
        holding=_holding(situation, legs, stable=course.stable),
        domain=settings.cluster_domain,
    )
    routes = _routes(endpoint, seen, documents, now=now)
    replicas = _safe_replicas(wanted_replicas(course, situation) | arm_replicas(arms, situation), seen)
    return Outline(
        situation=situation,
        settings=settings,
        course=course,
        arms=arms,
        results=measure_arms(arms, situation, stable=course.stable, routes=routes),
        scale=scale,
        replicas=replicas,
        documents=documents,
        config=RouterConfig.of(endpoint, documents),
        monitoring=_monitoring(endpoint, records, domain=settings.cluster_domain),
        routes=routes,
        leaving=_leaving(replicas.keys(), seen, routes, settings, now=now),
        wake=time_to_wake(course, situation),
    )


def _with_digests(seen: Observation) -> dict[int, RevisionRecord]:
    """Complete the records by what the revisions' pods report."""
    records = {}
    for number, record in seen.revisions.items():
        told = next((report.sha256 for report in seen.reports(number) if report.state == "Ready"), None)
        records[number] = replace(record, sha256=record.sha256 or record.template.model.sha256 or told)
    return records


def _number_targets(
    endpoint: ModelEndpoint, records: dict[int, RevisionRecord], *, server_image: str
) -> tuple[int, dict[str, int]]:
    """Number the revisions that the spec asks for, the main model's and each arm's; new ones are added."""
    spec = endpoint.spec
    main = _number(endpoint, records, RevisionTemplate.from_spec(spec, server_image=server_image))
    arms = {arm.name: RevisionTemplate.of_arm(arm, spec, server_image=server_image) for arm in spec.arms}
    return main, {name: _number(endpoint, records, template) for name, template in arms.items()}


def _number(endpoint: ModelEndpoint, records: dict[int, RevisionRecord], template: RevisionTemplate) -> int:
    """Find the revision of a template, or give it the next number."""
    known = [number for number, record in records.items() if record.template.key == template.key]
    if known:
        return max(known)
    status = endpoint.status
    numbers = [
        *records,
        *(serving.revision for serving in (status.stable, status.candidate) if serving),
        *(number for arm in status.arms for number in (arm.revision, arm.next_revision) if number),
        *(past.revision for past in status.history),
        *(past.revision for past in status.rejected),
    ]
    number = max(numbers, default=0) + 1
    records[number] = RevisionRecord(number=number, template=template, sha256=template.model.sha256)
    return number


def _clusters(seen: Observation, legs: tuple[Leg, ...]) -> tuple[int, ...]:
    """Choose the revisions that the routers know the hosts of.

    One comes in when its first pod is ready, before it gets a share: a name that has no address yet would be
    remembered as such by the cluster's DNS. It goes out when its last pod is gone, after its share.
    """
    written = seen.routes
    before = {leg.revision for leg in written.legs} if written else set()
    with_pods = {pod.revision for pod in seen.pods}
    ready = {revision for revision in with_pods if seen.ready_pods(revision)}
    staying = with_pods & written.clusters if written else set()
    return tuple(sorted(ready | staying | before | {leg.revision for leg in legs}))


def _holding(situation: Situation, legs: Collection[Leg], *, stable: int | None) -> dict[int, bool]:
    """Choose the revisions whose requests the routers can hold, and say which of these they shall take for having no pods.

    That is so from when all routers hold its requests, before its last pod ends, until the next one is ready: a name
    without an address would be remembered as such by the cluster's DNS.
    """
    seen, written = situation.seen, situation.seen.routes
    held = {leg.revision for leg in legs if leg.held}
    before = {leg.revision for leg in written.legs if leg.held} if written else set()
    known = written.holding if written is not None and seen.live_legs is None else frozenset()
    may_be = {stable} if stable is not None and situation.endpoint.spec.may_sleep else set()
    slept = held & written.sleeping if written else set()
    if situation.asleep:
        sleeping = slept | {leg.revision for leg in seen.live_legs or () if leg.held and leg.revision in held}
    else:
        sleeping = {number for number in slept if not seen.ready_pods(number)}
    return {number: number in sleeping for number in held | before | known | may_be}


def _routes(
    endpoint: ModelEndpoint, seen: Observation, documents: Mapping[str, Document], *, now: datetime
) -> RoutesStatus:
    version, config = route_version(documents[names.ROUTES_FILE]), config_version(documents)
    before = endpoint.status.routes
    written = before.since if before and before.config == config else None
    routes = RoutesStatus(version=version, config=config, since=written or now)
    if seen.live_legs is None or seen.routes is None or seen.routes.version != version:
        return routes
    since = before.live_since if before and before.version == version else None
    return routes.model_copy(update={"live_since": since or now})


def _safe_replicas(wanted: Mapping[int, int], seen: Observation) -> dict[int, int]:
    """Keep at least one pod of what runs and may get traffic."""
    running = {number for number, replicas in seen.workloads().items() if replicas > 0}
    needed = running & _may_have_traffic(seen)
    return {number: max(count, 1 if number in needed else 0) for number, count in wanted.items()}


def _may_have_traffic(seen: Observation) -> frozenset[int]:
    """Name the revisions that a request may still go to: all of them while it is not certain."""
    if seen.live_legs is None:
        return frozenset(seen.workloads())
    return frozenset(leg.revision for leg in seen.live_legs if not (leg.held and seen.is_cut_off(leg.revision)))


def _leaving(
    staying: Collection[int], seen: Observation, routes: RoutesStatus, settings: Settings, *, now: datetime
) -> frozenset[int]:
    # Once the wanted routes are live, only what has a share in them gets requests; before, anything may.
    if routes.live_since is None or now < routes.live_since + settings.drain:
        return frozenset()
    return seen.populated() - frozenset(staying)


def _monitoring(
    endpoint: ModelEndpoint, records: Mapping[int, RevisionRecord], *, domain: str
) -> Mapping[str, Any] | None:
    variants = {number: record.template.arm for number, record in records.items() if record.template.arm}
    return monitoring_config(endpoint, variants, domain=domain)


def _manifests(outline: Outline) -> list[dict[str, Any]]:
    endpoint, settings = outline.endpoint, outline.settings
    manifests = []
    if outline.monitoring is not None:
        # Before any pod that shall find it.
        manifests.append(build_monitoring_config(endpoint, outline.monitoring))
    for number, replicas in outline.replicas.items():
        record = outline.records[number]
        manifests.append(build_revision_record(endpoint, record, data=_stored_data(outline, number)))
        manifests += build_model_server(
            endpoint,
            record,
            replicas=replicas,
            image_pull_policy=settings.image_pull_policy,
            drain_seconds=settings.drain_seconds,
        )
    manifests += build_router(endpoint, outline.documents, settings=settings)
    if endpoint.spec.monitoring is not None:
        manifests += build_monitor(endpoint, endpoint.spec.monitoring, settings=settings)
    manifests += [
        manifest
        for manifest in (*build_autoscaler(endpoint), *build_exposure(endpoint))
        if manifest["kind"] not in outline.seen.unknown_kinds
    ]
    return [with_applied_hash(manifest) for manifest in manifests]


def _stored_data(outline: Outline, number: int) -> Mapping[str, Any] | None:
    name = names.revision_name(outline.endpoint.name, number)
    stored = outline.seen.objects.get(ObjectRef(api_version="apps/v1", kind="ControllerRevision", name=name))
    return stored["data"] if stored else None


def _changes(manifests: list[dict[str, Any]], seen: Observation) -> list[Apply]:
    changes = []
    for manifest in manifests:
        live = seen.objects.get(ObjectRef.of(manifest))
        if live is None or differs(manifest, live):
            changes.append(Apply(manifest=manifest, uid=live["metadata"]["uid"] if live else None))
    return changes


def _missing_replays(outline: Outline) -> list[Apply]:
    """Create the runs that replay gates have just asked for, each once: a BatchPrediction's spec can't be changed.

    One that is in the stored status and is not there any more was deleted by somebody.
    """
    endpoint, course, before = outline.endpoint, outline.course, outline.endpoint.status.rollout
    if course.rollout is None or course.candidate is None or course.stable is None:
        return []
    known = {entry.run for entry in before.replays} if before else set()
    gates = {gate.name: gate for gate in endpoint.spec.rollout.gates.replay}
    return [
        Apply(
            manifest=build_replay(
                endpoint,
                gates[entry.gate],
                name=entry.run,
                candidate=outline.records[course.candidate],
                stable=course.stable,
            ),
            uid=None,
        )
        for entry in course.rollout.replays
        if entry.run not in known and entry.run not in outline.seen.replays
    ]


def _unneeded_replays(outline: Outline) -> list[Delete]:
    """Choose the runs of replay gates that nobody waits for. Ended ones stay to be read until the next rollout."""
    course, seen = outline.course, outline.seen
    gates = {gate.name for gate in outline.endpoint.spec.rollout.gates.replay}
    if course.candidate is not None and course.rollout is not None:
        kept = {entry.run for entry in course.rollout.replays}
    else:
        kept = {name for name, run in seen.replays.items() if run.ended and run.gate in gates}
    return [
        Delete(ref=ref, uid=body["metadata"]["uid"])
        for ref, body in sorted(seen.objects.items())
        if ref.kind == names.BATCH_KIND and ref.name not in kept
    ]


def _pokes(outline: Outline) -> list[Poke]:
    """Poke the router pods that do not use the written configuration yet, again and again until they do."""
    config = outline.config
    turn = int(outline.situation.now.timestamp() / POKE_AGAIN.total_seconds())
    value = f"{config_version(outline.documents)}-{turn}"
    return [
        Poke(pod=router.name, annotation=names.ANNOTATION_ROUTER_CONFIG, value=value)
        for router in outline.seen.routers
        if not config.is_used_by(router) and not router.terminating and router.config != value
    ]


def _pokes_for_secrets(outline: Outline) -> list[Poke]:
    """Poke the router pods that lack a Secret which they use: it may be there by now."""
    value = f"mounts-{int(outline.situation.now.timestamp() / POKE_FOR_MODEL.total_seconds())}"
    return [
        Poke(pod=router.name, annotation=names.ANNOTATION_ROUTER_CONFIG, value=value)
        for router in outline.seen.routers
        if router.troubles and outline.config.is_used_by(router) and not router.terminating and router.config != value
    ]


def _pokes_for_models(outline: Outline) -> list[Poke]:
    """Poke the server pods that lack a model: it, or the Secret for its store, may be there by now.

    A kubelet by itself looks at most once a minute for what was missing when it mounted it.
    """
    value = str(int(outline.situation.now.timestamp() / POKE_FOR_MODEL.total_seconds()))
    return [
        Poke(pod=pod.name, annotation=names.ANNOTATION_MODEL_WANTED, value=value)
        for pod in outline.seen.pods
        if pod.report and pod.report.reason in MAY_BE_MOUNTED_LATER and not pod.terminating and pod.poked != value
    ]


def _deletes(outline: Outline) -> list[Delete]:
    names_leaving = {names.revision_name(outline.endpoint.name, number) for number in outline.leaving}
    forgotten = {names.revision_name(outline.endpoint.name, number) for number in _forgotten(outline)}
    return [
        Delete(ref=ref, uid=body["metadata"]["uid"])
        for ref, body in sorted(outline.seen.objects.items())
        if ref.name in (forgotten if ref.kind == "ControllerRevision" else names_leaving)
        and names.LABEL_REVISION in body["metadata"].get("labels", {})
    ]


def _unwanted(manifests: list[dict[str, Any]], seen: Observation) -> list[Delete]:
    """Delete what an endpoint has only as long as its spec asks for it."""
    wanted = {ObjectRef.of(manifest) for manifest in manifests}
    return [
        Delete(ref=ref, uid=body["metadata"]["uid"])
        for ref, body in sorted(seen.objects.items())
        if ref not in wanted and (ref.kind in names.ON_DEMAND_KINDS or _is_for_monitoring(body))
    ]


def _is_for_monitoring(body: Mapping[str, Any]) -> bool:
    return bool(body["metadata"].get("labels", {}).get(names.LABEL_COMPONENT) == names.COMPONENT_MONITOR)


def _forgotten(outline: Outline) -> list[int]:
    """Choose the oldest revisions that nobody will go back to."""
    staying = outline.seen.populated() - outline.leaving
    course, previous = outline.course, previous_revision(outline.course, outline.situation)
    of_arms = [number for arm in outline.arms for number in arm.revisions]
    needed = {course.stable, course.candidate, outline.situation.target, *of_arms, *staying}
    unneeded = [number for number in outline.seen.revisions if number not in needed]
    main = [number for number in unneeded if outline.records[number].template.arm is None]
    kept = sorted(main, key=lambda number: (number == previous, number))
    # Nobody goes back to a variant's; the last one stays, because the next number is counted from it.
    of_others = [number for number in unneeded if number not in main and number != max(outline.records)]
    return [*of_others, *kept[: max(0, len(kept) - outline.endpoint.spec.revision_history_limit)]]


def _status(outline: Outline) -> ModelEndpointStatus:
    endpoint, course = outline.endpoint, outline.course
    forgotten = set(_forgotten(outline))
    selector = selector_labels(endpoint, names.COMPONENT_MODEL_SERVER)
    stable, candidate = _revision_status(outline, course.stable), _revision_status(outline, course.candidate)
    url = _candidate_url(outline)
    monitored = _monitoring_status(outline)
    return ModelEndpointStatus(
        observed_generation=endpoint.generation,
        url=names.endpoint_url(endpoint.name, namespace=endpoint.namespace, tls=endpoint.spec.routing.tls is not None),
        replicas=sum(not pod.terminating for pod in outline.seen.pods if pod.arm is None),
        selector=",".join([*(f"{key}={value}" for key, value in sorted(selector.items())), f"!{names.LABEL_ARM}"]),
        stable=stable,
        candidate=candidate.model_copy(update={"url": url}) if candidate else None,
        variants=[_arm_status(outline, arm) for arm in outline.arms if not arm.is_shadow],
        shadows=[_arm_status(outline, arm) for arm in outline.arms if arm.is_shadow],
        results=outline.results.summary,
        counting=outline.results.counting,
        rollout=course.rollout,
        scale=outline.scale,
        monitoring=monitored,
        routes=outline.routes,
        handled_annotations=dict(course.handled),
        decisions=list(course.decisions),
        rolled_back_to=course.rolled_back_to,
        rejected=[entry for entry in course.rejected if entry.revision not in forgotten],
        history=[past for past in course.history if past.revision not in forgotten],
        conditions=[
            *derive_conditions(
                View(
                    situation=outline.situation,
                    course=course,
                    arms=outline.arms,
                    serving=[revision.revision for revision in (stable, candidate) if revision and revision.weight > 0],
                    routes=outline.routes,
                    scale=outline.scale,
                    deadline=outline.deadline,
                    config=outline.config,
                )
            ),
            *exposure.exposure_conditions(endpoint, outline.seen, now=outline.situation.now),
            *monitoring.monitoring_conditions(endpoint, outline.seen, now=outline.situation.now),
            *drift.drift_conditions(endpoint, monitored.drift if monitored else None, now=outline.situation.now),
        ],
    )


def _monitoring_status(outline: Outline) -> MonitoringStatus | None:
    endpoint, seen, course = outline.endpoint, outline.seen, outline.course
    told = monitoring.monitoring_status(endpoint, seen, now=outline.situation.now)
    revisions = {course.stable, course.candidate, *(number for arm in outline.arms for number in arm.revisions)}
    serving = frozenset(number for number in revisions if number is not None)
    return told and told.model_copy(update={"drift": drift.drift_status(endpoint, seen, revisions=serving)})


def _revision_status(outline: Outline, number: int | None) -> RevisionStatus | None:
    if number is None:
        return None
    record = outline.records.get(number)
    return RevisionStatus(
        revision=number,
        version=record.template.model.version if record else None,
        sha256=record.sha256 if record else None,
        weight=_live_weight(outline, number),
        replicas=outline.replicas.get(number, 0),
        ready_replicas=outline.seen.ready_pods(number),
    )


def _arm_status(outline: Outline, arm: ArmCourse) -> ArmStatus:
    record, story = outline.records[arm.revisions[0]], tell_arm(arm, outline.situation, deadline=outline.deadline)
    return ArmStatus(
        name=arm.arm.name,
        revision=arm.serving,
        next_revision=arm.target if arm.is_moving else None,
        since=arm.since,
        version=record.template.model.version,
        sha256=record.sha256,
        weight=0 if arm.serving is None else _live_weight(outline, arm.serving),
        replicas=sum(outline.replicas[number] for number in arm.revisions),
        ready_replicas=sum(outline.seen.ready_pods(number) for number in arm.revisions),
        message=story.message if story else None,
        results=outline.results.by_arm.get(arm.arm.name),
    )


def _candidate_url(outline: Outline) -> str | None:
    """Name where a candidate can be tried before it has traffic."""
    endpoint, candidate, domain = outline.endpoint, outline.course.candidate, outline.settings.cluster_domain
    if candidate is None:
        return None
    return names.revision_url(endpoint.name, candidate, namespace=endpoint.namespace, domain=domain)


def _live_weight(outline: Outline, number: int) -> int:
    """Name the share that the routers really give; while they change, what it was before."""
    live = outline.seen.live_legs
    if live is not None:
        return next((leg.weight for leg in live if leg.revision == number), 0)
    status = outline.endpoint.status
    before = (part for part in (status.stable, status.candidate, *status.arms) if part and part.revision == number)
    return next((part.weight for part in before), 0)


def _events(outline: Outline, status: ModelEndpointStatus) -> tuple[EventNote, ...]:
    """Tell what happened, and what got stuck."""
    scaled = autoscaling.note_of_change(outline.endpoint.status.scale, outline.scale)
    happened = [
        *outline.course.notes,
        *([scaled] if scaled else []),
        *(note for arm in outline.arms for note in arm.notes),
        *notes_of_removed(outline.situation),
        *exposure.notes_of_exposure(outline.endpoint, outline.seen),
        *monitoring.notes_of_monitoring(outline.endpoint, outline.seen),
        *drift.notes_of_drift(outline.endpoint, status.monitoring.drift if status.monitoring else None),
    ]
    before = outline.endpoint.status
    known = {told.message for told in before.conditions if told.type == "Stalled"}
    known |= {arm.message for arm in before.arms if arm.message} | {note.message for note in happened}
    stories = (tell_arm(arm, outline.situation, deadline=outline.deadline) for arm in outline.arms)
    stuck = {story.message: story.reason for story in stories if story and story.stalled}
    stuck |= {told.message: told.reason for told in status.conditions if told.type == "Stalled"}
    new = [(message, reason) for message, reason in stuck.items() if message not in known]
    return (*happened, *(EventNote(reason=reason, message=message, warning=True) for message, reason in new))


def _look_again_after(outline: Outline) -> timedelta | None:
    now = outline.situation.now
    by_time = (
        outline.wake,
        time_to_look(outline.results, outline.situation),
        autoscaling.time_to_look(outline.endpoint, outline.seen, outline.scale, now=now),
        idling.time_to_look(outline.endpoint, outline.scale, now=now),
        exposure.time_to_look(outline.endpoint, outline.seen),
        monitoring.time_to_look(outline.endpoint, outline.seen, monitoring_version(outline.monitoring), now=now),
    )
    waits = [wait for wait in by_time if wait is not None]
    if outline.routes.live_since is None or _is_loading(outline):
        waits.append(_poll(outline))
    elif outline.seen.populated() - outline.replicas.keys() - outline.leaving:
        waits.append(outline.routes.live_since + outline.settings.drain - outline.situation.now)
    if lagging(outline.seen, outline.config) or any(router.troubles for router in outline.seen.routers):
        waits.append(_poll(outline))
    if stable_is_held(outline.course, outline.situation) and outline.replicas.get(outline.course.stable or 0):
        waits.append(_poll(outline))
    if router_mounts(outline.endpoint.spec.routing):
        waits.append(LOOK_AT_MOUNTS)
    return max(min(waits), timedelta(0)) if waits else None


def _is_loading(outline: Outline) -> bool:
    """Say whether something is awaited that no watch tells of: a share taken up, a model loaded or found bad."""
    rollout = outline.course.rollout
    moving = (Phase.DEPLOYING, Phase.SHIFTING, Phase.PROMOTING)
    waits = rollout is not None and rollout.phase in moving
    waits = waits or any(arm.is_moving or not arm.answers for arm in outline.arms)
    return waits or any(not pod.ready and not pod.terminating for pod in outline.seen.pods)


def _poll(outline: Outline) -> timedelta:
    rollout = outline.course.rollout
    began = [rollout.since] if rollout else []
    began += [arm.since for arm in outline.arms if arm.since]
    began += [outline.scale.waking_since] if outline.scale and outline.scale.waking_since else []
    is_fresh = not began or outline.situation.now - max(began) < FRESH
    return POLL if is_fresh else POLL_LATER
