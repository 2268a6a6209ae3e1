"""What makes two specs the same revision."""

from typing import Any

import pytest

from modelendpoint_operator.api.revision import RevisionTemplate
from modelendpoint_operator.api.spec import ModelEndpointSpec


def a_template(*, server_image: str = "server:1", **spec: Any) -> RevisionTemplate:
    model = {"uri": "s3://models/churn/3/model.onnx", "version": "3"}
    return RevisionTemplate.from_spec(
        ModelEndpointSpec.model_validate({"model": model, **spec}), server_image=server_image
    )


def test_the_key_never_changes() -> None:
    """Another value would roll out every endpoint anew when the operator is upgraded."""
    assert a_template().key == "ced1d709be9fafbc"


def test_a_field_that_is_written_out_at_its_default_is_no_change() -> None:
    default = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}

    assert a_template(server={}).key == a_template(server={"resources": default}).key == a_template().key


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 5},
        {"rollout": {"strategy": "Replace"}},
        {"routing": {"timeoutSeconds": 5}},
        {"revisionHistoryLimit": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_change_the_pods_is_the_same_revision(change: dict[str, Any]) -> None:
    assert a_template(**change).key == a_template().key


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"uri": "s3://models/churn/3/model.onnx", "version": "4"}},
        {"model": {"uri": "s3://models/churn/4/model.onnx", "version": "3"}},
        {"model": {"uri": "s3://models/churn/3/model.onnx", "version": "3", "sha256": "a" * 64}},
        {"model": {"uri": "s3://models/churn/3/model.onnx", "version": "3", "credentialsSecretRef": {"name": "s"}}},
        {"server": {"resources": {"limits": {"memory": "2Gi"}}}},
        {"server_image": "server:2"},
    ],
    ids=["version", "uri", "pin", "credentials", "resources", "image"],
)
def test_what_changes_the_pods_is_another_revision(change: dict[str, Any]) -> None:
    assert a_template(**change).key != a_template().key


def test_a_template_comes_back_from_what_is_stored_of_it() -> None:
    template = a_template(server={"resources": {"limits": {"cpu": 2}}})
    stored = template.model_dump(mode="json", by_alias=True, exclude_none=True)

    assert RevisionTemplate.model_validate(stored) == template
    assert RevisionTemplate.model_validate(stored).key == template.key


def test_two_names_of_a_model_run_alike_but_other_settings_do_not() -> None:
    renamed = a_template(model={"uri": "s3://elsewhere/churn.onnx"})

    assert renamed.runs_alike(a_template())
    assert not a_template(server={"resources": {"limits": {"memory": "2Gi"}}}).runs_alike(a_template())
    assert not a_template(server_image="server:2").runs_alike(a_template())
