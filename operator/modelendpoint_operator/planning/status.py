"""The status that follows from an outline. Conditions are derived where they are at home."""

from modelendpoint_operator import drift, exposure, monitoring, names
from modelendpoint_operator.api.status import ArmStatus, ModelEndpointStatus, MonitoringStatus, RevisionStatus
from modelendpoint_operator.conditions import View, derive_conditions, tell_arm
from modelendpoint_operator.manifests.metadata import selector_labels
from modelendpoint_operator.planning.outline import Outline, forgotten_revisions
from modelendpoint_operator.rollout.arms import ArmCourse


def make_status(outline: Outline) -> ModelEndpointStatus:
    """Write down what is true now, and all that the next pass needs to remember."""
    endpoint, course = outline.endpoint, outline.course
    forgotten = set(forgotten_revisions(outline))
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
