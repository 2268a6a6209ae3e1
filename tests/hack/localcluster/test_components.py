"""The parts of a node and their files."""

import json

import pytest

from localcluster.components import (
    CLIENTS,
    DNS_SERVICE,
    KERNEL_SETTINGS,
    NODE_ADDRESS,
    NodeSettings,
    Part,
    build_files,
    build_identities,
    build_parts,
)

NODE = NodeSettings(name="blue", port=40003)


def part(name: str) -> Part:
    return next(part for part in build_parts(NODE) if part.name == name)


def test_every_part_waits_only_for_parts_that_are_there_and_come_before_it() -> None:
    seen: set[str] = set()
    for each in build_parts(NODE):
        assert set(each.after) <= seen, each.name
        seen.add(each.name)


def test_the_controller_manager_waits_for_an_api_server_that_says_it_is_ready() -> None:
    assert part("controller-manager").after == ("apiserver",)
    assert part("apiserver").probe == "https://127.0.0.1:6443/readyz"


def test_only_tasks_have_no_probe() -> None:
    assert {each.name for each in build_parts(NODE) if not each.probe} == {"load-pause", "apply-base"}


def test_the_api_server_asks_kubelets_at_their_address_as_their_name_is_in_no_dns() -> None:
    assert "--kubelet-preferred-address-types=InternalIP" in part("apiserver").command


def test_two_nodes_share_no_way_in_and_no_control_group() -> None:
    other = NodeSettings(name="green", port=40004)
    assert NODE.cgroup != other.cgroup
    assert NODE.server != other.server


def test_the_api_servers_certificate_holds_every_address_it_is_reached_at() -> None:
    names = next(each.alternative_names for each in build_identities(NODE) if each.file == "apiserver")
    assert {"IP:127.0.0.1", "IP:10.96.0.1", f"IP:{NODE_ADDRESS}", "DNS:kubernetes.default.svc"} <= set(names)


def test_kubelet_is_the_node_that_its_certificate_names() -> None:
    identity = next(each for each in build_identities(NODE) if each.file == "kubelet")
    assert (identity.user, identity.group) == ("system:node:blue", "system:nodes")
    assert "--hostname-override=blue" in part("kubelet").command


def test_every_client_has_a_certificate() -> None:
    assert set(CLIENTS) <= {identity.file for identity in build_identities(NODE)}


def test_every_file_that_a_part_names_is_written() -> None:
    files = {f"/var/lib/localcluster/{path}" for path in build_files(NODE)}
    named = {
        argument.rpartition("=")[2]
        for each in build_parts(NODE)
        for argument in each.command
        if "/localcluster/config/" in argument
    }
    assert named
    assert named <= files


def test_kubelet_puts_all_pods_into_the_nodes_control_group_and_writes_only_below_var_lib() -> None:
    kubelet = json.loads(build_files(NODE)["config/kubelet.json"])
    assert kubelet["cgroupRoot"] == "/modelendpoint-40003"
    assert kubelet["volumePluginDir"].startswith("/var/lib/")
    assert kubelet["clusterDNS"] == [DNS_SERVICE]


def test_the_kernel_settings_that_kubelet_would_change_are_covered() -> None:
    files = build_files(NODE)
    assert {f"kernel/{name}": value for name, value in KERNEL_SETTINGS.items()}.items() <= files.items()


def test_dns_answers_at_the_nodes_address_and_is_the_service_that_pods_ask() -> None:
    objects = json.loads(build_files(NODE)["config/base.json"])["items"]
    service = next(each for each in objects if each["kind"] == "Service")
    endpoints = next(each for each in objects if each["kind"] == "EndpointSlice")
    assert service["spec"]["clusterIP"] == DNS_SERVICE
    assert endpoints["endpoints"] == [{"addresses": [NODE_ADDRESS]}]
    assert f"bind {NODE_ADDRESS}" in build_files(NODE)["config/Corefile"]


@pytest.mark.parametrize("snapshotter", ["overlayfs", "native"])
def test_containerd_takes_the_chosen_snapshotter(snapshotter: str) -> None:
    node = NodeSettings(name="blue", port=40003, snapshotter=snapshotter)
    assert f'snapshotter = "{snapshotter}"' in build_files(node)["config/containerd.toml"]


def test_settings_survive_being_written_down() -> None:
    assert NodeSettings.from_json(NODE.to_json()) == NODE


def test_the_way_in_is_on_loopback() -> None:
    assert NODE.server == "https://127.0.0.1:40003"
