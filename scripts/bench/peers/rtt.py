"""RTT: one `knowledge` channel of one session over TCP, with default options."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from web4 import rtt
from web4.foundation.identity import Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link, Side

LOOP = "trio"
ENCRYPTED = True


class RttLink:
    """A link over a channel."""

    def __init__(self, channel: rtt.Channel) -> None:
        self._channel = channel

    async def send(self, message: bytes) -> None:
        """Hand over one message."""
        await self._channel.send(message)

    async def send_many(self, messages: list[bytes]) -> None:
        """Hand over a batch by one call."""
        await self._channel.send_many(messages)

    async def receive(self) -> bytes:
        """Wait for the next message."""
        return await self._channel.receive()

    async def receive_many(self) -> list[bytes]:
        """Wait for one message and return all that are ready, up to the channel's default."""
        return await self._channel.receive_many()


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Open a session, the client pinning the server, and one channel in it."""
    async with rtt.open_endpoint(Identity.generate()) as endpoint:
        if side.role == "server":
            listener = await endpoint.listen("tcp://127.0.0.1:0", admit=lambda _fingerprint, _address: True)
            side.announce(f"{listener.addresses[0]} {endpoint.identity.fingerprint}")
            async with await anext(endpoint.sessions()) as session:
                yield RttLink(await session.accept_channel())
        else:
            url, fingerprint = (await side.address()).split()
            async with endpoint.dial(url, expect=fingerprint) as session:
                yield RttLink(await session.open_channel("knowledge", name="bench"))
