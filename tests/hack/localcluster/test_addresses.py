"""Address pairs of clusters."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from localcluster.addresses import HIGHEST, NETWORK, PREFIX, AddressPair, lowest_free, read_link_index
from localcluster.commands import ClusterError


def test_all_pairs_lie_in_networks_of_their_own() -> None:
    networks = {IPv4Network((AddressPair(index).host, PREFIX), strict=False) for index in range(HIGHEST + 1)}
    assert len(networks) == HIGHEST + 1
    assert all(network.subnet_of(NETWORK) for network in networks)


@pytest.mark.parametrize("index", [0, 1, HIGHEST])
def test_both_ends_of_a_link_lie_in_the_same_network(index: int) -> None:
    pair = AddressPair(index)
    network = IPv4Network((pair.host, PREFIX), strict=False)
    assert set(network.hosts()) == {IPv4Address(pair.host), IPv4Address(pair.node)}


def test_interface_names_fit_into_what_the_kernel_allows() -> None:
    assert len(AddressPair(HIGHEST).interface) <= 15


def test_the_lowest_index_that_is_free_is_taken() -> None:
    assert lowest_free([]) == 0
    assert lowest_free([0, 1, 3]) == 2


def test_a_full_machine_is_told_so() -> None:
    with pytest.raises(ClusterError, match="take a cluster down"):
        lowest_free(range(HIGHEST + 1))


def test_links_of_clusters_are_known_by_their_name() -> None:
    assert read_link_index(AddressPair(7).interface) == 7
    assert [read_link_index(name) for name in ("eth0", "mep-", "mep-x", "7")] == [None] * 4
