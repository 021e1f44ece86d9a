"""websockets over TLS on uvloop, without compression and without keep-alive pings.

There is no call for many messages, so a batch is a loop of `send`. Up to 1,024 messages wait for the receiver before
reading pauses, and `send` waits above 256 KiB unwritten.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from scripts.bench.credentials import SERVER_NAME, tls_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "uvloop"
ENCRYPTED = True
PACKAGES = ("websockets", "uvloop")
SETTINGS: dict[str, Any] = {
    "compression": None,
    "ping_interval": None,
    "max_size": None,
    "max_queue": 1024,
    "write_limit": 256 * 1024,
}


class SocketLink:
    """A link over a connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def send(self, message: bytes) -> None:
        """Send one message."""
        await self._connection.send(message)

    async def send_many(self, messages: list[bytes]) -> None:
        """Send each message."""
        send = self._connection.send
        for message in messages:
            await send(message)

    async def receive(self) -> bytes:
        """Return the next message."""
        message: bytes = await self._connection.recv()
        return message

    async def receive_many(self) -> list[bytes]:
        """Return the next message."""
        return [await self._connection.recv()]


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides."""
    context = tls_context(side.credentials, side.role)
    if side.role == "client":
        url = f"wss://127.0.0.1:{(await side.address()).port}"
        async with connect(url, ssl=context, server_hostname=SERVER_NAME, **SETTINGS) as connection:
            yield SocketLink(connection)
        return
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def exchange(connection: Any) -> None:
        opened.set_result(connection)
        await over.wait()

    async with serve(exchange, "127.0.0.1", 0, ssl=context, **SETTINGS) as server:
        side.announce(server.sockets[0].getsockname()[1])
        yield SocketLink(await opened)
        over.set()
