"""What shall be, worked out before it is compared with what is: revisions, shares, pods, the routers' files. Pure.

Nothing is written here, and nobody is told.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from modelendpoint_operator import autoscaling, idling, names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.revision import RevisionTemplate
from modelendpoint_operator.api.status import RoutesStatus, ScaleStatus
from modelendpoint_operator.manifests.envoy import build_documents, config_version
from modelendpoint_operator.manifests.monitor import monitoring_config
from modelendpoint_operator.manifests.routes import route_version
from modelendpoint_operator.manifests.xds import Document
from modelendpoint_operator.observation import Leg, Observation, RevisionRecord
from modelendpoint_operator.rollout.arms import ArmCourse, advance_arms, arm_legs, arm_replicas
from modelendpoint_operator.rollout.course import Course, Situation, previous_revision
from modelendpoint_operator.rollout.machine import advance
from modelendpoint_operator.rollout.results import Results, measure_arms
from modelendpoint_operator.rollout.waking import time_to_wake
from modelendpoint_operator.rollout.weights import wanted_legs, wanted_replicas
from modelendpoint_operator.router_story import RouterConfig
from modelendpoint_operator.settings import Settings


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


def make_outline(endpoint: ModelEndpoint, seen: Observation, settings: Settings, *, now: datetime) -> Outline:
    """Work out what shall be: how many pods, then who gets which share, then what the routers are told of that."""
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


def forgotten_revisions(outline: Outline) -> list[int]:
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
