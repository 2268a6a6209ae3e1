"""Golden cases: every object of an endpoint's first pass, whole. ``make golden`` rewrites what is expected."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.observation import Observation
from modelendpoint_operator.planner import make_plan
from modelendpoint_operator.settings import Settings
from support.world import EPOCH

CASES = sorted((Path(__file__).parent / "cases").iterdir())
SETTINGS = Settings(server_image="registry.test/server:1", router_image="registry.test/router:1")


def first_pass(case: Path) -> list[dict[str, Any]]:
    """Plan the first pass of a case's endpoint."""
    endpoint = ModelEndpoint.from_body(yaml.safe_load((case / "endpoint.yaml").read_text()))
    plan = make_plan(endpoint, Observation(), SETTINGS, now=EPOCH)
    assert all(write.uid is None for write in plan.applies)
    assert plan.status is not None and not plan.deletes and not plan.pokes
    status = plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [*(dict(write.manifest) for write in plan.applies), {"status": status}]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_first_pass_writes_these_objects(case: Path, request: pytest.FixtureRequest) -> None:
    planned = first_pass(case)
    file = case / "expected.yaml"
    if request.config.getoption("--golden"):
        file.write_text(yaml.safe_dump_all(planned, sort_keys=False, width=120))
    assert planned == list(yaml.safe_load_all(file.read_text()))
