"""What transports of the operating system's stream sockets share."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import trio

from web4.rtt.errors import TransportUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.rtt.transports.address import Address

BACKLOG = 1024


class SocketAcceptor:
    """Listening sockets, and peers counted by their host."""

    def __init__(
        self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]], addresses: tuple[str, ...]
    ) -> None:
        self.listeners = listeners
        self.addresses = addresses

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """See `Acceptor.peer_address`."""
        assert isinstance(stream, trio.SocketStream)
        return str(stream.socket.getpeername()[0])

    async def aclose(self) -> None:
        """See `Acceptor.aclose`."""
        for listener in self.listeners:
            await trio.aclose_forcefully(listener)
        await trio.lowlevel.checkpoint()


def unreachable(address: Address, error: object) -> TransportUnavailableError:
    """The error of a dial that nobody answers."""
    return TransportUnavailableError(f"{address} cannot be reached: {error}", code="unreachable")


def not_listening(address: Address, error: Exception) -> TransportUnavailableError:
    """The error of an address that cannot be listened at."""
    in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
    code = "address_in_use" if in_use else "bad_address"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return TransportUnavailableError(f"cannot listen at {address}: {reason}", code=code)
