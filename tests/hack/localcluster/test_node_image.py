"""What a node image for kind is packed from: containerd's configuration, libraries, the runtime for a limited root."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from localcluster.components import NodeSettings
from localcluster.docker_host import CAP_SYS_RESOURCE, WRAPPER, build_dockerd, lacks_capability
from localcluster.folders import ClusterFolder
from localcluster.node_image import parse_libraries, set_containerd_up

OF_KIND = """\
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  base_runtime_spec = "/etc/containerd/cri-base.json"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "an.image/pause:3.10"
  restrict_oom_score_adj = false
"""
LDD = """\
/usr/sbin/xtables-nft-multi:
\tlinux-vdso.so.1 (0x00007ffd4b5f2000)
\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f6d3c000000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f6d3bc00000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f6d3c1a5000)
/usr/bin/bash:
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f6d3bc00000)
"""


def test_containerd_in_a_node_takes_our_pause_image_and_needs_no_right_that_root_may_lack() -> None:
    text = set_containerd_up(OF_KIND, "a.registry/pause:3.10.1")
    assert 'sandbox_image = "a.registry/pause:3.10.1"' in text
    assert "restrict_oom_score_adj = true" in text
    assert "base_runtime_spec" not in text
    assert 'runtime_type = "io.containerd.runc.v2"' in text


def test_the_libraries_of_programs_are_found_once_each_and_with_the_loader() -> None:
    assert parse_libraries(LDD) == [
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib/x86_64-linux-gnu/libmnl.so.0",
        "/lib64/ld-linux-x86-64.so.2",
    ]


@pytest.mark.parametrize(("bounding", "lacks"), [("000001ffffffffff", False), ("000001fffeffffff", True)])
def test_a_capability_out_of_reach_is_seen(bounding: str, lacks: bool) -> None:
    assert lacks_capability(f"Name:\tpython\nCapBnd:\t{bounding}\n", CAP_SYS_RESOURCE) is lacks


@pytest.mark.parametrize("is_limited", [True, False])
def test_a_docker_of_our_own_keeps_everything_in_the_clusters_folder(is_limited: bool, tmp_path: Path) -> None:
    folder = ClusterFolder(tmp_path / "demo")
    command = build_dockerd(folder, NodeSettings(name="demo", port=4711), is_limited=is_limited).command
    assert f"--host=unix://{folder.docker_socket}" in command
    assert f"--data-root={folder.var_lib}/docker" in command
    assert "--cgroup-parent=/modelendpoint-4711" in command
    assert ("--default-runtime=limited" in command) is is_limited


def run_wrapper(tmp_path: Path, *arguments: str) -> str:
    """Run the wrapper where `runc` only prints what it is asked."""
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\necho "$@"\n')
    runc.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([WRAPPER, *arguments], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def process() -> dict[str, object]:
    kinds = ("bounding", "effective", "permitted")
    return {"oomScoreAdj": -500, "capabilities": {kind: ["CAP_KILL", "CAP_SYS_RESOURCE"] for kind in kinds}}


LIMITED = {"capabilities": {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")}}


def test_the_limited_runtime_takes_a_container_what_root_can_not_give(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"process": process(), "hostname": "node"}))
    asked = ("--root", "/run/x", "create", "--bundle", str(tmp_path), "the-container")
    assert run_wrapper(tmp_path, *asked) == " ".join(asked)
    assert json.loads((tmp_path / "config.json").read_text()) == {"process": LIMITED, "hostname": "node"}


def test_the_limited_runtime_does_so_for_commands_in_a_container(tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    file.write_text(json.dumps(process()))
    run_wrapper(tmp_path, "exec", "--process", str(file), "the-container")
    assert json.loads(file.read_text()) == LIMITED


def test_the_limited_runtime_lets_everything_else_through(tmp_path: Path) -> None:
    assert run_wrapper(tmp_path, "kill", "the-container", "9") == "kill the-container 9"
