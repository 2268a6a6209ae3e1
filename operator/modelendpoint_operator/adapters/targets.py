"""Says which hosts a gate may ask, and under which addresses: an endpoint's author gains no reach by the operator.

A host is allowed by being a Service of the endpoint's namespace, or by the installation. What counts is where it leads:
names are resolved here, every address is looked at, and the caller connects to just these addresses.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

MACHINE_ADDRESSES = frozenset(
    ipaddress.ip_address(address) for address in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
"""Where clouds tell a machine its credentials, beside the link-local 169.254.169.254."""


class TargetRefused(Exception):
    """A host that may not be asked, or that leads nowhere. The message is for the endpoint's author."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What DNS says of a name."""

    canonical: str
    """The name at the end of all aliases."""
    addresses: tuple[str, ...]


Resolver = Callable[[str], Resolved]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to send a request."""

    secure: bool
    host: str
    """As in the URL, for the Host header and for the certificate."""
    port: int
    path: str
    """With the query."""
    addresses: tuple[str, ...]
    """The only ones to connect to."""

    @property
    def authority(self) -> str:
        """The host and, where it is not the scheme's own, the port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def resolve_name(name: str) -> Resolved:
    """Ask DNS. Raises ``OSError`` when the name has no address."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    canonical = next((entry[3] for entry in found if entry[3]), name)
    return Resolved(canonical=canonical, addresses=tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))


class Targets:
    """Knows what an installation allows."""

    def __init__(self, *, allowed_hosts: Sequence[str], domain: str, resolve: Resolver = resolve_name) -> None:
        self._allowed_hosts = tuple(_normal(host) for host in allowed_hosts)
        self._domain = domain
        self._resolve = resolve

    def find(self, url: str, *, namespace: str, is_trusted: bool = False) -> Target:
        """Find where a URL leads, for an endpoint of a namespace. Raises ``TargetRefused``.

        ``is_trusted`` is a URL that the installation wrote itself.
        """
        parts = _split(url)
        host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
        name = self._absolute(host, namespace=namespace)
        is_local = self._is_local(name, namespace=namespace)
        if not (is_trusted or is_local or self._is_allowed(name, port) or self._is_allowed(host, port)):
            raise TargetRefused(
                f"host {host} is neither in namespace {namespace} nor allowed by this installation "
                "(the chart's gates.allowedHosts)"
            )
        resolved = self._look_up(name)
        canonical = _normal(resolved.canonical)
        # A Service of type ExternalName gives anybody's host a name of this namespace.
        if is_local and not is_trusted and canonical != name and not self._is_allowed(canonical, port):
            raise TargetRefused(f"host {host} is an alias of {canonical}, which is not allowed")
        for address in resolved.addresses:
            if not is_trusted and _is_special(address) and not self._is_allowed(address, port):
                raise TargetRefused(f"host {host} leads to {address}, which gates may not ask")
        return Target(
            secure=parts.scheme == "https",
            host=host,
            port=port,
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            addresses=resolved.addresses,
        )

    def _absolute(self, host: str, *, namespace: str) -> str:
        """Complete the short names of Services, as a pod of the namespace would."""
        name = _normal(host)
        if _is_address(name):
            return name
        if "." not in name:
            return f"{name}.{namespace}.svc.{self._domain}"
        if name.count(".") == 1 and name.endswith(f".{namespace}"):
            return f"{name}.svc.{self._domain}"
        return f"{name}.{self._domain}" if name.endswith(".svc") else name

    def _is_local(self, name: str, *, namespace: str) -> bool:
        return name.endswith(f".{namespace}.svc.{self._domain}")

    def _is_allowed(self, host: str, port: int) -> bool:
        names = {_normal(host), f"{_normal(host)}:{port}"}
        short = _normal(host).removesuffix(f".{self._domain}")
        names |= {short, f"{short}:{port}"} if short.endswith(".svc") else set()
        return any(_matches(allowed, name) for allowed in self._allowed_hosts for name in names)

    def _look_up(self, name: str) -> Resolved:
        if _is_address(name):
            return Resolved(canonical=name, addresses=(name,))
        try:
            # Absolute: by a node's search domain, a name that is not there could become a host of somebody else.
            return self._resolve(f"{name}.")
        except (OSError, UnicodeError) as error:
            raise TargetRefused(f"host {name} has no address; is there a Service of that name?") from error


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        is_right = is_right and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise TargetRefused("the URL is not http://host[:port]/path or https://host[:port]/path")
    return parts


def _matches(allowed: str, name: str) -> bool:
    return name.endswith(allowed[1:]) if allowed.startswith("*.") else name == allowed


def _normal(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_special(text: str) -> bool:
    """Say whether an address is a machine's own, and so not of a service."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
        or address in MACHINE_ADDRESSES
    )
