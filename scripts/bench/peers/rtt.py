"""RTT: one `knowledge` channel of one session over TCP, with default options but for how many sessions there may be.

Further sessions come from 64 endpoints of the client's process, in turn, as one peer would hardly open thousands. The
server's one endpoint holds them without a task of their own.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING

import trio

from web4 import rtt
from web4.foundation.identity import Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from scripts.bench.link import Link
    from scripts.bench.side import Side

    Dial = Callable[[], AbstractAsyncContextManager[rtt.RttSession]]

LOOP = "trio"
ENCRYPTED = True
PACKAGES = ("web4", "trio")
KINDS = frozenset({"one_way", "ping_pong", "control", "open", "idle", "crowd", "resets", "stall", "resume"})
OPTIONS = rtt.Options(sessions_per_peer=256, carriers_per_second=100_000, carriers_burst=100_000)
LIMITS = {
    name: getattr(OPTIONS, name) for name in ("sessions_per_peer", "carriers_per_second", "carriers_burst")
}
"""Raised for the figures with many sessions."""
DIALLERS = 64
_PRUNE = 512


class ChannelLink:
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


class SessionLink(ChannelLink):
    """A link over a channel of a session, with the session's control channel beside it.

    Args:
        session: The session.
        channel: The channel.
        dial: Opens a further session, at the client.
        held: The further sessions, at the server.
    """

    def __init__(
        self, session: rtt.RttSession, channel: rtt.Channel, dial: Dial | None, held: list[rtt.RttSession]
    ) -> None:
        super().__init__(channel)
        self.control = ChannelLink(session.control)
        self._dial = dial
        self._held = held

    def open_session(self) -> AbstractAsyncContextManager[rtt.RttSession]:
        """Open one at the client."""
        assert self._dial is not None
        return self._dial()

    async def use(self, session: rtt.RttSession) -> ChannelLink:
        """Return a link through a session, at the client."""
        return ChannelLink(await session.open_channel("knowledge", name="bench"))

    async def accept_used(self, count: int) -> list[ChannelLink]:
        """Return the links through the last `count` sessions, at the server."""
        return [ChannelLink(await session.accept_channel()) for session in self._held[-count:]]


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Open a session, the client pinning the server, and one channel in it."""
    async with rtt.open_endpoint(Identity.generate(), options=OPTIONS) as endpoint:
        if side.role == "server":
            listener = await endpoint.listen("tcp://127.0.0.1:0", admit=lambda _fingerprint, _address: True)
            side.announce(int(listener.addresses[0].rsplit(":", 1)[1]), endpoint.identity.fingerprint)
            sessions = endpoint.sessions()
            held: list[rtt.RttSession] = []
            async with await anext(sessions) as session, trio.open_nursery() as nursery:
                nursery.start_soon(_hold, sessions, held)
                yield SessionLink(session, await session.accept_channel(), None, held)
                nursery.cancel_scope.cancel()
        else:
            address = await side.address()
            url = f"tcp://127.0.0.1:{address.port}"
            async with endpoint.dial(url, expect=address.note) as session:
                channel = await session.open_channel("knowledge", name="bench")
                async with AsyncExitStack() as stack:
                    diallers = [
                        await stack.enter_async_context(
                            rtt.open_endpoint(Identity.generate(), options=OPTIONS)
                        )
                        for _ in range(DIALLERS)
                    ]
                    dial = partial(_dial, cycle(diallers), url, address.note)
                    yield SessionLink(session, channel, dial, [])


@asynccontextmanager
async def _dial(
    endpoints: Iterator[rtt.Endpoint], url: str, fingerprint: str
) -> AsyncIterator[rtt.RttSession]:
    """Open a session, and close it without a farewell that nobody at the other side would answer."""
    async with next(endpoints).dial(url, expect=fingerprint) as session:
        yield session
        session.abort("it was opened to be timed")


async def _hold(sessions: AsyncIterator[rtt.RttSession], held: list[rtt.RttSession]) -> None:
    async for session in sessions:
        held.append(session)
        if len(held) % _PRUNE == 0:
            held[:] = [one for one in held if not one.ended]
