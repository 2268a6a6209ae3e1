"""Clusters of the kinds `kind` and `current`: which commands they give, and what they never touch."""

import json
import os
from pathlib import Path

import pytest

from localcluster.cli import main
from localcluster.commands import ClusterError
from localcluster.current_cluster import CurrentCluster
from localcluster.folders import Cache
from localcluster.kind_cluster import KindCluster, build_configuration, parse_version
from localcluster.kinds import open_cluster
from localcluster.node_cluster import NodeCluster

RECORDER = """#!/bin/sh
echo "$(basename "$0") $*" >> "{log}"
case "$*" in
  "get clusters") cat "{there}" ;;
  "create cluster "*) cat "{folder}/created" >> "{there}" ;;
  "export logs "*) echo "no crictl" >&2; exit 126 ;;
  "version") [ ! -e "{folder}/has-no-daemon" ] || {{ echo "a warning" >&2; echo "permission denied on its socket" >&2; exit 1; }}; echo "kind v99.0.0 go1.26.8 linux/amd64" ;;
  "get nodes "*) echo modelendpoint-demo-control-plane; echo modelendpoint-demo-worker ;;
  *"config view"*) echo "a kubeconfig" ;;
  *"get --raw /readyz"*) [ -e "{folder}/answers" ] || {{ echo "connection refused" >&2; exit 1; }} ;;
esac
"""


class Commands:
    """Stand-ins for kind, docker and kubectl, which write down how they are called."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "log"
        self._there = folder / "there"
        self._answers = folder / "answers"
        self._there.write_text("somebodys\n")
        for name in ("kind", "docker", "kubectl"):
            program = folder / name
            program.write_text(RECORDER.format(log=self._log, there=self._there, folder=folder))
            program.chmod(0o755)

    def have_cluster(self, name: str) -> None:
        self._there.write_text(f"somebodys\n{name}\n")

    def become_there_when_created(self, name: str) -> None:
        (self._folder / "created").write_text(f"{name}\n")

    def answer(self) -> None:
        self._answers.touch()

    def have_no_daemon(self) -> None:
        (self._folder / "has-no-daemon").touch()

    @property
    def called(self) -> list[str]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line for line in lines if line not in ("docker version", "kind version")]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Commands(folder)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def kind_cluster(cache: Cache, **environment: str) -> KindCluster:
    return KindCluster("demo", cache, environment)


def test_kind_makes_a_cluster_with_a_name_and_a_kubeconfig_of_its_own(commands: Commands, cache: Cache) -> None:
    cluster = kind_cluster(cache)
    commands.become_there_when_created("modelendpoint-demo")
    cluster.up()
    options = f"--wait=180s --name=modelendpoint-demo --kubeconfig={cluster.kubeconfig}"
    assert f"kind create cluster --config={cluster.folder.root}/kind.json {options}" in commands.called


def test_a_kind_cluster_has_two_nodes_that_both_take_pods() -> None:
    first, second = build_configuration(port=0, image="")["nodes"]
    assert json.loads(first["kubeadmConfigPatches"][0])["nodeRegistration"]["taints"] == []
    assert second == {"role": "worker"}


def test_a_node_image_is_that_of_kinds_release_unless_another_is_named(commands: Commands, cache: Cache) -> None:
    commands.become_there_when_created("modelendpoint-demo")
    cluster = kind_cluster(cache, KIND_IMAGE="kindest/node:v1.30.13")
    cluster.up()
    made = json.loads((cluster.folder.root / "kind.json").read_text())
    assert [node["image"] for node in made["nodes"]] == ["kindest/node:v1.30.13"] * 2
    assert not any("image" in node for node in build_configuration(port=0, image="")["nodes"])


def test_of_kinds_versions_only_the_first_two_numbers_count() -> None:
    assert parse_version("kind v0.33.0-alpha+1 go1.26.8 linux/amd64") == (0, 33)
    assert parse_version("kind: something else") == (0, 0)


def test_a_cluster_is_not_taken_for_one_of_another_kubernetes(commands: Commands, cache: Cache) -> None:
    commands.become_there_when_created("modelendpoint-demo")
    kind_cluster(cache, KIND_IMAGE="kindest/node:v1.30.13").up()
    with pytest.raises(ClusterError, match=r"has the node image kindest/node:v1.30.13, not kindest/node:v1.32.8; take"):
        kind_cluster(cache, KIND_IMAGE="kindest/node:v1.32.8").up()
    kind_cluster(cache).up()
    assert len([line for line in commands.called if "create cluster" in line]) == 1


def test_settings_that_would_be_ignored_are_refused_with_the_right_one(commands: Commands, cache: Cache) -> None:
    with pytest.raises(ClusterError, match=r"KIND_KUBERNETES needs KIND_DOCKER=own; (.|\n)* KIND_IMAGE=kindest"):
        kind_cluster(cache, KIND_KUBERNETES="1.30").up()
    with pytest.raises(ClusterError, match=r"with KIND_DOCKER=own choose a minor by KIND_KUBERNETES"):
        kind_cluster(cache, KIND_DOCKER="own", KIND_IMAGE="kindest/node:v1.30.13").up()
    assert commands.called == []


def test_without_docker_kind_says_what_there_is_instead(commands: Commands, cache: Cache) -> None:
    commands.have_no_daemon()
    with pytest.raises(
        ClusterError,
        match=r"kind needs Docker: permission denied on its socket\n(.|\n)*KIND_DOCKER=own(.|\n)*CLUSTER=node",
    ):
        kind_cluster(cache).up()
    assert commands.called == []


def test_what_was_refused_does_not_bind_the_name_to_a_kind(
    commands: Commands, cache: Cache, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODELENDPOINT_CACHE", str(cache.root))
    commands.have_no_daemon()
    assert main(["up", "--name=demo", "--kind=kind"]) == 1
    assert "CLUSTER=node " in capfd.readouterr().err
    assert isinstance(open_cluster(cache, "demo", "node"), NodeCluster)


def test_a_cluster_keeps_its_kind_when_something_of_it_is_refused(
    commands: Commands, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELENDPOINT_CACHE", str(cache.root))
    commands.become_there_when_created("modelendpoint-demo")
    assert main(["up", "--name=demo", "--kind=kind"]) == 0
    commands.have_no_daemon()
    assert main(["up", "--name=demo", "--kind=kind"]) == 1
    assert isinstance(open_cluster(cache, "demo", None), KindCluster)


def test_taking_down_what_is_not_there_needs_no_docker(commands: Commands, cache: Cache) -> None:
    commands.have_no_daemon()
    kind_cluster(cache).down()
    assert commands.called == []


def test_only_a_node_of_the_cluster_can_be_stopped(commands: Commands, cache: Cache) -> None:
    with pytest.raises(ClusterError, match="no node `somebodys`; it has modelendpoint-demo-control-plane, modelend"):
        kind_cluster(cache).stop_node("somebodys")
    kind_cluster(cache).stop_node("modelendpoint-demo-worker")
    assert [line for line in commands.called if line.startswith("docker")] == ["docker kill modelendpoint-demo-worker"]


def test_a_kind_cluster_that_is_there_and_answers_is_left_as_it_is(commands: Commands, cache: Cache) -> None:
    commands.have_cluster("modelendpoint-demo")
    kind_cluster(cache).up()
    assert not any("create" in line or "delete" in line for line in commands.called)


def test_every_kind_command_names_our_cluster_and_never_the_users_kubeconfig(commands: Commands, cache: Cache) -> None:
    commands.have_cluster("modelendpoint-demo")
    kind_cluster(cache).down()
    changing = [line for line in commands.called if line.startswith("kind") and line != "kind get clusters"]
    assert changing
    assert all("--name=modelendpoint-demo" in line for line in changing)
    assert all("--kubeconfig=" in line for line in changing if "delete" in line)


def test_a_cluster_whose_logs_can_not_be_had_is_deleted_all_the_same(commands: Commands, cache: Cache) -> None:
    commands.have_cluster("modelendpoint-demo")
    kind_cluster(cache).down()
    assert any(line.startswith("kind delete cluster --name=modelendpoint-demo") for line in commands.called)


def test_taking_down_a_kind_cluster_that_is_not_there_deletes_nothing(commands: Commands, cache: Cache) -> None:
    kind_cluster(cache).down()
    assert commands.called == ["kind get clusters"]


def test_the_current_cluster_is_only_read(commands: Commands, cache: Cache) -> None:
    commands.answer()
    cluster = CurrentCluster("demo", cache)
    cluster.up()
    assert cluster.kubeconfig.read_text() == "a kubeconfig\n"
    assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600
    cluster.down()
    assert not cluster.kubeconfig.exists()
    assert [line.split()[1] for line in commands.called if "config view" in line] == ["config"]
    assert all("config view" in line or "get --raw" in line for line in commands.called)


def test_a_current_cluster_that_does_not_answer_is_told(commands: Commands, cache: Cache) -> None:
    with pytest.raises(ClusterError, match=r"does not answer: (.|\n)*connection refused"):
        CurrentCluster("demo", cache).up()
