"""The page of batch prediction knows every reason that the operator and the worker give."""

import ast
import re
from pathlib import Path

from modelendpoint_operator import batch_reconciler
from modelendpoint_operator.api.batch_status import BatchConditionType, Phase
from modelendpoint_operator.batch import conditions, failures, machine, planner, schedule
from modelendpoint_server.batch import errors

PAGE = (Path(__file__).parents[2] / "docs/batch.md").read_text()
GIVEN_BY = ("Failure", "Story", "plan_stop", "_stop")


def reasons_in(module_path: str | None) -> set[str]:
    """Collect the reasons that a module gives to conditions."""
    assert module_path
    tree = ast.parse(Path(module_path).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    given = [call for call in calls if ast.unparse(call.func).rpartition(".")[2] in GIVEN_BY]
    texts = [
        node
        for call in given
        for value in (*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "reason"))
        for node in ast.walk(value)
    ]
    return {node.value for node in texts if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_reason_of_the_operator_is_explained() -> None:
    modules = (machine, failures, conditions, schedule, planner, batch_reconciler)
    reasons = {reason for module in modules for reason in reasons_in(module.__file__)}
    assert {"EndpointNotFound", "DeadlineExceeded", "InvalidSchedule", "NameConflict", "Scheduled"} <= reasons
    explained = set(re.findall(r"`(\w+)`", PAGE.split("| Reason |")[1].split("All other reasons")[0]))
    assert reasons | {phase for phase in Phase if phase is not Phase.FAILED} <= explained


def test_every_reason_of_the_worker_is_named() -> None:
    reasons = {
        kind.__name__ for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    own = {reason for reason in reasons if f"`{reason}`" in PAGE}
    assert own >= reasons - {"Passing", "Permanent", "BatchError", "InvalidBatch", "Incomplete", "Stopped"}


def test_every_condition_is_explained() -> None:
    table = PAGE.split("| Condition |")[1].split("The reason of")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(BatchConditionType)
