"""What a pass does when it can't do what it planned. (Good passes are told in ``test_story.py``.)"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from modelendpoint_operator.errors import ClusterUnavailable, OperatorError
from modelendpoint_operator.handlers.keys import Key
from modelendpoint_operator.handlers.workers import Workers
from modelendpoint_operator.names import KIND
from modelendpoint_operator.plan import Plan
from modelendpoint_operator.reconciler import LOOK_AGAIN_AT_STOPPED, Reconciler
from modelendpoint_operator.telemetry import Telemetry
from modelendpoint_operator.workqueue import WorkQueue
from support.world import NAME, NAMESPACE, World, model_of


@pytest.fixture
def world() -> World:
    return World({"model": model_of("1")})


def test_an_endpoint_that_is_gone_needs_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "find", lambda namespace, name: None)

    assert world.reconciler.reconcile(NAMESPACE, NAME) is None
    assert world.writes == 0


def test_a_pass_returns_what_it_wrote(world: World) -> None:
    plan = world.reconciler.reconcile(NAMESPACE, NAME)

    assert plan is not None and plan.status is not None
    assert len(plan.applies) == len(world.objects)
    assert [note.reason for note in plan.events] == ["RolloutStarted"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda world: world.put_foreign("Service", "churn"), "NameConflict"),
        (lambda world: world.refused.update({"Deployment": "quota"}), "WriteRefused"),
        (lambda world: world.edit(model={"uri": 5}), "InvalidSpec"),
    ],
    ids=["foreign object", "refused object", "bad spec"],
)
def test_what_stops_the_work_is_told_once_and_looked_at_again(
    world: World, spoil: Callable[[World], Any], reason: str
) -> None:
    spoil(world)
    first = world.reconciler.reconcile(NAMESPACE, NAME)
    again = world.reconciler.reconcile(NAMESPACE, NAME)

    assert first is not None and again is not None
    assert [note.reason for note in first.events] == [reason]
    assert (again.events, again.status) == ((), None)
    assert first.look_again_after == again.look_again_after == LOOK_AGAIN_AT_STOPPED
    assert (world.reason(), world.condition("Stalled") is not None) == (reason, True)


def test_a_bad_spec_names_the_field_and_the_next_step(world: World) -> None:
    world.edit(rollout={"steps": [{"weight": 200}]})
    world.reconcile()

    message = world.condition("Stalled")["message"]  # type: ignore[index]
    assert message.startswith("spec.rollout.steps.0.weight: ")
    assert message.endswith("; correct it and apply again")


def test_what_was_available_stays_so_when_the_work_stops(world: World) -> None:
    world.settle()
    world.edit(replicas="many")
    world.settle()

    assert world.condition("Available")["status"] == "True"  # type: ignore[index]
    assert world.condition("Ready")["status"] == "False"  # type: ignore[index]


class Unavailable(World):
    """A world whose API server is down as often as a test says."""

    failures = 0

    def find(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        if self.failures > 0:
            self.failures -= 1
            raise ClusterUnavailable("connection refused")
        return super().find(namespace, name)


class LastPass(Reconciler):
    """Closes the queue after a number of passes, so that a worker comes to its end."""

    def __init__(self, world: World, queue: WorkQueue[Key], *, passes: int) -> None:
        super().__init__(world, world.settings, clock=lambda: world.now)
        self.queue, self.passes = queue, passes

    def reconcile(self, namespace: str, name: str) -> Plan | None:
        self.passes -= 1
        if self.passes == 0:
            self.queue.close()
        return super().reconcile(namespace, name)


@pytest.mark.parametrize("error", [ClusterUnavailable("connection refused"), KeyError("a bug")])
def test_a_worker_outlives_every_error_and_tries_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    world = Unavailable({"model": model_of("1")})
    world.failures = 2
    if not isinstance(error, OperatorError):
        find = world.find

        def fail(namespace: str, name: str) -> Any:
            try:
                return find(namespace, name)
            except ClusterUnavailable:
                raise error from None

        monkeypatch.setattr(world, "find", fail)
    queue: WorkQueue[Key] = WorkQueue()
    telemetry = Telemetry()
    workers = Workers(queue, {KIND: LastPass(world, queue, passes=3)}, telemetry, count=1)
    queue.add(Key(KIND, NAMESPACE, NAME))
    workers.start()
    workers.join(timeout=30)

    kind = type(error).__name__
    assert telemetry.registry.get_sample_value("modelendpoint_reconcile_errors_total", {"kind": kind}) == 2
    assert world.kept("Deployment") == {"churn-r1", "churn-router"}
