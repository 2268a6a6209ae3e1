"""From what was seen to what shall be written: the operator's one decision, as a table of contents.

Two rules keep every request answered, whatever the rollout machine wants next:

* what may still get traffic stays as it is: nothing is scaled down or deleted before every router pod uses routes
  without it, and its requests in flight had time to end;
* children first, status last: after a crash in between, the same pass is planned again.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.conditions import stalled_conditions
from modelendpoint_operator.manifests.autoscaler import build_autoscaler
from modelendpoint_operator.manifests.difference import differs, with_applied_hash
from modelendpoint_operator.manifests.exposure import build_exposure
from modelendpoint_operator.manifests.model_server import build_model_server, build_revision_record
from modelendpoint_operator.manifests.monitor import build_monitor, build_monitoring_config
from modelendpoint_operator.manifests.replay import build_replay
from modelendpoint_operator.manifests.router import build_router
from modelendpoint_operator.observation import ObjectRef, Observation
from modelendpoint_operator.plan import Apply, Delete, EventNote, Plan
from modelendpoint_operator.planning.events import make_events
from modelendpoint_operator.planning.looks import look_again_after
from modelendpoint_operator.planning.outline import Outline, forgotten_revisions, make_outline
from modelendpoint_operator.planning.pokes import make_pokes
from modelendpoint_operator.planning.status import make_status
from modelendpoint_operator.settings import Settings


def make_plan(endpoint: ModelEndpoint, seen: Observation, settings: Settings, *, now: datetime) -> Plan:
    """Plan one pass. The same input gives the same plan."""
    outline = make_outline(endpoint, seen, settings, now=now)
    manifests = _manifests(outline)
    status = make_status(outline)
    changed = status != endpoint.status
    return Plan(
        applies=(*_changes(manifests, seen), *_missing_replays(outline)),
        pokes=make_pokes(outline),
        deletes=(*_deletes(outline), *_unwanted(manifests, seen), *_unneeded_replays(outline)),
        events=make_events(outline, status) if changed else (),
        status=status if changed else None,
        look_again_after=look_again_after(outline),
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


def _deletes(outline: Outline) -> list[Delete]:
    names_leaving = {names.revision_name(outline.endpoint.name, number) for number in outline.leaving}
    forgotten = {names.revision_name(outline.endpoint.name, number) for number in forgotten_revisions(outline)}
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
