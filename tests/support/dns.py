"""A DNS server on loopback that answers as a test says, and at no other name than the ones it knows."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any

NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME = 0, 2, 3
TYPE_A = 1


class Dns:
    """Answers with the addresses of one name, or in one of the ways in which DNS fails."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._addresses: Sequence[str] = ()
        self._failure: int | None = NO_SUCH_NAME
        self._silent = False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.queries = 0

    def tell(self, *addresses: str) -> None:
        """Answer with these addresses; with none, that there is no such name."""
        self._addresses, self._failure, self._silent = addresses, None if addresses else NO_SUCH_NAME, False

    def fail(self) -> None:
        """Answer that the server has failed."""
        self._failure, self._silent = SERVER_FAILURE, False

    def fall_silent(self) -> None:
        """Answer nothing any more."""
        self._silent = True

    def serve(self) -> None:
        """Answer until the socket is closed."""
        with contextlib.suppress(OSError):
            while True:
                query, client = self.socket.recvfrom(512)
                if not query:
                    return
                self.queries += 1
                if not self._silent:
                    self.socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        labels, position = [], 12
        while size := query[position]:
            labels.append(query[position + 1 : position + 1 + size].decode())
            position += size + 1
        question = query[12 : position + 5]
        (kind,) = struct.unpack_from("!H", query, position + 1)
        known = ".".join(labels) == self._name.rstrip(".")
        addresses = self._addresses if known and kind == TYPE_A and self._failure is None else ()
        code = (NO_ERROR if self._failure is None else self._failure) if known else NO_SUCH_NAME
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(addresses), 0, 0)
        records = [b"\xc0\x0c" + struct.pack("!HHIH", TYPE_A, 1, 5, 4) + socket.inet_aton(ip) for ip in addresses]
        return head + question + b"".join(records)


@contextlib.contextmanager
def dns_of(name: str) -> Iterator[Dns]:
    """Run a DNS server that knows one name."""
    dns = Dns(name)
    thread = threading.Thread(target=dns.serve, daemon=True)
    thread.start()
    try:
        yield dns
    finally:
        with contextlib.suppress(OSError):
            dns.socket.shutdown(socket.SHUT_RDWR)
        dns.socket.close()
        thread.join()


def with_resolver(document: Any, dns: Dns) -> Any:
    """Let the clusters of a document ask this server instead of the one in ``/etc/resolv.conf``."""
    if isinstance(document, dict):
        if document.get("@type", "").endswith("CaresDnsResolverConfig"):
            host, port = dns.socket.getsockname()
            resolver = {"socket_address": {"protocol": "UDP", "address": host, "port_value": port}}
            return {**document, "resolvers": [resolver], "dns_resolver_options": {"no_default_search_domain": True}}
        return {key: with_resolver(value, dns) for key, value in document.items()}
    return [with_resolver(item, dns) for item in document] if isinstance(document, list) else document
