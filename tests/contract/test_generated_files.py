"""What is generated is current, and what is written by hand around it fits."""

from pathlib import Path

import pytest
import yaml

from generate import ROOT, generated_files, value_descriptions
from modelendpoint_operator.api.spec import ModelEndpointSpec

CRD = ROOT / "crds/modelendpoint.dev_modelendpoints.yaml"
CHART = ROOT / "charts/modelendpoint"


@pytest.mark.parametrize("path", generated_files(), ids=str)
def test_generated_file_is_current(path: Path) -> None:
    assert (ROOT / path).read_text() == generated_files()[path], "run `make generate`"


def test_the_crd_file_is_small_enough_for_a_plain_kubectl_apply() -> None:
    assert CRD.stat().st_size < 200_000


def test_every_value_of_the_chart_is_described() -> None:
    text = (CHART / "values.yaml").read_text()
    described = value_descriptions(text)

    def undescribed(values: object, path: str) -> list[str]:
        if path in described:
            return []
        if not isinstance(values, dict) or not values:
            return [path]
        return [
            missing for name, value in values.items() for missing in undescribed(value, f"{path}.{name}".strip("."))
        ]

    assert not undescribed(yaml.safe_load(text), "")


def test_the_endpoint_in_the_reference_page_is_valid() -> None:
    page = (ROOT / "docs/reference/modelendpoint.md").read_text()
    block = page.split("```yaml\n")[1].split("```")[0]
    ModelEndpointSpec.model_validate(yaml.safe_load(block)["spec"])
