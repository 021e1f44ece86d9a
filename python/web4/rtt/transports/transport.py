"""What a transport is: the contract that shipped and foreign ones fulfil alike (section 20).

`web4.testing.check_transport` checks it. A transport moves bytes; TLS and everything above is the core's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import trio

    from web4.rtt.transports.address import Address

GivenUp = Callable[[str, str], None]
"""Told an address that was given up on, and why, before or after another one of the same name was tried (RTT-68)."""


class Acceptor(Protocol):
    """A listening place of a transport."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The bound addresses, as URLs that can be dialled."""
        ...

    @property
    def listeners(self) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
        """Where streams arrive: `accept` raises `OSError` for what passes, `trio.ClosedResourceError` at the end."""
        ...

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """What limits per address count by: a host without its port, or a user of this machine.

        Raises:
            OSError: The peer has gone already.
        """
        ...

    async def aclose(self) -> None:
        """Stop accepting. Streams that were accepted go on. Cancelled, it has closed all the same."""
        ...


class Transport(Protocol):
    """What a scheme stands for (RTT-66).

    A `trio.SocketStream` is driven through its descriptor, without a Python call per read and write. Any other
    `trio.abc.Stream` is driven through its methods. It must deliver every byte once and in order or break; `send_all`
    must wait while the other end does not read; `aclose` must wake whoever waits.
    """

    @property
    def scheme(self) -> str:
        """The scheme of its addresses."""
        ...

    @property
    def local_only(self) -> bool:
        """Whether it reaches only this machine."""
        ...

    @property
    def survives_address_change(self) -> bool:
        """Whether a stream lives on when the machine gets another address."""
        ...

    @property
    def max_write(self) -> int | None:
        """The most bytes that one write may have, or None. The core cuts what it writes accordingly."""
        ...

    async def connect(self, address: Address, given_up: GivenUp | None = None) -> trio.abc.Stream:
        """Open a byte stream to an address. Cancelled, it leaves nothing open.

        Args:
            address: Where to. A name with several addresses is one place: they may all be tried, but not silently.
            given_up: To be told each address that was tried in vain when another one answered.

        Raises:
            TransportUnavailableError: `unreachable`, or `bad_address`.
        """
        ...

    async def listen(self, address: Address) -> Acceptor:
        """Accept byte streams at an address. Cancelled, it leaves nothing open.

        Raises:
            TransportUnavailableError: `address_in_use`, or `bad_address`.
        """
        ...
