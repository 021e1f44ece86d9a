"""Addresses of peers, as files, introductions and the graph may name them (MESH-8, MESH-10, GRAPH-2)."""

from __future__ import annotations

import re
from typing import Final

from web4.mesh.registry.errors import AddressError
from web4.mesh.registry.told import check_told
from web4.rtt.errors import TransportUnavailableError
from web4.rtt.transports.address import Address

SCHEMES: Final = ("tcp", "unix", "memory", "mesh")
"""The transports that a node has: the shipped ones, and the relay through other nodes (MESH-1)."""
MAX_ADDRESS: Final = 512
"""Characters of an address."""
MAX_ADDRESSES: Final = 8
"""Addresses of one peer."""
_LOCAL: Final = frozenset({"unix", "memory"})
_HOST: Final = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F:.]+(%[A-Za-z0-9._-]+)?", re.ASCII
)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")


def check_address(text: str, *, peer: str | None = None, told: bool = False) -> Address:
    """Check the address of a peer. Resolves no name and opens nothing.

    Args:
        text: `tcp://host:port`, `unix:///path`, `memory://name` or `mesh://fingerprint`.
        peer: Whose it is: `mesh` names a fingerprint, and it has to be this one.
        told: Whether another node told it: then it cannot be a place of this machine, nor what `check_told` refuses.

    Raises:
        AddressError: What is wrong with it.
    """
    if len(text) > MAX_ADDRESS or _CONTROL.search(text) or not text.isascii():
        raise AddressError("an address is up to 512 printable ASCII characters without spaces")
    try:
        address = Address.parse(text)
    except TransportUnavailableError:
        raise AddressError("no address: write tcp://host:port or unix:///path") from None
    if address.scheme not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise AddressError(
            f"no transport is called {address.scheme!r}; there are {known}", code="unknown_scheme"
        )
    if told and address.scheme in _LOCAL:
        raise AddressError(f"{address.scheme}:// is a place of one machine", code="local_address")
    _CHECKS[address.scheme](address)
    if address.scheme == "mesh" and peer is not None and address.host != peer:
        raise AddressError("mesh:// leads to another peer", code="another_peer")
    if told:
        check_told(address)
    return address


def _tcp(address: Address) -> None:
    if not _HOST.fullmatch(address.host) or not address.port or address.path.strip("/"):
        raise AddressError("write tcp://host:port, with a port from 1 to 65535")


def _unix(address: Address) -> None:
    if address.host or address.port is not None or len(address.path) < 2:
        raise AddressError("write unix:///path, with an absolute path")


def _memory(address: Address) -> None:
    if not address.host or address.path.strip("/"):
        raise AddressError("write memory://name")


def _mesh(address: Address) -> None:
    if not _FINGERPRINT.fullmatch(address.host) or address.port is not None or address.path:
        raise AddressError("write mesh://fingerprint, 64 lowercase hex digits")


_CHECKS: Final = {"tcp": _tcp, "unix": _unix, "memory": _memory, "mesh": _mesh}
