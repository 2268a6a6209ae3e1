"""What is read of this machine: control groups, processes, certificates."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from localcluster import cgroups
from localcluster.certificates import Identity, make_certificates, read_kubeconfig
from localcluster.processes import Process, observe_process

HYBRID = """tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
proc /proc proc rw 0 0
"""


def test_control_groups_of_both_versions_are_found() -> None:
    found = cgroups.find_hierarchies(HYBRID)
    assert found == [Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/unified")]


def test_a_folder_of_version_1_gets_the_processors_and_memory_of_its_parent(tmp_path: Path) -> None:
    (tmp_path / "cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset.mems").write_text("0\n")
    cgroups.make("pods", [tmp_path])
    assert (tmp_path / "pods" / "cpuset.cpus").read_text() == "0-1\n"


def test_a_folder_of_version_2_gets_all_controllers(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    cgroups.make("pods", [tmp_path])
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_a_folder_and_all_below_it_is_removed_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "pods" / "burstable" / "pod1").mkdir(parents=True)
    (tmp_path / "user").mkdir()
    cgroups.remove("pods", [tmp_path, tmp_path / "not there"])
    assert [path.name for path in tmp_path.iterdir()] == ["user"]


def test_a_process_is_known_by_number_and_start() -> None:
    this = observe_process(os.getpid())
    assert this.is_alive()
    assert not Process(this.pid, this.started + 1).is_alive()
    assert Process.from_json(this.to_json()) == this


def test_an_ended_process_is_not_alive_though_its_parent_has_not_looked() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = observe_process(child.pid)
    child.kill()
    process.kill()
    assert not process.is_alive()
    child.wait()


IDENTITIES = (
    Identity(file="apiserver", user="kube-apiserver", alternative_names=("DNS:kubernetes", "IP:10.96.0.1")),
    Identity(file="admin", user="admin", group="system:masters"),
)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "pki"
    make_certificates(folder, IDENTITIES)
    return folder


@pytest.mark.parametrize("name", ["apiserver", "admin"])
def test_certificates_pass_the_strict_checks_that_python_makes_from_3_13_on(pki: Path, name: str) -> None:
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(pki / "ca.crt"), str(pki / f"{name}.crt")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.endswith("OK\n")


def test_certificates_say_who_someone_is_and_where_a_server_is(pki: Path) -> None:
    def show(name: str, *what: str) -> str:
        command = ["openssl", "x509", "-noout", *what, "-in", str(pki / f"{name}.crt")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "O = system:masters, CN = admin" in show("admin", "-subject", "-nameopt", "oneline")
    assert "DNS:kubernetes, IP Address:10.96.0.1" in show("apiserver", "-ext", "subjectAltName")


def test_certificates_are_made_once(pki: Path) -> None:
    before = (pki / "ca.crt").read_bytes()
    make_certificates(pki, IDENTITIES)
    assert (pki / "ca.crt").read_bytes() == before


def test_certificates_are_made_anew_for_others(tmp_path: Path) -> None:
    make_certificates(tmp_path / "pki", IDENTITIES[:1])
    before = (tmp_path / "pki" / "ca.crt").read_bytes()
    make_certificates(tmp_path / "pki", IDENTITIES)
    assert (tmp_path / "pki" / "ca.crt").read_bytes() != before
    assert (tmp_path / "pki" / "admin.crt").exists()


def test_a_kubeconfig_holds_all_that_is_needed(pki: Path) -> None:
    config = json.loads(read_kubeconfig(pki, "admin", server="https://198.18.0.2:6443", name="mine"))
    assert config["current-context"] == "mine"
    assert config["clusters"][0]["cluster"]["server"] == "https://198.18.0.2:6443"
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
