"""How far from this machine a host is, so that a redirect does not lead from the internet into a private network."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from tranship.connectors.errors import Refused

LINK: Final = 0
"""Link-local or unspecified: these include the addresses at which cloud services hand out credentials."""
THIS_MACHINE: Final = 1
PRIVATE: Final = 2
PUBLIC: Final = 3

_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""NAT64, RFC 6052."""


def reach_of(host: str) -> int | None:
    """Return the distance of an IP address, null for a name."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return THIS_MACHINE if host.lower().rstrip(".") == "localhost" else None
    address = _embedded(address)
    if address.is_loopback:
        return THIS_MACHINE
    if address.is_global and not address.is_multicast:
        return PUBLIC
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return LINK
    return PRIVATE


def _embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address of version 4 to which a gateway would translate one of version 6, else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def refuse_nearer(name: str, host: str, least: int) -> None:
    """Raise Refused if an IP address is nearer than `least`; names are checked when they are resolved."""
    reach = reach_of(host)
    if reach is not None and reach < least:
        raise Refused(
            f"{name}: redirects to a private address ({host}), which is not followed. To allow it, give that address."
        )


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses addresses that are nearer than `least`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._resolver = DefaultResolver()
        self.least = LINK
        self.reached = LINK
        """The distance of the name that was resolved last."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name."""
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            refuse_nearer(self._name, result["host"], self.least)
        self.reached = min((reach_of(result["host"]) or LINK for result in found), default=LINK)
        return found

    async def close(self, *_: Any) -> None:
        """Close the resolver."""
        await self._resolver.close()
