"""TCP (RTT-67), and how a name with several addresses is dialled (RTT-68)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import trio

from web4.rtt.errors import TransportUnavailableError
from web4.rtt.transports.address import Address
from web4.rtt.transports.sockets import BACKLOG, SocketAcceptor, not_listening, unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.rtt.transports.transport import GivenUp

NOT_SENT_LOW_WATER = 128 * 1024
"""Bytes the operating system may hold before it takes more, so that control never waits behind more (RTT-21)."""

HEAD_START = 0.25
"""Seconds that an address of a name has before the next one is tried beside it (RFC 8305)."""

MOST_ADDRESSES = 16
"""Addresses of one name that are tried."""

_Target = tuple[int, tuple[Any, ...]]


class TcpTransport:
    """TCP with `TCP_NODELAY`, dual stack: `tcp://host:port`; port 0 lets the operating system choose.

    A host name is one place. Its addresses are tried in the resolver's order, families taking turns, each with a head
    start of `HEAD_START` seconds; the first that answers is used, and `given_up` hears of every other that was tried.
    """

    scheme = "tcp"
    local_only = False
    survives_address_change = False
    max_write: int | None = None

    async def connect(self, address: Address, given_up: GivenUp | None = None) -> trio.SocketStream:
        """See `Transport.connect`."""
        if not address.host or not address.port or address.path.strip("/"):
            raise TransportUnavailableError(f"{address} is not tcp://host:port", code="bad_address")
        try:
            found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise TransportUnavailableError(f"{address} names no host", code="bad_address") from error
        except OSError as error:
            raise unreachable(address, error) from error
        targets = _by_turns((int(family), place) for family, _, _, _, place in found)[:MOST_ADDRESSES]
        return await _Race(address, targets).run(given_up)

    async def listen(self, address: Address) -> SocketAcceptor:
        """See `Transport.listen`."""
        if not address.host or address.path.strip("/"):
            raise TransportUnavailableError(f"{address} is not tcp://host:port", code="bad_address")
        try:
            listeners = await trio.open_tcp_listeners(address.port or 0, host=address.host, backlog=BACKLOG)
        except UnicodeError as error:
            raise TransportUnavailableError(f"{address} names no host", code="bad_address") from error
        except OSError as error:
            raise not_listening(address, error) from error
        bound = tuple(
            str(Address("tcp", listener.socket.getsockname()[0], listener.socket.getsockname()[1]))
            for listener in listeners
        )
        return SocketAcceptor([_Listener(listener) for listener in listeners], bound)


class _Listener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts streams that are tuned: Trio's own listener gives them settings of its choice."""

    def __init__(self, inner: trio.SocketListener) -> None:
        self.inner = inner

    async def accept(self) -> trio.SocketStream:
        stream = await self.inner.accept()
        try:
            tune(stream.socket)
        except OSError:
            stream.socket.close()
            raise
        return stream

    async def aclose(self) -> None:
        self.inner.socket.close()
        await trio.lowlevel.checkpoint()


class _Race:
    """The addresses of one name, each tried a little after the one before it, until one answers (RFC 8305)."""

    def __init__(self, address: Address, targets: list[_Target]) -> None:
        self._address = address
        self._targets = targets
        self._tried: dict[_Target, str] = {}
        self._winner: trio.socket.SocketType | None = None

    async def run(self, given_up: GivenUp | None = None) -> trio.SocketStream:
        try:
            async with trio.open_nursery() as nursery:
                for target in self._targets:
                    failed = trio.Event()
                    nursery.start_soon(self._try, target, failed, nursery.cancel_scope)
                    with trio.move_on_after(HEAD_START):
                        await failed.wait()
            if self._winner is None:
                raise unreachable(self._address, "; ".join(self._tried.values()))
            if given_up is not None:
                for (_, place), why in self._tried.items():
                    given_up(str(Address("tcp", str(place[0]), self._address.port)), why)
            stream = trio.SocketStream(self._winner)
            tune(self._winner)
            return stream
        except BaseException as error:
            if self._winner is not None:
                self._winner.close()
            if isinstance(error, OSError):
                raise unreachable(self._address, error) from error
            raise

    async def _try(self, target: _Target, failed: trio.Event, race: trio.CancelScope) -> None:
        family, place = target
        self._tried[target] = "another address answered earlier"
        try:
            sock = trio.socket.socket(family, socket.SOCK_STREAM)
            try:
                await sock.connect(place)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            self._tried[target] = str(error)
            failed.set()
            return
        if self._winner is not None:
            sock.close()
            return
        del self._tried[target]
        self._winner = sock
        race.cancel()


def tune(sock: trio.socket.SocketType) -> None:
    """Send small writes at once, and keep little in the kernel (RTT-21)."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", 25), NOT_SENT_LOW_WATER)


def _by_turns(targets: Iterable[_Target]) -> list[_Target]:
    """The first of each family, then the second of each, so that one broken family costs one head start."""
    families: dict[int, list[_Target]] = {}
    for target in targets:
        places = families.setdefault(target[0], [])
        if target not in places:
            places.append(target)
    turns = [
        (turn, order, place)
        for order, places in enumerate(families.values())
        for turn, place in enumerate(places)
    ]
    return [place for _, _, place in sorted(turns, key=lambda entry: entry[:2])]
