"""Pinning another Kubernetes: what is derived from its own go.mod, and what is refused."""

from typing import Any

import pytest

from localcluster.binaries import Release, find_version
from localcluster.commands import ClusterError
from localcluster.folders import TOOLS
from localcluster.kubernetes_pin import Pin, build_go_mod

OF_KUBERNETES: dict[str, Any] = {
    "Go": "1.22.0",
    "Require": [
        {"Path": "example.org/library", "Version": "v1.2.3"},
        {"Path": "k8s.io/klog/v2", "Version": "v2.120.1"},
        {"Path": "k8s.io/api", "Version": "v0.0.0"},
        {"Path": "k8s.io/sample-apiserver", "Version": "v0.0.0"},
        {"Path": "k8s.io/utils", "Version": "v0.0.0-20230726121419-3b25d923346b"},
    ],
}


def test_libraries_are_those_that_this_kubernetes_was_released_with() -> None:
    go_mod = build_go_mod(OF_KUBERNETES, "1.30.13")
    assert find_version(go_mod, "k8s.io/kubernetes") == "1.30.13"
    assert find_version(go_mod, "example.org/library") == "1.2.3"
    assert "\tk8s.io/api => k8s.io/api v0.30.13\n" in go_mod
    assert go_mod.count("=>") == 1


def test_modules_that_are_examples_are_left_out() -> None:
    go_mod = build_go_mod(OF_KUBERNETES, "1.30.13")
    assert [line.strip() for line in go_mod.splitlines() if "sample" in line] == ["k8s.io/sample-apiserver v0.0.0"]
    assert "exclude (\n\tk8s.io/sample-apiserver v0.0.0\n)" in go_mod


def test_all_programs_of_a_node_are_tools_of_the_module() -> None:
    go_mod = build_go_mod(OF_KUBERNETES, "1.30.13")
    for name in (*Release().programs.packages, "kubeadm"):
        assert f"\tk8s.io/kubernetes/cmd/{name}\n" in go_mod


@pytest.mark.parametrize(
    ("of_its_time", "default"),
    [({}, "go1.22"), ({"Godebug": [{"Key": "default", "Value": "go1.24"}]}, "go1.24")],
    ids=["by its go line", "as it says"],
)
def test_gos_own_behaviour_is_that_of_its_time(of_its_time: dict[str, Any], default: str) -> None:
    assert f"\ngodebug default={default}\n" in build_go_mod({**OF_KUBERNETES, **of_its_time}, "1.30.13")


def test_a_pin_is_in_a_folder_by_its_minor() -> None:
    assert Pin("1.30.13").folder == TOOLS / "kubernetes-1.30"


@pytest.mark.parametrize("version", ["1.30", "v1.30.13", "1.30.13/../x", "2.0.0"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(ClusterError, match=r"not a version of Kubernetes; write it like 1\.32\.8"):
        Pin(version)


def test_the_usual_kubernetes_is_not_pinned_twice() -> None:
    with pytest.raises(ClusterError, match=r"hack/README\.md says how to change it"):
        Pin(Release().version)
