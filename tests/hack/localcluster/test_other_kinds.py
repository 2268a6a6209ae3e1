"""Clusters of the kinds `kind` and `current`: which commands they give, and what they never touch."""

import os
from pathlib import Path

import pytest

from localcluster.commands import ClusterError
from localcluster.current_cluster import CurrentCluster
from localcluster.folders import Cache
from localcluster.kind_cluster import KindCluster

RECORDER = """#!/bin/sh
echo "$(basename "$0") $*" >> "{log}"
case "$*" in
  "get clusters") cat "{there}" ;;
  *"config view"*) echo "a kubeconfig" ;;
  *"get --raw /readyz"*) [ -e "{folder}/answers" ] || {{ echo "connection refused" >&2; exit 1; }} ;;
esac
"""


class Commands:
    """Stand-ins for kind, docker and kubectl, which write down how they are called."""

    def __init__(self, folder: Path) -> None:
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

    def answer(self) -> None:
        self._answers.touch()

    @property
    def called(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Commands(folder)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_kind_makes_a_cluster_with_a_name_and_a_kubeconfig_of_its_own(commands: Commands, cache: Cache) -> None:
    cluster = KindCluster("demo", cache)
    cluster.up()
    made = f"kind create cluster --wait=120s --name=modelendpoint-demo --kubeconfig={cluster.kubeconfig}"
    assert commands.called == ["kind get clusters", made]


def test_a_kind_cluster_that_is_there_and_answers_is_left_as_it_is(commands: Commands, cache: Cache) -> None:
    commands.have_cluster("modelendpoint-demo")
    KindCluster("demo", cache).up()
    assert not any("create" in line or "delete" in line for line in commands.called)


def test_every_kind_command_names_our_cluster_and_never_the_users_kubeconfig(commands: Commands, cache: Cache) -> None:
    commands.have_cluster("modelendpoint-demo")
    KindCluster("demo", cache).down()
    changing = [line for line in commands.called if line.startswith("kind") and line != "kind get clusters"]
    assert changing
    assert all("--name=modelendpoint-demo" in line for line in changing)
    assert all("--kubeconfig=" in line for line in changing if "delete" in line)


def test_taking_down_a_kind_cluster_that_is_not_there_deletes_nothing(commands: Commands, cache: Cache) -> None:
    KindCluster("demo", cache).down()
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
