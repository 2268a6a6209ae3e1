"""The way into a node: what a connection carries, and how it ends."""

import socket
import threading
from collections.abc import Iterator

import pytest

from localcluster.door import keep_door, open_door


@pytest.fixture
def inside() -> Iterator[socket.socket]:
    """What the door leads to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


@pytest.fixture
def door(inside: socket.socket) -> socket.socket:
    # Never closed: the thread that accepts would see its number used again by another test.
    door = open_door()
    threading.Thread(target=keep_door, args=(door, inside.getsockname()), daemon=True).start()
    return door


def connect(door: socket.socket) -> socket.socket:
    client = socket.create_connection(door.getsockname(), timeout=10)
    client.settimeout(10)
    return client


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_bytes_and_the_end_after_them_are_carried_both_ways(door: socket.socket, inside: socket.socket) -> None:
    with connect(door) as client:
        served, _ = inside.accept()
        with served:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert read_all(served) == b"question"
            served.sendall(b"answer" * 100_000)
        assert read_all(client) == b"answer" * 100_000


def test_connections_do_not_wait_for_each_other(door: socket.socket, inside: socket.socket) -> None:
    with connect(door) as idle, connect(door) as busy:
        first, second = inside.accept()[0], inside.accept()[0]
        with first, second:
            busy.sendall(b"x")
            idle.sendall(b"y")
            assert {first.recv(1), second.recv(1)} == {b"x", b"y"}


def test_a_node_that_does_not_listen_closes_the_connection(door: socket.socket, inside: socket.socket) -> None:
    inside.close()
    with connect(door) as client:
        assert client.recv(1) == b""


def test_a_port_that_is_taken_is_replaced_by_a_free_one() -> None:
    with open_door() as first, open_door(first.getsockname()[1]) as second:
        assert second.getsockname()[0] == "127.0.0.1"
        assert second.getsockname()[1] != first.getsockname()[1]


def test_a_port_that_was_used_before_is_taken_again() -> None:
    with open_door() as first:
        port = first.getsockname()[1]
    with open_door(port) as second:
        assert second.getsockname()[1] == port
