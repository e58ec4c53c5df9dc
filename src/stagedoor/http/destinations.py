"""Where the server may open a connection to, when somebody else names the place. The guard against request forgery.

A name is resolved once, every address it has is judged, and the connection is made to the judged addresses, so that a name
that changes its mind between the look-up and the connection gains nothing. A redirect is a new place: it is judged again.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

RESOLVE_TIMEOUT_S: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}
# IPv4 addresses inside IPv6 ones, by the place of their bits (RFC 6052, 3056, 4291).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Not open to the internet, which not every Python release knows: local NAT64, and IETF's own, with a metadata address.
_FURTHER_PRIVATE: Final = (ipaddress.ip_network("64:ff9b:1::/48"), ipaddress.ip_network("192.0.0.0/24"))
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")


class ForbiddenDestinationError(Exception):
    """The server does not connect there; the text says why."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A judged place: connect to these addresses and no others."""

    host: str
    port: int
    addresses: tuple[str, ...]


def why_forbidden(text: str) -> str | None:
    """Why nobody may send the server to this address; None for one of the open internet. Pure."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return "is no address"
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner_ipv4(address)
        if inner is not None:
            return why_forbidden(str(inner))
    if address.is_loopback:
        return "is this machine itself"
    if address.is_link_local:
        return "is a link-local address, where clouds keep instance metadata"
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return "is no address of one host"
    if not address.is_global or any(address in network for network in _FURTHER_PRIVATE):
        return "is a private address"
    return None


def _inner_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64:
        return low
    return low if address in _COMPATIBLE and int(address) > 1 else None


async def system_resolve(host: str, port: int) -> list[str]:
    """All addresses of a host as the system knows them; forms like ``2130706433`` and ``0x7f.1`` become addresses too."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Destinations:
    """The places that are open. ``private``: also loopback and private addresses (a setting), never link-local ones."""

    def __init__(self, *, private: bool = False, resolve: Resolve = system_resolve) -> None:
        self._private = private
        self._resolve = resolve

    async def of_host(self, host: str, port: int) -> Destination:
        """The judged addresses of a host. ForbiddenDestinationError when one of them is closed; OSError when it has none."""
        bare = host.strip("[]")
        if not bare or any(character in bare for character in "/@\\\r\n\0 "):
            raise ForbiddenDestinationError(f"{host[:255]!r} is no host name")
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                addresses = await self._resolve(bare, port)
        except UnicodeError as error:
            raise ForbiddenDestinationError(f"{host[:255]!r} is no host name") from error
        if not addresses:
            raise OSError(f"{host} has no address")
        for address in addresses:
            reason = why_forbidden(address)
            if reason is not None and not (self._private and _is_private(address)):
                shown = bare if bare == address else f"{bare} ({address})"
                raise ForbiddenDestinationError(f"{shown} {reason}")
        return Destination(bare, port, tuple(addresses))

    async def of_url(self, url: str, redirected_from: str = "") -> Destination:
        """The judged place of a URL; ``redirected_from`` is the one whose answer named it, perhaps relative to itself."""
        whole = urljoin(redirected_from, url) if redirected_from else url
        try:
            parts = urlsplit(whole)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ForbiddenDestinationError("the URL cannot be read") from error
        scheme = parts.scheme.lower()
        if scheme not in _PORTS:
            raise ForbiddenDestinationError(f"{scheme[:32] or 'no scheme'} is not http or https")
        if redirected_from and scheme == "http" and redirected_from.lower().startswith("https:"):
            raise ForbiddenDestinationError("a redirect leaves https for http")
        if parts.username is not None or parts.password is not None:
            raise ForbiddenDestinationError("the URL carries credentials")
        if port == 0:
            raise ForbiddenDestinationError("port 0 is no port")
        return await self.of_host(host, port or _PORTS[scheme])


def _is_private(address: str) -> bool:
    """Loopback or a private network, and not link-local: what the setting opens."""
    judged = ipaddress.ip_address(address.partition("%")[0])
    inner = _inner_ipv4(judged) if isinstance(judged, ipaddress.IPv6Address) else None
    judged = inner or judged
    return (judged.is_loopback or judged.is_private) and not (
        judged.is_link_local or judged.is_unspecified or judged.is_multicast or judged.is_reserved
    )
