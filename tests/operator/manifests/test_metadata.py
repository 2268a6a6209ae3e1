"""What every child of an endpoint carries."""

from typing import Any

from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.manifests.metadata import build_metadata, selector_labels


def an_endpoint(**metadata: Any) -> ModelEndpoint:
    return ModelEndpoint.from_body(
        {
            "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "generation": 1, **metadata},
            "spec": {"model": {"uri": "s3://models/churn.onnx"}},
        }
    )


def test_a_child_of_a_revision_carries_identity_labels_and_its_owner() -> None:
    metadata = build_metadata(an_endpoint(), name="churn-r7", component="model-server", revision=7)

    assert metadata == {
        "name": "churn-r7",
        "namespace": "shop",
        "labels": {
            "app.kubernetes.io/name": "modelendpoint",
            "app.kubernetes.io/instance": "churn",
            "app.kubernetes.io/component": "model-server",
            "app.kubernetes.io/managed-by": "modelendpoint-operator",
            "modelendpoint.dev/endpoint": "churn",
            "modelendpoint.dev/revision": "7",
        },
        "ownerReferences": [
            {
                "apiVersion": "modelendpoint.dev/v1alpha1",
                "kind": "ModelEndpoint",
                "name": "churn",
                "uid": "u-1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def test_labels_and_annotations_of_the_parent_are_never_copied() -> None:
    endpoint = an_endpoint(
        labels={"argocd.argoproj.io/instance": "shop"},
        annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        ownerReferences=[{"kind": "Application", "name": "shop", "uid": "u-0"}],
    )

    metadata = build_metadata(endpoint, name="churn-router", component="router", annotations={"a": "b"})

    assert metadata["annotations"] == {"a": "b"}
    assert "argocd.argoproj.io/instance" not in metadata["labels"]
    assert [owner["uid"] for owner in metadata["ownerReferences"]] == ["u-1"]


def test_selectors_are_a_part_of_the_labels_and_never_change_with_the_release() -> None:
    endpoint = an_endpoint()
    selector = selector_labels(endpoint, "model-server", 7)

    assert selector == {
        "modelendpoint.dev/endpoint": "churn",
        "app.kubernetes.io/component": "model-server",
        "modelendpoint.dev/revision": "7",
    }
    labels = build_metadata(endpoint, name="churn-r7", component="model-server", revision=7)["labels"]
    assert selector.items() <= labels.items()


def test_the_router_has_no_revision() -> None:
    assert "modelendpoint.dev/revision" not in selector_labels(an_endpoint(), "router")
