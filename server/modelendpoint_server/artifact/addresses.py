"""Which addresses a store may have: never this pod, its node, or what a cloud keeps its secrets behind.

A name counts for the addresses that it resolves to, and a connection is made to the very address that was looked at,
so that a name that resolves to something else a moment later gains nothing.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from modelendpoint_server.errors import ModelForbidden
from modelendpoint_server.settings import Networks

_EMBEDDED = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
"""IPv6 networks whose last four bytes are an IPv4 address; two more are known to ``ipaddress``."""


class AddressRefused(OSError):
    """The host has no address but refused ones."""


def connect(address: tuple[str, int], timeout: float, source: Any = None, *, refused: Networks) -> socket.socket:
    """Connect like ``socket.create_connection``, to none of the refused networks; raise ``AddressRefused``."""
    host, port = address
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    allowed = [entry for entry in found if not _is_refused(entry[4][0], refused)]
    if not allowed:
        raise AddressRefused(found[0][4][0])
    for family, kind, protocol, _, place in allowed:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.socket(family, kind, protocol))
            connection.settimeout(timeout)
            try:
                connection.connect(place)
            except OSError as error:
                last = error
                continue
            stack.pop_all()
            return connection
    raise last


def check_endpoint(url: str, *, shown: str, refused: Networks) -> None:
    """Raise ``ModelForbidden`` if a store's URL leads to a refused address; for clients that connect by themselves."""
    try:
        host = urlsplit(url).hostname or ""
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        # The client will say by itself that it can't find it.
        return
    for entry in found:
        if _is_refused(entry[4][0], refused):
            raise refused_address(shown, str(entry[4][0]))


def refused_address(shown: str, address: str) -> ModelForbidden:
    """Say that an address is none that models come from."""
    return ModelForbidden(
        f"{shown} leads to {address}, an address of this pod, its node or its cloud that no model is fetched from."
        " Correct model.uri, or the endpoint in the Secret of model.credentialsSecretRef."
    )


def _is_refused(text: str | int, refused: Networks) -> bool:
    return any(address in network for address in _meant_by(str(text)) for network in refused)


def _meant_by(text: str) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Yield the address and the IPv4 addresses that an IPv6 address stands for."""
    address = ipaddress.ip_address(text)
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _EMBEDDED):
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        yield from filter(None, (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())))
