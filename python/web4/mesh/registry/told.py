"""Which addresses an introducer may give (MESH-10): nobody aims this node at what they could not reach themselves.

An introducer is believed who somebody is. What is connected to is another matter: this node sees networks that others
do not, its own loopback above all. Keys are pinned, so a wrong peer learns nothing; but whether and how fast a port
answers is something to learn, and a thousand nodes that dial one place are a flood (decision 0029).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING, Final, Literal

from web4.foundation.addresses import read_address, refusal_of
from web4.mesh.registry.errors import AddressError
from web4.rtt.errors import TransportUnavailableError
from web4.rtt.transports.address import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Scope = Literal["public", "private", "loopback"]
"""How far around an address means anything: `loopback` is one machine."""
Introduced = Literal["reached", "public", "never"]
"""Which introduced addresses are dialled: those that their introducer could reach, public ones, or none."""

LEAST_PORT: Final = 1_024
_SPOKEN_OF: Final = 443
"""A port below `LEAST_PORT` that nodes behind strict networks listen at."""
_PRIVATE: Final = frozenset({"private", "shared by carriers", "unique local"})
_WITHIN: Final[dict[Scope, frozenset[Scope]]] = {
    "public": frozenset({"public"}),
    "private": frozenset({"public", "private"}),
    "loopback": frozenset({"public", "private", "loopback"}),
}


def scope_of(address: IPv4Address | IPv6Address) -> Scope | None:
    """The scope of an address; None for what no peer has: link-local, multicast, forms of others (FETCH-3)."""
    why = refusal_of(address)
    if why is None:
        return "public"
    if why == "loopback":
        return "loopback"
    return "private" if why in _PRIVATE else None


def check_told(address: Address) -> None:
    """Refuse at once what is wrong whoever says it. Resolves no name.

    Raises:
        AddressError: `privileged_port`, `not_public`.
    """
    if address.scheme != "tcp":
        return
    if (address.port or 0) < LEAST_PORT and address.port != _SPOKEN_OF:
        raise AddressError(f"port {address.port} is not one that peers listen at", code="privileged_port")
    known = read_address(address.host)
    if known is None and _is_numeric(address.host):
        raise AddressError("a number is written as a dotted address", code="not_public")
    if known is not None and scope_of(known) is None:
        raise AddressError(f"{known} {refusal_of(known)}: no peer is there", code="not_public")


class ToldAddresses:
    """Says whether an address may be dialled that somebody told.

    Args:
        introduced: See `Introduced`.
        networks: Where else introduced peers may be, as the operator says.
        own: Where this node listens.
    """

    def __init__(
        self,
        *,
        introduced: Introduced = "reached",
        networks: Iterable[str] = (),
        own: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._introduced = introduced
        self._networks = tuple(ip_network(one) for one in networks)
        self._own = own

    def check(self, host: str, port: int, reached: str | None) -> None:
        """Refuse an address, as a resolver gives it, that its introducer must not name.

        Args:
            host: An IP address.
            port: Its port.
            reached: Where the introducer is: an IP address, empty for this machine; None if that is not known, as of
                one who is no neighbour.

        Raises:
            AddressError: `not_public`, `own_address`.
        """
        address = read_address(host)
        scope = None if address is None else scope_of(address)
        if address is None or scope is None:
            raise AddressError(f"no peer is at {host}", code="not_public")
        if self._is_own(address, port):
            raise AddressError(f"this node itself listens at {host}:{port}", code="own_address")
        if self._introduced == "never":
            raise AddressError("introduced addresses are not dialled here", code="not_public")
        if any(address in network for network in self._networks):
            return
        within = _reach_of(reached) if self._introduced == "reached" else "public"
        if scope not in _WITHIN[within]:
            raise AddressError(
                f"{host} is a {scope} address, and its introducer is not there", code="not_public"
            )

    def _is_own(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        for text in self._own():
            try:
                own = Address.parse(text)
            except TransportUnavailableError:
                continue
            here = read_address(own.host)
            if own.scheme != "tcp" or own.port != port or here is None:
                continue
            if here == address or (here.is_unspecified and address.is_loopback):
                return True
        return False


def _reach_of(reached: str | None) -> Scope:
    """How far around somebody is who is reached there."""
    if reached is None:
        return "public"
    if not reached:
        return "loopback"
    address = read_address(reached)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # how a socket of both families writes it
    return (None if address is None else scope_of(address)) or "public"


def _is_numeric(host: str) -> bool:
    """Whether a resolver might read it as a number: whatever ends in one (FETCH-5)."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdecimal() or last.startswith("0x") or ":" in host
