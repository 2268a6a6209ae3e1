"""Ports of endpoints."""

import socket
from pathlib import Path

from modelendpoint.local.ports import TrafficPorts, free_ports
from modelendpoint.local.relocation import LOOPBACK
from modelendpoint.sockets import is_free


def test_free_ports_are_free_and_all_different() -> None:
    ports = free_ports(8)
    assert len(set(ports)) == 8
    assert all(is_free(LOOPBACK, port) for port in ports)


def test_a_port_that_somebody_shares_is_not_free() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert not is_free(LOOPBACK, other.getsockname()[1])


def test_each_endpoint_has_a_port_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    (first,) = free_ports(1)
    ports = TrafficPorts(tmp_path / "ports.json", first=first)
    one, other = ports.choose("default", "churn"), ports.choose("default", "upsell")
    assert one != other
    again = TrafficPorts(tmp_path / "ports.json", first=1024)
    assert (again.choose("default", "upsell"), again.choose("default", "churn")) == (other, one)


def test_a_port_that_was_taken_meanwhile_is_given_up(tmp_path: Path) -> None:
    (first,) = free_ports(1)
    before = TrafficPorts(tmp_path / "ports.json", first=first).choose("default", "churn")
    with socket.socket() as other:
        other.bind(("127.0.0.1", before))
        other.listen()
        assert TrafficPorts(tmp_path / "ports.json", first=first).choose("default", "churn") != before
