"""Whether an address is public (FETCH-3). The library's own `is_global` calls forms of 127.0.0.1 public."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from web4.foundation.address_ranges import IPV4_REFUSED, IPV6_ALLOWED, IPV6_REFUSED

Address = IPv4Address | IPv6Address

_IPV4: Final = tuple((IPv4Network(text), reason) for text, reason in IPV4_REFUSED)
_IPV6: Final = tuple((IPv6Network(text), reason) for text, reason in IPV6_REFUSED)
_IPV6_ALLOWED: Final = IPv6Network(IPV6_ALLOWED)


def refusal_of(address: Address) -> str | None:
    """Why an address is not public, in two or three words; None if it is."""
    if isinstance(address, IPv4Address):
        return next((reason for network, reason in _IPV4 if address in network), None)
    if address.scope_id is not None:
        return "has a zone"
    for network, reason in _IPV6:
        if address in network:
            return reason
    return None if address in _IPV6_ALLOWED else "not global unicast"


def read_address(text: str) -> Address | None:
    """An address as a resolver or a socket gives it; None for what is none. A zone id stays, and is refused later."""
    try:
        return ip_address(text)
    except ValueError:
        return None
