"""The real cluster, and a namespace of its own for every test."""

import os
import secrets
from collections.abc import Iterator

import pytest

from support.cluster import Cluster, bring_up, find
from support.installation import install


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here ``cluster``, so that ``-m "not cluster"`` leaves it out."""
    for item in items:
        if item.path.is_relative_to(os.path.dirname(__file__)):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """A running cluster with this checkout's images: ``make test`` has brought it up; by hand, it is done here."""
    name = os.environ.get("TEST_CLUSTER", "test")
    return find(name) if os.environ.get("TEST_CLUSTER_IS_UP") else bring_up(name)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace; deleted afterwards, which takes everything in it along."""
    name = f"t-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> None:
    """The operator of this checkout, at work in the whole cluster."""
    install(cluster)
