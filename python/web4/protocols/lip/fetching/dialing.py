"""From a name to a connection that goes where it was checked to go (FETCH-3, FETCH-4)."""

from __future__ import annotations

import math
import socket as resolver
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from trio import socket

from web4.foundation.addresses import read_address, refusal_of
from web4.protocols.lip.errors import AddressRefused, FetchFailed

if TYPE_CHECKING:
    from web4.foundation.addresses import Address
    from web4.protocols.lip.fetching.options import FetchException
    from web4.protocols.lip.fetching.uris import FetchUri

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a name. Asked once per hop; `OSError` says that there are none."""
Dial = Callable[[str, int], Awaitable[trio.SocketStream]]
"""Connects to an address, never to a name."""

MAX_ADDRESSES: Final = 64
"""Of one name; more than that is no host."""
TRIED: Final = 4
"""Addresses of one name that are tried, in the resolver's order."""


ATTEMPT_SECONDS: Final = 1.0
"""What an address gets to answer while there are others."""


_RESOLVING: Final = trio.CapacityLimiter(8)
"""A name server that does not answer holds the resolver long after whoever asked has gone: not at others' cost."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver. Cancelled, it is left to itself until it gives up.

    Raises:
        OSError: It knows no address.
    """
    found = await trio.to_thread.run_sync(
        partial(resolver.getaddrinfo, host, port, type=socket.SOCK_STREAM),
        limiter=_RESOLVING,
        abandon_on_cancel=True,
    )
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def system_dial(address: str, port: int) -> trio.SocketStream:
    """Connect a socket to an address.

    Raises:
        OSError: It does not connect.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect((address, port))
        return trio.SocketStream(sock)
    except BaseException:
        sock.close()
        raise


@dataclass(frozen=True, slots=True)
class Dialed:
    """A connection to a checked address.

    Args:
        stream: The connection.
        address: Where it goes.
        exceptions: The labels of the exceptions that were used (FETCH-11).
    """

    stream: trio.SocketStream
    address: str
    exceptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dialer:
    """Resolves once, checks every answer, dials what was checked, and looks where the socket really ended.

    Args:
        exceptions: What an operator allows beside public addresses and the ports 80 and 443 (FETCH-11).
        resolve: Asked once per hop.
        dial: Given checked addresses only.
    """

    exceptions: tuple[FetchException, ...] = ()
    resolve: Resolve = system_resolve
    dial: Dial = system_dial

    def check(self, uri: FetchUri) -> None:
        """What can be known without a packet: the port, and a host that is an address.

        Raises:
            AddressRefused: `port_refused`, `address_not_public`.
        """
        if uri.port not in {80, 443} and self._for(uri) is None:
            raise AddressRefused(f"port {uri.port} of {uri.host}", code="port_refused", field="uri")
        if uri.address is not None:
            self._check_all(uri, [str(uri.address)])

    async def connect(self, uri: FetchUri) -> Dialed:
        """Connect to a URI's host.

        Raises:
            AddressRefused: `port_refused`, `address_not_public`, `peer_mismatch`.
            FetchFailed: `name_not_resolved`, `connection_failed`.
        """
        self.check(uri)
        answers = [str(uri.address)] if uri.address is not None else await self._resolved(uri)
        used, addresses = self._check_all(uri, answers)
        stream, address = await self._first(uri, addresses)
        return Dialed(stream, str(address), used)

    async def _resolved(self, uri: FetchUri) -> Sequence[str]:
        try:
            answers = await self.resolve(uri.host, uri.port)
        except (OSError, UnicodeError):
            answers = ()
        if not answers or len(answers) > MAX_ADDRESSES:
            raise FetchFailed(f"{uri.host} has no address, or too many", code="name_not_resolved")
        return answers

    def _check_all(self, uri: FetchUri, answers: Sequence[str]) -> tuple[tuple[str, ...], list[Address]]:
        """Every answer has to be public: one that is not says that the name cannot be trusted with the others."""
        exception = self._for(uri)
        used = set() if uri.port in {80, 443} or exception is None else {exception.label}
        addresses = []
        for text in answers:
            address = read_address(text)
            reason = "is no address" if address is None else refusal_of(address)
            if reason is not None:
                if address is None or exception is None or not exception.allows(address):
                    raise AddressRefused(
                        f"{uri.host} leads to an address that is not public ({reason})",
                        code="address_not_public",
                        field="uri",
                    )
                used.add(exception.label)
            assert address is not None
            addresses.append(address)
        return tuple(sorted(used)), addresses

    def _for(self, uri: FetchUri) -> FetchException | None:
        return next((one for one in self.exceptions if one.covers(uri.host, uri.port)), None)

    async def _first(self, uri: FetchUri, addresses: list[Address]) -> tuple[trio.SocketStream, Address]:
        tried = addresses[:TRIED]
        for address in tried:
            stream = None
            # One that does not answer at all must not take the time of the others; the last has what is left.
            with trio.move_on_after(math.inf if address is tried[-1] else ATTEMPT_SECONDS):
                try:
                    stream = await self.dial(str(address), uri.port)
                except OSError:
                    continue
            if stream is None:
                continue
            self._check_peer(stream, address, uri)
            return stream, address
        raise FetchFailed(f"no connection to {uri.host}", code="connection_failed")

    def _check_peer(self, stream: trio.SocketStream, address: Address, uri: FetchUri) -> None:
        """Something between us and the network may send connections elsewhere: then nothing is said over it."""
        try:
            peer = read_address(str(stream.socket.getpeername()[0]))
        except OSError:
            peer = None
        if peer != address:
            stream.socket.close()
            raise AddressRefused(
                f"the connection to {uri.host} ended elsewhere", code="peer_mismatch", field="uri"
            )
