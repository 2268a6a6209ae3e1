"""The pair of addresses that joins this machine with a cluster's own network. Pure.

From 198.18.0.0/15, which no real network uses (RFC 2544). Nothing else of the cluster's network is seen outside it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Network

from localcluster.commands import ClusterError

NETWORK = IPv4Network("198.18.0.0/15")
PREFIX = 30
HIGHEST = 255
LINK_PREFIX = "mep-"


@dataclass(frozen=True)
class AddressPair:
    """Both ends of a cluster's link; ``index`` is unique among the clusters of this machine."""

    index: int

    @property
    def host(self) -> str:
        """The address of this machine's end."""
        return str(NETWORK.network_address + 4 * self.index + 1)

    @property
    def node(self) -> str:
        """The node's address."""
        return str(NETWORK.network_address + 4 * self.index + 2)

    @property
    def interface(self) -> str:
        """The name of this machine's end."""
        return f"{LINK_PREFIX}{self.index}"


def lowest_free(taken: Collection[int]) -> int:
    """Choose the index of a new cluster."""
    for index in range(HIGHEST + 1):
        if index not in taken:
            return index
    raise ClusterError(f"all {HIGHEST + 1} address pairs are taken; take a cluster down first")


def read_link_index(interface: str) -> int | None:
    """Return the index of the cluster that a network interface belongs to; None if it is not one of ours."""
    number = interface.removeprefix(LINK_PREFIX)
    return int(number) if number != interface and number.isdecimal() else None
