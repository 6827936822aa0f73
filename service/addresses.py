"""Which client a request comes from, as far as that can be known.

NOTE: an address is personal data. Requests are counted by it, as a hash (see limiting); it reaches
no log, span or metric.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias

from service.asgi import Scope

Address: TypeAlias = IPv4Address | IPv6Address

HOPS: Final = 32
"""Entries of X-Forwarded-For that are looked at; a longer chain of proxies doesn't exist."""

_FORWARDED_FOR: Final = b"x-forwarded-for"
# Some proxies write a port beside the address.
_BESIDE_PORT = re.compile(r"\[([^]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


class Clients:
    """Finds clients behind the proxies in `trusted`, addresses or networks in CIDR notation."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = [ip_network(network) for network in trusted]

    def address(self, scope: Scope) -> Address | None:
        """Return the address of the client, or None if it isn't known.

        It is the peer's, unless that is a trusted proxy: then it is the last address in
        X-Forwarded-For that isn't one. What stands before it, the client may have made up. An
        entry that is no address ends the search at the proxy that wrote it.
        """
        peer = scope.get("client")
        found = _parse(peer[0]) if peer else None
        if found is None or not self._trusts(found):
            return found
        for entry in _hops(scope):
            if (address := _parse(entry)) is None:
                break
            found = address
            if not self._trusts(found):
                break
        return found

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def network(address: Address | None) -> bytes:
    """Return what requests are counted by: an IPv4 address, or the /64 of an IPv6 address.

    One customer has a /64 at least (RFC 6177, section 2), and so 2^64 addresses to choose from. All
    addresses that aren't known count as one.
    """
    if address is None:
        return b""
    return address.packed[:8]


def _hops(scope: Scope) -> Iterator[str]:
    """Yield the entries of X-Forwarded-For, the one of the nearest proxy first."""
    lines = [value for name, value in scope["headers"] if name == _FORWARDED_FOR]
    entries = b",".join(lines).rsplit(b",", HOPS)[-HOPS:]
    return (entry.decode("latin-1").strip(" \t") for entry in reversed(entries))


def _parse(text: str) -> Address | None:
    if beside := _BESIDE_PORT.fullmatch(text):
        text = beside[1] or beside[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both versions sees IPv4 as ::ffff:192.0.2.1 (RFC 4291, section 2.5.5.2).
    return getattr(address, "ipv4_mapped", None) or address
