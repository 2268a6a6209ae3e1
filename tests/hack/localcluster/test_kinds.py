"""Which kind of cluster is meant."""

from pathlib import Path

import pytest

from localcluster.commands import ClusterError
from localcluster.folders import Cache
from localcluster.kinds import choose_kind, open_cluster


@pytest.mark.parametrize(
    ("asked", "recorded", "has_docker_and_kind", "chosen"),
    [
        (None, None, False, "node"),
        (None, None, True, "kind"),
        ("node", None, True, "node"),
        ("current", None, False, "current"),
        (None, "current", True, "current"),
        ("node", "node", True, "node"),
    ],
    ids=["neither", "docker and kind", "asked", "only when asked", "as it was made", "asked as it was made"],
)
def test_the_kind_is(asked: str | None, recorded: str | None, has_docker_and_kind: bool, chosen: str) -> None:
    assert choose_kind(asked=asked, recorded=recorded, has_docker_and_kind=has_docker_and_kind) == chosen


def test_a_cluster_keeps_its_kind_until_it_is_taken_down() -> None:
    with pytest.raises(ClusterError, match="leave --kind and CLUSTER out to use it or to take it down"):
        choose_kind(asked="kind", recorded="node", has_docker_and_kind=True)


def test_a_kind_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ClusterError, match="`nodes`; choose one of node, kind, current"):
        choose_kind(asked="nodes", recorded=None, has_docker_and_kind=False)


@pytest.mark.parametrize("name", ["", "../other", "Demo", "a b", "-a", "a-", "x" * 31])
def test_a_name_that_could_not_name_a_host_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="can't be a cluster's name"):
        open_cluster(Cache(tmp_path), name, "node")
