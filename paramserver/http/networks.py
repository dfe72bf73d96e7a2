"""Whose address it is: what bounds by address are counted for."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

# What one subscriber has at least (RFC 6177): by single addresses, whoever has one network has 2^64 bounds.
_PREFIX_BITS: Final = 64


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """The address, or the network of an IPv6 one: `2001:db8::/64`. What is no address comes back as it is.

    >>> network_of("::ffff:192.0.2.1")
    '192.0.2.1'
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _PREFIX_BITS), strict=False))
