"""The page of the conditions knows every reason that the operator gives, and no other."""

import ast
import re
from pathlib import Path

from modelendpoint_operator import conditions, router_story
from modelendpoint_operator.api.status import ConditionType
from modelendpoint_operator.rollout import going_back

PAGE = (Path(__file__).parents[2] / "docs/reference/conditions.md").read_text()
REASON = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*")
NO_REASONS = {"True", "False", "Failed"}  # statuses of conditions, and a state of the model server


def words_in(module_path: str | None) -> set[str]:
    """Collect the texts of a module that have the form of a reason."""
    assert module_path
    tree = ast.parse(Path(module_path).read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if REASON.fullmatch(text)} - NO_REASONS


def reasons_of_rejections() -> set[str]:
    """Collect the reasons that are kept with rejected revisions, and so end in a condition later."""
    return {value for name, value in vars(going_back).items() if name.isupper() and isinstance(value, str)}


def documented() -> set[str]:
    table = PAGE.split("## Reasons")[1].split("##")[0]
    return set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_every_reason_of_the_operator_is_documented_and_no_other() -> None:
    given = words_in(conditions.__file__) | words_in(router_story.__file__) | reasons_of_rejections()
    assert documented() == given


def test_every_condition_is_documented() -> None:
    assert set(re.findall(r"^\| `(\w+)` \| (?:always|only while)", PAGE, re.MULTILINE)) == set(ConditionType)
