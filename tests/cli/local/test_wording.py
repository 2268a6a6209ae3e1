"""Messages of the operator, in the commands of one machine."""

from datetime import UTC, datetime

import pytest

from modelendpoint.local.wording import in_our_commands
from modelendpoint_operator.api.batch import BatchPrediction
from modelendpoint_operator.api.batch_status import Failure, Phase
from modelendpoint_operator.batch.conditions import View, derive_conditions
from modelendpoint_operator.batch.failures import trouble_of
from modelendpoint_operator.batch.machine import Course
from modelendpoint_operator.batch.observation import BatchObservation, Stage, WorkerSeen

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "here"),
    [
        (
            "Wait, or kubectl annotate mep churn -n default --overwrite modelendpoint.dev/promote-full=12",
            "Wait, or mep promote-full churn --revision 12",
        ),
        ("see its log: kubectl logs my-plan-work-2-1-0a1b2c; then", "see its log: mep logs my-plan; then"),
        ("see its log: kubectl logs weekly-plan-0-0a1b2c", "see its log: mep logs weekly"),
        ("Revision 2 serves", "Revision 2 serves"),
    ],
)
def test_commands_are_those_of_this_machine(said: str, here: str) -> None:
    assert in_our_commands(said) == here


def test_what_a_failed_run_says_can_be_typed_here() -> None:
    uri = {"uri": "s3://a/b"}
    metadata = {"name": "weekly", "namespace": "default", "uid": "u", "generation": 1, "creationTimestamp": "2026"}
    batch = BatchPrediction.from_body({"metadata": metadata, "spec": {"model": uri, "input": uri, "output": uri}})
    failure = Failure(reason="InputNotFound", message="Nothing is at s3://a/b.")
    status = batch.status.model_copy(update={"phase": Phase.FAILED, "failure": failure})
    view = View(batch=batch, seen=BatchObservation(), course=Course(status=status), deadline=NOW - NOW, now=NOW)
    message = in_our_commands(derive_conditions(view)[0].message)
    assert message == "Nothing is at s3://a/b. To go on where it stopped: mep retry weekly"


def test_the_log_of_a_worker_is_that_of_its_run() -> None:
    worker = WorkerSeen(name="weekly-work-1-0a1b2c", stage=Stage.WORK, attempt=1, index=1, ended=True, exit_code=137)
    assert in_our_commands(trouble_of(worker).message).endswith("see its log: mep logs weekly")
