"""Which ports of this machine are free. No port is chosen here."""

import socket


def is_free(host: str, port: int) -> bool:
    """Tell whether nobody listens on a port, not even a process that would share it."""
    with socket.socket(family_of(host)) as probe:
        # As a server's own listener does; without it a port is taken for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def family_of(host: str) -> socket.AddressFamily:
    """Tell an IPv6 address from an IPv4 one, or a name."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
