"""Conditions, derived last from the new status and what was seen; the only writer of conditions.

Nothing reads a condition to decide anything but its ``lastTransitionTime``. They follow kstatus, so that Helm, Flux,
Argo CD and ``kubectl wait`` are right about an endpoint: Stalled is the only failure; Reconciling and Stalled are
present only while they are true. The reason of Ready tells the whole story in one word, for ``kubectl get``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.status import (
    Condition,
    ConditionType,
    Phase,
    RejectedRevision,
    RolloutStatus,
    RoutesStatus,
    ScaleStatus,
)
from modelendpoint_operator.observation import Observation
from modelendpoint_operator.rollout.arms import ArmCourse
from modelendpoint_operator.rollout.course import Course, Situation
from modelendpoint_operator.rollout.going_back import GATE_FAILED
from modelendpoint_operator.rollout.judging import failure_of
from modelendpoint_operator.rollout.messages import baking_message, failing_message, holding_message, paused_message
from modelendpoint_operator.router_story import RouterConfig, RouterTrouble, find_trouble, lagging, waited_for


@dataclass(frozen=True, kw_only=True)
class Story:
    """What is to be told: one reason, one sentence, and what kind of news it is."""

    reason: str
    message: str
    good: bool = False
    """All is as it was asked for."""
    reconciling: bool = False
    """Work is under way."""
    stalled: bool = False
    """A person or a new spec is needed."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What the conditions are derived from."""

    situation: Situation
    course: Course
    arms: Sequence[ArmCourse]
    """The variants and shadows."""
    serving: Sequence[int]
    """The revisions that the routers send requests to."""
    routes: RoutesStatus
    """The routes that the routers shall use."""
    scale: ScaleStatus | None
    """Where autoscaling stands."""
    deadline: timedelta
    """Time that a candidate's pods have to get ready."""
    config: RouterConfig
    """What the routers shall use."""

    @property
    def trouble(self) -> RouterTrouble | None:
        """What is wrong with the routers."""
        waited = waited_for(self.routes.since, self.situation.now)
        return find_trouble(self.endpoint, self.seen, self.config, waited=waited, deadline=self.deadline)

    @property
    def endpoint(self) -> ModelEndpoint:
        """The endpoint that is told of."""
        return self.situation.endpoint

    @property
    def seen(self) -> Observation:
        """What was seen of it."""
        return self.situation.seen

    @property
    def rests(self) -> bool:
        """Say that no pod answers, and that this is as the spec says: requests wait for one, and not too long yet."""
        if self.situation.asleep:
            return True
        waking = self.scale.waking_since if self.scale else None
        if waking is None or self.course.stable is None or _failure_of(self.seen, self.course.stable):
            return False
        return self.situation.now - waking <= timedelta(seconds=self.endpoint.spec.wake_seconds)


def derive_conditions(view: View) -> list[Condition]:
    """Derive all conditions of an endpoint."""
    return build_conditions(view.endpoint, _tell(view), available=_availability(view), now=view.situation.now)


def build_conditions(endpoint: ModelEndpoint, story: Story, *, available: Story, now: datetime) -> list[Condition]:
    """Write down as conditions whether the spec is true, and whether requests are answered."""
    wanted = [(ConditionType.READY, story.good, story), (ConditionType.AVAILABLE, available.good, available)]
    if story.reconciling:
        wanted.append((ConditionType.RECONCILING, True, story))
    if story.stalled:
        wanted.append((ConditionType.STALLED, True, story))
    return [build_condition(endpoint, kind, holds, told, now=now) for kind, holds, told in wanted]


def tell_arm(course: ArmCourse, situation: Situation, *, deadline: timedelta) -> Story | None:
    """Tell what a variant or shadow waits for, or what is wrong with it; None when it is as the spec says."""
    seen, number = situation.seen, course.target
    if situation.suspended:
        return None
    failed = _failure_of(seen, number)
    if failed is not None:
        return replace(failed, message=f"{course.called}, revision {number}: {failed.message}")
    ready = seen.ready_pods(number)
    if not course.is_moving and course.answers and ready >= course.arm.replicas:
        return None
    rest = "" if course.answers or course.is_shadow else "; the main model takes its requests"
    message = f"{course.called}, revision {number}: {_waiting_for(seen, number)}{rest}"
    if course.since is not None and situation.now - course.since > deadline:
        message = f"{message}; that takes longer than {int(deadline.total_seconds())} s"
        return Story(reason="ProgressDeadlineExceeded", message=message, stalled=True)
    return Story(reason="Deploying" if course.is_moving else "PodsNotReady", message=message, reconciling=True)


def stalled_conditions(endpoint: ModelEndpoint, reason: str, message: str, *, now: datetime) -> list[Condition]:
    """Report something that stops all work on an endpoint; what is said about availability stays as it was."""
    story = Story(reason=reason, message=message, stalled=True)
    rest = [told for told in endpoint.status.conditions if told.type == ConditionType.AVAILABLE]
    return [
        build_condition(endpoint, ConditionType.READY, False, story, now=now),
        *rest,
        build_condition(endpoint, ConditionType.STALLED, True, story, now=now),
    ]


def build_condition(
    endpoint: ModelEndpoint, kind: ConditionType, holds: bool, story: Story, *, now: datetime
) -> Condition:
    """Write down whether something holds; the time of its last change stays while it does."""
    status = "True" if holds else "False"
    before = next((told for told in endpoint.status.conditions if told.type == kind and told.status == status), None)
    return Condition(
        type=kind,
        status=status,
        reason=story.reason,
        message=story.message,
        last_transition_time=before.last_transition_time if before else now.replace(microsecond=0),
        observed_generation=endpoint.generation,
    )


def _tell(view: View) -> Story:
    """Tell of the routers, of the main model, and when all is well of the variants: first of one that is stuck."""
    trouble = view.trouble
    if trouble is not None:
        return Story(reason=trouble.reason, message=trouble.message, stalled=True)
    main = _tell_main(view)
    told = (tell_arm(arm, view.situation, deadline=view.deadline) for arm in view.arms)
    stories = sorted((story for story in told if story), key=lambda story: not story.stalled)
    return stories[0] if main.good and stories else main


def _tell_main(view: View) -> Story:
    endpoint, course = view.endpoint, view.course
    rejected = next((entry for entry in course.rejected if entry.revision == view.situation.target), None)
    if rejected is not None:
        return _tell_rejected(view, rejected)
    if course.candidate is not None and endpoint.spec.replicas > 0:
        return _tell_rollout(view)
    if endpoint.spec.replicas == 0:
        return Story(reason="Suspended", message="spec.replicas is 0: requests are answered 503")
    return _tell_steady(view)


def _tell_rejected(view: View, rejected: RejectedRevision) -> Story:
    back = view.course.candidate if view.course.is_going_back else None
    failed = None if back is None else _failure_of(view.seen, back)
    trouble = "" if failed is None else f"; revision {back} does not get ready: {failed.message}"
    return Story(reason=rejected.reason, message=rejected.message + trouble, stalled=True)


def _tell_rollout(view: View) -> Story:
    seen, course = view.seen, view.course
    assert course.rollout is not None and course.candidate is not None
    failed = _failure_of(seen, course.candidate)
    if failed is not None:
        return failed
    phase = course.rollout.phase
    if phase is Phase.PAUSED or course.rollout.held_by is not None:
        return _tell_paused(view)
    if phase is Phase.HOLDING:
        return Story(reason="RollingOut", message=holding_message(course, view.situation), reconciling=True)
    return _tell_waiting(view, course.rollout, candidate=course.candidate)


def _tell_paused(view: View) -> Story:
    message = paused_message(view.course, view.situation)
    failed = failure_of(view.course)
    rollout = view.course.rollout
    if failed is not None and rollout is not None and rollout.held_by == failed.gate:
        return Story(reason=GATE_FAILED, message=message, stalled=True)
    return Story(reason="Paused", message=message, reconciling=True)


def _tell_waiting(view: View, rollout: RolloutStatus, *, candidate: int) -> Story:
    waiting = _waiting_for(view.seen, candidate)
    if view.situation.now - rollout.since > view.deadline:
        message = f"Revision {candidate} is not ready after {int(view.deadline.total_seconds())} s: {waiting}"
        return Story(reason="ProgressDeadlineExceeded", message=message, stalled=True)
    if rollout.phase is Phase.DEPLOYING:
        return Story(reason="Deploying", message=f"Revision {candidate}: {waiting}", reconciling=True)
    reason = "Promoting" if rollout.phase is Phase.PROMOTING else "RollingOut"
    return Story(reason=reason, message=f"Revision {candidate} gets more traffic: {waiting}", reconciling=True)


def _failure_of(seen: Observation, revision: int) -> Story | None:
    """Tell what a pod of a revision reports to be wrong with the model; of several pods the first by name."""
    failed = next((report for report in seen.reports(revision) if report.state == "Failed"), None)
    if failed is None:
        return None
    message = failed.message or f"The model can't be served; see the log of the pods of revision {revision}"
    return Story(reason=failed.reason or "ModelFailed", message=message, stalled=True)


def _waiting_for(seen: Observation, revision: int) -> str:
    pods = [pod for pod in seen.pods if pod.revision == revision and not pod.terminating]
    trouble = sorted({pod.trouble for pod in pods if pod.trouble})
    if trouble:
        return f"a pod does not run: {trouble[0]}"
    ready = seen.ready_pods(revision)
    if ready < len(pods) or not pods:
        states = sorted({pod.report.state for pod in pods if pod.report and not pod.ready})
        doing = f" ({', '.join(states).lower()} the model)" if states else ""
        return f"{ready} of {len(pods)} pods ready{doing}"
    if not seen.routers:
        return "no router pod is ready"
    return "the router is taking it up"


def _tell_steady(view: View) -> Story:
    if view.situation.asleep:
        message = "No pod runs, because no request came for a while; the next one starts a pod, and waits for it"
        return Story(reason="Idle", message=message, good=True)
    story = _tell_awake(view)
    if story.stalled or not view.rests:
        return story
    assert view.course.stable is not None
    message = f"Requests wait for a pod of revision {view.course.stable}: {_waiting_for(view.seen, view.course.stable)}"
    return Story(reason="Waking", message=message, good=True)


def _tell_awake(view: View) -> Story:
    seen, course = view.seen, view.course
    if course.stable is None:
        return Story(reason="Deploying", message="The first revision is being deployed", reconciling=True)
    failed = _failure_of(seen, course.stable)
    if failed is not None:
        return failed
    if course.rollout is not None and course.rollout.held_by is not None:
        return Story(reason=GATE_FAILED, message=failing_message(course, view.situation), stalled=True)
    ready, wanted = seen.ready_pods(course.stable), view.situation.replicas
    lacking = f"has {ready} of {wanted} pods ready: {_waiting_for(seen, course.stable)}" if ready < wanted else ""
    if ready < view.situation.least_replicas:
        return Story(reason="PodsNotReady", message=f"Revision {course.stable} {lacking}", reconciling=True)
    if view.routes.live_since is None:
        return Story(reason="Routing", message=_routing_message(seen, view.routes.version), reconciling=True)
    if behind := lagging(seen, view.config):
        message = f"Waiting for router pods to take requests as spec.routing says: {', '.join(behind)}"
        return Story(reason="Routing", message=message, reconciling=True)
    if course.is_baking:
        return Story(reason="Baking", message=baking_message(course, view.situation), good=True)
    traffic = "all traffic that the variants leave" if view.endpoint.spec.variants else "all traffic"
    growing = f"; it {lacking}" if lacking else ""
    return Story(reason="Serving", message=f"Revision {course.stable} serves {traffic}{growing}", good=True)


def _routing_message(seen: Observation, version: str) -> str:
    if not seen.routers:
        return "No router pod is ready"
    behind = sorted(router.name for router in seen.routers if router.route_version != version)
    return f"Waiting for router pods to take up the routes: {', '.join(behind)}" if behind else "Traffic is moving"


def _availability(view: View) -> Story:
    routers = [router for router in view.seen.routers if not router.terminating]
    if view.endpoint.spec.replicas == 0:
        return Story(reason="Suspended", message="spec.replicas is 0")
    if not routers:
        return Story(reason="NoRouter", message="No router pod is ready")
    if (trouble := view.trouble) is not None and trouble.closed:
        return Story(reason=trouble.reason, message=trouble.message)
    if not view.serving:
        return Story(reason="NoRevisionReady", message="No revision has traffic yet")
    if view.rests:
        reason = "Idle" if view.situation.asleep else "Waking"
        return Story(reason=reason, message="Requests wait for a pod", good=True)
    without = [str(revision) for revision in view.serving if view.seen.ready_pods(revision) == 0]
    if without:
        return Story(reason="NoPodReady", message=f"Revision {', '.join(without)} has no ready pod")
    return Story(reason="Serving", message="Requests are answered", good=True)
