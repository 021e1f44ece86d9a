"""A transport whose streams suffer: any transport, with faults of the test's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4.rtt.transports.faults import FaultyStream, suffering

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from web4 import rtt


class FaultyTransport:
    """Wraps a transport: the next streams suffer the next `Faults` of a plan; None leaves a stream as it is.

    A stream that is wrapped has no descriptor, so the core does not drive it itself. That is also a way to see how the
    transport does then: `Faults()` wraps it and does nothing else.
    """

    def __init__(
        self,
        inner: rtt.Transport,
        *,
        dialed: Iterable[rtt.Faults | None] = (),
        accepted: Iterable[rtt.Faults | None] = (),
    ) -> None:
        self._inner = inner
        self.dialed = iter(dialed)
        """What the dialling ends suffer, one stream after another; nothing, when it is over."""
        self.accepted = iter(accepted)
        """The same for the accepting ends."""
        self.dialed_streams: list[FaultyStream] = []
        """The dialling ends that were wrapped, in order of their opening."""
        self.accepted_streams: list[FaultyStream] = []
        """The same of the accepting ends."""
        self.scheme = inner.scheme
        self.local_only = inner.local_only
        self.survives_address_change = inner.survives_address_change
        self.max_write = inner.max_write

    async def connect(self, address: rtt.Address, given_up: rtt.GivenUp | None = None) -> trio.abc.Stream:
        """See `Transport.connect`."""
        return _kept(
            suffering(await self._inner.connect(address, given_up), self.dialed), self.dialed_streams
        )

    async def listen(self, address: rtt.Address) -> rtt.Acceptor:
        """See `Transport.listen`."""
        return _FaultyAcceptor(self, await self._inner.listen(address))

    def wrap_accepted(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        """For the acceptor: a stream has arrived."""
        return _kept(suffering(stream, self.accepted), self.accepted_streams)


class _FaultyAcceptor:
    def __init__(self, transport: FaultyTransport, inner: rtt.Acceptor) -> None:
        self._inner = inner
        self.addresses = inner.addresses
        self.listeners: Sequence[trio.abc.Listener[trio.abc.Stream]] = [
            _FaultyListener(transport, listener) for listener in inner.listeners
        ]

    def peer_address(self, stream: trio.abc.Stream) -> str:
        return self._inner.peer_address(stream.stream if isinstance(stream, FaultyStream) else stream)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _FaultyListener(trio.abc.Listener[trio.abc.Stream]):
    def __init__(self, transport: FaultyTransport, inner: trio.abc.Listener[trio.abc.Stream]) -> None:
        self._transport = transport
        self._inner = inner

    async def accept(self) -> trio.abc.Stream:
        return self._transport.wrap_accepted(await self._inner.accept())

    async def aclose(self) -> None:
        await self._inner.aclose()


def _kept(stream: trio.abc.Stream, kept: list[FaultyStream]) -> trio.abc.Stream:
    if isinstance(stream, FaultyStream):
        kept.append(stream)
    return stream
