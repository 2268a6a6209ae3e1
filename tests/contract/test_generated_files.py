"""What is generated is current, and what is written by hand around it fits."""

from pathlib import Path

import pytest
import yaml

from generate import ROOT, generated_files, value_descriptions
from modelendpoint_operator.api.batch import BatchPredictionSpec
from modelendpoint_operator.api.spec import ModelEndpointSpec

CRDS = sorted((ROOT / "crds").glob("*.yaml"))
CHART = ROOT / "charts/modelendpoint"


@pytest.mark.parametrize("path", generated_files(), ids=str)
def test_generated_file_is_current(path: Path) -> None:
    assert (ROOT / path).read_text() == generated_files()[path], "run `make generate`"


def test_the_crd_file_is_small_enough_for_a_plain_kubectl_apply() -> None:
    assert len(CRDS) == 2
    assert all(crd.stat().st_size < 200_000 for crd in CRDS)


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


@pytest.mark.parametrize(
    ("page", "model"), [("modelendpoint", ModelEndpointSpec), ("batchprediction", BatchPredictionSpec)]
)
def test_the_object_in_the_reference_page_is_valid(page: str, model: type[ModelEndpointSpec]) -> None:
    text = (ROOT / f"docs/reference/{page}.md").read_text()
    block = text.split("```yaml\n")[1].split("```")[0]
    model.model_validate(yaml.safe_load(block)["spec"])
