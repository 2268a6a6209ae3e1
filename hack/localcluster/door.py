"""The way into a node: a port of this machine's loopback whose connections are carried to the node's API server.

A socket belongs to the network that it was made in, whoever holds it. So the listening one is made outside and handed
to process 1, which connects onward in the node's network. Nothing else of a node is seen outside: no interface, no
address, no route; and when the node is gone, a connection is refused at once and goes nowhere else.
"""

import contextlib
import socket
import threading

ANY_PORT = 0
CHUNK = 65536


def open_door(wanted: int = ANY_PORT) -> socket.socket:
    """Listen on that port of loopback, or on any that is free if it is taken."""
    try:
        return socket.create_server(("127.0.0.1", wanted), backlog=128)
    except OSError:
        return socket.create_server(("127.0.0.1", ANY_PORT), backlog=128)


def keep_door(door: socket.socket, target: tuple[str, int]) -> None:
    """Carry every connection to the target, each in a thread of its own. Never returns."""
    while True:
        with contextlib.suppress(OSError):
            client, _ = door.accept()
            threading.Thread(target=carry, args=(client, target), daemon=True).start()


def carry(client: socket.socket, target: tuple[str, int]) -> None:
    """Carry bytes both ways until both sides have said all."""
    with client, contextlib.suppress(OSError), socket.create_connection(target, timeout=5) as server:
        server.settimeout(None)
        back = threading.Thread(target=pump, args=(server, client), daemon=True)
        back.start()
        pump(client, server)
        back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes one way, and the end after them."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
