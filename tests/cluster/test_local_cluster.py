"""The local cluster itself: a node is a real one, stands beside others, recovers, and leaves nothing behind."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.commands import wait_until
from localcluster.components import KERNEL_SETTINGS
from localcluster.folders import Cache
from localcluster.kinds import Cluster as ClusterOfAnyKind
from localcluster.kinds import open_cluster
from localcluster.node_cluster import NodeCluster
from localcluster.processes import Process
from support.cluster import Cluster, find, run_hack_cluster

BLUE = "test-blue"
SERVER_IMAGE = "ghcr.io/modelendpoint/server:0.1.0"
CACHE = Cache.from_environment(os.environ)
FOLDERS = ("/opt", "/usr/libexec", "/etc/cni", "/run", "/var/run", "/var/lib", "/var/log")
"""Where the parts would leave something on a machine that is a node itself."""


def pause_pod(name: str) -> dict[str, object]:
    container = {"name": "pause", "image": "localhost/pause:1", "imagePullPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


def python_pod(name: str, program: str) -> dict[str, object]:
    container = {"name": "python", "image": SERVER_IMAGE, "command": ["python3", "-c", program]}
    spec = {"containers": [container], "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def look_at_the_machine() -> dict[str, object]:
    """Note all that a node could change. What other work of this machine changes all the time is left out."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    rules = output_of("iptables-save") if Path("/usr/sbin/iptables-save").exists() else ""
    return {
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "routes": output_of("ip", "-4", "route", "show", "table", "all").splitlines(),
        "rules": [line for line in rules.splitlines() if line.startswith("-")],
        "mounts": sorted(line for line in mounts if "/buildah/" not in line),
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("**/modelendpoint-*")),
        "kernel": {name: Path("/proc/sys", name).read_text() for name in KERNEL_SETTINGS},
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "folders": {folder: sorted(os.listdir(folder)) for folder in FOLDERS if Path(folder).is_dir()},
        "kubeconfig": [path.read_bytes() for path in [Path.home() / ".kube" / "config"] if path.exists()],
        "nodes": output_of("pgrep", "--full", "--count", "localcluster|/var/lib/localcluster"),
    }


def the_cluster(name: str) -> ClusterOfAnyKind:
    return open_cluster(CACHE, name, os.environ.get("CLUSTER") or None)


def find_kubelets(name: str) -> list[int]:
    pattern = f"^/var/lib/localcluster/bin/kubelet .*--hostname-override={name}( |$)"
    found = subprocess.run(["pgrep", "--full", pattern], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in found.split()]


@pytest.fixture(scope="module")
def blue(cluster: Cluster) -> Iterator[Cluster]:
    """A second node beside the cluster of the other tests."""
    if not isinstance(the_cluster(BLUE), NodeCluster):
        pytest.skip("only clusters of kind `node` are made by this project")
    run_hack_cluster("up", "--name", BLUE, "--kind", "node")
    yield find(BLUE)
    run_hack_cluster("down", "--name", BLUE)


def test_pods_reach_each_other_through_a_service_by_name(cluster: Cluster, namespace: str) -> None:
    selector = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": selector}
    serve = "import http.server as h; h.ThreadingHTTPServer(('', 8080), h.SimpleHTTPRequestHandler).serve_forever()"
    cluster.apply(service, python_pod("web", serve), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "pod/web", "--for=condition=Ready", "--timeout=60s")
    ask = f"""
import time, urllib.request
for _ in range(50):
    try:
        print(urllib.request.urlopen('http://web.{namespace}.svc/', timeout=2).status); break
    except OSError as error:
        print(error); time.sleep(0.2)
"""
    cluster.apply(python_pod("client", ask), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "pod/client", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert cluster.kubectl("logs", "-n", namespace, "client").splitlines()[-1] == "200"


def test_two_clusters_stand_side_by_side_and_know_nothing_of_each_other(
    cluster: Cluster, blue: Cluster, namespace: str
) -> None:
    blue.kubectl("create", "namespace", namespace)
    for each in (cluster, blue):
        each.apply(pause_pod("pause"), namespace=namespace)
        each.kubectl("wait", "-n", namespace, "pod/pause", "--for=condition=Ready", "--timeout=60s")
    blue.kubectl("create", "configmap", "only-in-blue", "-n", namespace)
    assert "NotFound" in cluster.kubectl("get", "configmap", "only-in-blue", "-n", namespace, check=False)


@pytest.mark.alone
def test_up_on_a_running_cluster_is_quick_and_changes_nothing(blue: Cluster) -> None:
    process = CACHE.cluster(BLUE).process.read_text()
    began = time.monotonic()
    run_hack_cluster("up", "--name", BLUE)
    assert time.monotonic() - began < 5
    assert CACHE.cluster(BLUE).process.read_text() == process


def test_a_part_that_ends_is_started_again(blue: Cluster) -> None:
    (kubelet,) = find_kubelets(BLUE)
    os.kill(kubelet, signal.SIGKILL)
    wait_until(lambda: find_kubelets(BLUE) not in ([], [kubelet]), seconds=20, failure="no kubelet came")
    wait_until(lambda: not the_cluster(BLUE).status(), seconds=40, failure="the cluster did not recover")


def test_a_dead_cluster_is_noticed_and_comes_back_with_all_that_was_in_it(blue: Cluster) -> None:
    blue.kubectl("create", "configmap", "kept", "--from-literal=a=1")
    Process.from_json(CACHE.cluster(BLUE).process.read_text()).kill()
    assert the_cluster(BLUE).status() == ["it does not run; start it with `hack/cluster up`"]
    run_hack_cluster("up", "--name", BLUE)
    assert blue.get("configmap", "kept", namespace="default")["data"] == {"a": "1"}


@pytest.mark.alone
def test_a_cluster_leaves_nothing_behind(blue: Cluster) -> None:
    """The cluster ``green`` comes and goes while ``blue`` runs."""
    green = "test-green"
    before = look_at_the_machine()
    run_hack_cluster("up", "--name", green, "--kind", "node")
    try:
        find(green).apply(pause_pod("pause"), namespace="default")
        find(green).kubectl("wait", "pod/pause", "--for=condition=Ready", "--timeout=60s")
        assert look_at_the_machine()["nodes"] != before["nodes"]
    finally:
        run_hack_cluster("down", "--name", green)
    after = look_at_the_machine()
    for what, there in before.items():
        assert after[what] == there, what
    left = {path.name for path in CACHE.cluster(green).root.iterdir()}
    assert left == {"log"}
