"""Metadata that all children of an endpoint have in common: name, labels, owner. Specs must not be here."""

from collections.abc import Mapping
from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.endpoint import ModelEndpoint


def build_metadata(
    endpoint: ModelEndpoint,
    *,
    name: str,
    component: str,
    revision: int | None = None,
    arm: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Build the metadata of one child.

    Nothing is copied from the parent's own labels and annotations: they belong to the user's tools (Argo CD, Helm),
    which would take a child that carries them for an object of their own.
    """
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": endpoint.namespace,
        "labels": build_labels(endpoint, component, revision=revision, arm=arm),
        "ownerReferences": [build_owner_reference(endpoint)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata


def build_labels(
    endpoint: ModelEndpoint, component: str, *, revision: int | None = None, arm: str | None = None
) -> dict[str, str]:
    """Build all labels of a child, and of the pods of a child."""
    return {
        names.LABEL_NAME: names.APP_NAME,
        names.LABEL_INSTANCE: endpoint.name,
        names.LABEL_MANAGED_BY: names.FIELD_MANAGER,
        **selector_labels(endpoint, component, revision),
        **({names.LABEL_ARM: arm} if arm else {}),
    }


def selector_labels(endpoint: ModelEndpoint, component: str, revision: int | None = None) -> dict[str, str]:
    """Name the labels that select pods.

    A Deployment's selector can never be changed, so these are only labels of our own whose values never change.
    """
    labels = {names.LABEL_ENDPOINT: endpoint.name, names.LABEL_COMPONENT: component}
    if revision is not None:
        labels[names.LABEL_REVISION] = str(revision)
    return labels


def build_owner_reference(endpoint: ModelEndpoint) -> dict[str, Any]:
    """Build the reference by which Kubernetes deletes the child together with its endpoint."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": endpoint.name,
        "uid": endpoint.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
